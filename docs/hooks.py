"""MkDocs hooks: a page per verb made from the command line itself, pages from files elsewhere, and their links.

Markdown files of the repository are written so that their links work in a clone. On the site a link to such a file
leads to its page; a link to any other file of the repository leads to the forge if ``repo_url`` is known (``make docs``
takes it from MVT_DEPLOY_REPOSITORY), and is plain text if not.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent

PAGES = {
    "benchmarks/README.md": "benchmarks/index.md",
    "benchmarks/accuracy.md": "benchmarks/accuracy.md",
    "benchmarks/claims.md": "benchmarks/claims.md",
    "models/MODEL_CARD.md": "model-card.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
"""Files outside ``docs/`` that are pages of the site."""

GUIDES = {
    "track": ("Tracking", "../track.md"),
    "export": ("Your own checkpoint", "../export.md"),
    "calibrate": ("Precisions and the gate", "../precision.md"),
    "gate": ("Precisions and the gate", "../precision.md"),
    "sensitivity": ("Precisions and the gate", "../precision.md"),
    "build": ("TensorRT and Triton", "../tensorrt.md"),
    "package": ("On a device", "../devices.md"),
    "bench": ("Speed", "../speed.md"),
    "eval": ("Evaluation", "../evaluation.md"),
    "train": ("Training", "../training.md"),
    "demo": ("Quick start", "../quickstart.md"),
    "doctor": ("Quick start", "../quickstart.md"),
}
"""The guide that belongs to a verb."""

_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Take the repository's address from the environment, where it has one."""
    if address := os.environ.get("MVT_DEPLOY_REPOSITORY"):
        config.repo_url = address.rstrip("/")
        config.repo_name = "/".join(config.repo_url.split("/")[-2:])
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    for verb, text in verbs():
        files.append(File.generated(config, f"verbs/{verb}.md", content=text))
    for path, page in PAGES.items():
        if (ROOT / path).is_file():
            files.append(File.generated(config, page, content=(ROOT / path).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to files of the repository to their pages, to the forge, or nowhere."""
    here = next((path for path, name in PAGES.items() if name == page.file.src_uri), f"docs/{page.file.src_uri}")

    def lead(match: re.Match[str]) -> str:
        picture, text, target, anchor = match.groups()
        if "://" in target or target.startswith(("mailto:", "/")):
            return match.group(0)
        path = posixpath.normpath(posixpath.join(posixpath.dirname(here), target))
        found = PAGES.get(path, path.removeprefix("docs/") if path.startswith("docs/") else None)
        if found and files.get_file_from_path(found):
            relative = posixpath.relpath(found, posixpath.dirname(page.file.src_uri) or ".")
            return f"{picture}[{text}]({relative}{anchor or ''})"
        if not (ROOT / path).exists():
            return match.group(0)  # strict mode reports it
        return f"[{text}]({config.repo_url}/blob/HEAD/{path})" if config.repo_url else text

    return _LINK.sub(lead, markdown)


def verbs() -> list[tuple[str, str]]:
    """The name and the page of every verb, from the options that the command line itself declares."""
    import typer

    from mvt_deploy.cli.main import app

    group: Any = typer.main.get_command(app)
    pages = [(name, _verb(name, command)) for name, command in group.commands.items()]
    rows = [f"| [`{name}`]({name}.md) | {_first_sentence(group.commands[name].help)} |" for name, _ in pages]
    index = "# The command line\n\n| verb | what it does |\n|---|---|\n" + "\n".join(rows) + _EXIT_CODES
    return [("index", index), *pages]


_EXIT_CODES = """

Progress goes to stderr; stdout carries only what a program would read. `mvt-deploy VERB --help` prints the options.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | the gate refused a precision, or a fault of the program |
| 2 | something the user can fix; one sentence on stderr says what |
| 130, 143 | stopped by Ctrl-C or SIGTERM; outputs so far are complete |
"""


def _verb(name: str, command: Any) -> str:
    arguments = [p for p in command.params if not p.opts[0].startswith("-")]
    options = [p for p in command.params if p.opts[0].startswith("-") and not getattr(p, "hidden", False)]
    usage = " ".join([f"mvt-deploy {name}", *("[options]" for _ in options[:1]), *map(_argument, arguments)])
    text = f"# mvt-deploy {name}\n\n{command.help}\n\n```\n{usage}\n```\n"
    if arguments:
        rows = [f"| `{_argument(p)}` | {_cell(p.help)} |" for p in arguments]
        text += "\n| argument | |\n|---|---|\n" + "\n".join(rows) + "\n"
    if options:
        rows = [f"| {_names(p)} | {_cell(p.help)} | {_default(p)} |" for p in options]
        text += "\n| option | | default |\n|---|---|---|\n" + "\n".join(rows) + "\n"
    title, guide = GUIDES.get(name, ("Quick start", "../quickstart.md"))
    return f"{text}\nSee also: [{title}]({guide}).\n"


def _argument(parameter: Any) -> str:
    name = str(parameter.name).upper() + ("..." if parameter.nargs == -1 else "")
    return name if parameter.required else f"[{name}]"


def _names(parameter: Any) -> str:
    names = " ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    return f"{names} (repeatable)" if parameter.multiple else names


def _default(parameter: Any) -> str:
    value = parameter.default
    if callable(value) or value is None or value == [] or value == ():
        return ""
    if isinstance(value, bool):
        return ("on" if value else "off") if parameter.secondary_opts else ""
    return f"`{value}`"


def _cell(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|").replace("<", "&lt;")


def _first_sentence(text: str | None) -> str:
    return re.split(r"(?<=[.;:])\s", _cell(text), maxsplit=1)[0].rstrip(";:")
