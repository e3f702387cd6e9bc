"""The README of a package for apps: fills the tables of ``README.template.md``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from string import Template
from typing import Any

from .usability import Usability

_VERDICTS = {"YES": "worth using", "MAYBE": "perhaps worth using", "NO": "not worth using"}


def readme(contract: Mapping[str, Any], reports: Mapping[str, Usability]) -> str:
    """The text, in Markdown.

    Args:
        contract: What ``contract.json`` holds.
        reports: The usability checker's answers by ONNX file.
    """
    pair = contract["pairs"][0]
    models = {model["ort"]: model for model in contract["models"]}
    text = Template((Path(__file__).parent / "README.template.md").read_text(encoding="utf-8"))
    return text.substitute(
        {key: contract[key] for key in ("name", "version", "onnxruntime")},
        **{key: f"{value:g}" for key, value in contract["lost_policy"].items()},
        pairs=_pairs(contract["pairs"]),
        tensors=_tensors(contract["models"]),
        accelerators=_accelerators(reports),
        answers=_answers(contract["reference"]["answers"]),
        box=_numbers(contract["reference"]["init_box"]),
        template_file=pair["template"],
        search_file=pair["search"],
        template_size=models[pair["template"]]["size"],
        search_size=pair["search_size"],
    )


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    lines = [list(head), ["---"] * len(list(head)), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _pairs(pairs: Iterable[Mapping[str, Any]]) -> str:
    return _table(
        ("precision", "search crop", "template graph", "search graph", "MB", "largest difference from the bundle"),
        (
            (
                p["precision"],
                p["search_size"],
                *_code(p["template"], p["search"]),
                p["megabytes"],
                f"{p['difference']:.1g}",
            )
            for p in pairs
        ),
    )


def _tensors(models: Iterable[Mapping[str, Any]]) -> str:
    return _table(
        ("graph", "window factor", "", "name", "type", "shape"),
        (
            (
                f"`{m['ort']}`",
                f"{m['factor']:g}",
                side[:-1],
                f"`{t['name']}`",
                t["dtype"],
                " × ".join(map(str, t["shape"])),
            )
            for m in models
            for side in ("inputs", "outputs")
            for t in m[side]
        ),
    )


def _accelerators(reports: Mapping[str, Usability]) -> str:
    rows: list[tuple[object, ...]] = []
    for file, report in reports.items():
        for p in report.partitions:
            taken, left = f"{p.supported} of {p.nodes}", p.nodes - p.supported
            missing = ", ".join(p.missing) or (f"{left} nodes for other reasons" if left else "none")
            rows.append((f"`{file}`", p.provider, taken, p.parts, _VERDICTS[p.verdict], missing))
        rows.append(
            (f"`{file}`", "XNNPACK", f"at most {report.xnnpack} of {report.nodes}", "", "no checker exists", "")
        )
    return _table(("graph", "provider", "nodes taken", "parts", "verdict", "operators left to the CPU"), rows)


def _answers(answers: Iterable[Mapping[str, Any]]) -> str:
    return _table(
        ("precision", "search crop", "`box`", "`score`", "box in the second frame"),
        (
            (a["precision"], a["search_size"], _numbers(a["box"]), a["score"], _numbers(a["box_in_frame"]))
            for a in answers
        ),
    )


def _code(*names: str) -> list[str]:
    return [f"`{name}`" for name in names]


def _numbers(values: Iterable[float]) -> str:
    return ", ".join(f"{v:g}" for v in values)
