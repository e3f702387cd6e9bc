"""The site that ``package --web`` writes: what is in it, and what it refuses."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import mvt_deploy as mvt
from mvt_deploy.backends.onnx_session import OnnxSession
from mvt_deploy.bundle import open_bundle
from mvt_deploy.cli.main import app
from mvt_deploy.crops import photograph_pairs
from mvt_deploy.errors import BundleError, MissingExtra, UserError
from mvt_deploy.web import find_runtime, write_site

PAGE = Path(__file__).parents[2] / "mvt_deploy" / "web" / "page"


def unpacked(site: Path, entry: dict[str, object]) -> bytes:
    data = (site / str(entry["file"])).read_bytes()
    assert len(data) == entry["download"]
    return gzip.decompress(data) if str(entry["file"]).endswith(".gz") else data


@pytest.mark.slow
def test_the_site_holds_what_its_description_says(site: Path, bundle: Path) -> None:
    description = json.loads((site / "site.json").read_text())
    manifest = json.loads((bundle / "manifest.json").read_text())
    hashes = {graph["file"]: graph["sha256"] for graph in manifest["graphs"]}
    choices = description["choices"]
    assert [(c["provider"], c["precision"]) for c in choices] == [
        ("wasm", "fp16-weights"),
        ("webgpu", "fp16"),
        ("webgpu", "fp32"),
    ]
    for entry in [c[role] for c in choices[1:] for role in ("template", "search")]:
        assert entry["sha256"] == hashes[Path(entry["file"]).name.removesuffix(".gz")]
    entries = [c[role] for c in choices for role in ("template", "search")]
    entries += [description["runtime"][kind]["binary"] for kind in ("wasm", "webgpu")]
    entries += [description["check"]["crops"], description["clip"]["pictures"]]
    for entry in entries:
        data = unpacked(site, entry)
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (entry["sha256"], entry["bytes"])
    for file in description["shell"]:
        assert (site / file).is_file()
    assert sum(description["clip"]["lengths"]) == description["clip"]["pictures"]["bytes"]
    assert (choices[0]["search_size"], choices[0]["search_factor"]) == (256, 4.0)


@pytest.mark.slow
def test_the_answers_in_the_site_are_those_of_native_onnx_runtime(site: Path, bundle: Path) -> None:
    check = json.loads((site / "site.json").read_text())["check"]
    data = np.frombuffer(unpacked(site, check["crops"]), np.uint8)
    pairs = photograph_pairs(len(check["answers"]))
    first = data[: 128 * 128 * 3 + 256 * 256 * 3]
    assert np.array_equal(first[: 128 * 128 * 3], pairs.template[0].ravel())
    assert np.array_equal(first[128 * 128 * 3 :], pairs.search[0].ravel())
    model = mvt.load(bundle, "ort")
    found = model.search(pairs.search, model.template(pairs.template))
    assert np.allclose(np.column_stack([found.box, found.score]), check["answers"], atol=1e-4)


def test_one_content_security_policy_in_the_page_and_in_the_service_worker(site: Path) -> None:
    page = re.search(r'content="(default-src[^"]+)"', (site / "index.html").read_text())
    worker = re.search(r"const POLICY =\s+((?:\"[^\"]*\"[\s+;]*)+)", (site / "service-worker.js").read_text())
    assert page
    assert worker
    assert page[1] == "".join(re.findall(r'"([^"]*)"', worker[1]))
    assert "unsafe-eval" not in page[1].replace("wasm-unsafe-eval", "")
    assert "unsafe-inline" not in page[1]


@pytest.mark.slow
def test_weights_stored_in_fp16_halve_the_graphs_and_keep_fp32_arithmetic(site: Path, bundle: Path) -> None:
    choice = json.loads((site / "site.json").read_text())["choices"][0]
    template, search = (unpacked(site, choice[role]) for role in ("template", "search"))
    for stored, name in ((template, "template.onnx"), (search, "search.ort.onnx")):
        assert len(stored) < 0.51 * (bundle / name).stat().st_size
    pairs = photograph_pairs(4)
    model = mvt.load(bundle, "ort")
    wanted = model.search(pairs.search, model.template(pairs.template))
    features = OnnxSession(template).run({"crop": pairs.template})
    found = OnnxSession(search).run({"crop": pairs.search, **features}, ("box", "score"))
    assert found["box"].dtype == np.float32
    assert np.allclose(found["box"], wanted.box, atol=1e-3)
    assert np.allclose(found["score"], wanted.score, atol=1e-3)


@pytest.mark.slow
def test_without_onnx_the_weights_stay_in_fp32(
    bundle: Path, web_runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)  # as where it is not installed
    said: list[str] = []
    with pytest.raises(MissingExtra, match=r"onnx.*mvt-deploy\[package\]"):
        write_site(open_bundle(bundle), tmp_path / "a", runtime=web_runtime, precision="fp16-weights")
    assert not (tmp_path / "a").exists()
    write_site(open_bundle(bundle), tmp_path / "b", runtime=web_runtime, say=said.append)
    assert json.loads((tmp_path / "b" / "site.json").read_text())["choices"][0]["precision"] == "fp32"
    assert "the package onnx is not installed" in said[0]


@pytest.mark.slow
def test_another_site_has_another_cache(site: Path, bundle: Path, web_runtime: Path, tmp_path: Path) -> None:
    write_site(open_bundle(bundle), tmp_path, runtime=web_runtime, precision="fp32")
    first, other = ((folder / "service-worker.js").read_bytes() for folder in (site, tmp_path))
    assert first != other
    assert b"{{" not in first
    assert json.loads((tmp_path / "site.json").read_text())["choices"][0]["precision"] == "fp32"


@pytest.mark.slow
def test_the_command_states_the_megabytes_and_repeats_to_the_byte(
    site: Path, bundle: Path, web_runtime: Path, tmp_path: Path
) -> None:
    place = tmp_path / "site"
    place.mkdir()
    (place / "site.json").write_text("{}")  # an earlier site
    (place / "old.js").write_text("")
    arguments = ["package", "--web", str(place), "--model", str(bundle), "--runtime", str(web_runtime)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{place}\n"
    wasm = re.search(r"wasm fp16-weights: ([\d.]+) MB to download", done.stderr)
    assert wasm
    assert 11 < float(wasm[1]) < 14
    assert not (place / "old.js").exists()
    for path in site.rglob("*"):
        if path.is_file():
            assert (place / path.relative_to(site)).read_bytes() == path.read_bytes(), path.name


def test_what_cannot_be_packaged_is_said_and_nothing_is_written(
    bundle: Path, web_runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, place = open_bundle(bundle), tmp_path / "site"
    damaged = tmp_path / "damaged"
    shutil.copytree(web_runtime, damaged)
    with (damaged / "ort.wasm.bundle.min.mjs").open("ab") as file:
        file.write(b" ")
    with pytest.raises(UserError, match=r"not the file of onnxruntime-web@.*npm pack"):
        write_site(opened, place, runtime=damaged)
    with pytest.raises(UserError, match="not the unpacked npm package"):
        write_site(opened, place, runtime=tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"npm is not installed here.*--runtime DIR"):
        write_site(opened, place)
    with pytest.raises(UserError, match="no precision 'bf16' for browsers"):
        write_site(opened, place, runtime=web_runtime, precision="bf16")
    assert not place.exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["damaged"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious.txt").write_text("keep")
    with pytest.raises(UserError, match="is no site of mvt-deploy"):
        write_site(opened, tmp_path / "mine", runtime=web_runtime)
    assert (tmp_path / "mine" / "precious.txt").read_text() == "keep"


@pytest.mark.slow
def test_damaged_graphs_do_not_get_into_a_site(bundle: Path, web_runtime: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle, tmp_path / "mvt")
    with (tmp_path / "mvt" / "search.ort.onnx").open("r+b") as file:
        file.write(b"damage")
    with pytest.raises(BundleError, match="not the file its manifest describes"):
        write_site(open_bundle(tmp_path / "mvt"), tmp_path / "site", runtime=web_runtime)
    assert [p.name for p in tmp_path.iterdir()] == ["mvt"]


def test_npm_that_fails_or_fetches_something_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho 'npm error code ENOTFOUND' >&2\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with (
        pytest.raises(UserError, match=r"npm cannot fetch onnxruntime-web@\S+ \(npm error code ENOTFOUND\)"),
        find_runtime(None),
    ):
        pass
    npm.write_text('#!/bin/sh\necho other > "$4/other.tgz"\n')
    with pytest.raises(UserError, match="another onnxruntime-web@"), find_runtime(None):
        pass


@pytest.mark.parametrize(
    "arguments", [["package"], ["package", "--web", "site", "--triton", "repository"]], ids=["neither", "both"]
)
def test_one_place_to_package_for(arguments: list[str]) -> None:
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, UserError)
    assert "--web SITE" in str(done.exception)


@pytest.mark.slow
def test_types_of_the_modules(node: str, npm_package: Callable[[str], Path], tmp_path: Path) -> None:
    compiler = npm_package("typescript@5.9.3") / "bin" / "tsc"
    options = {
        "allowJs": True, "checkJs": True, "noEmit": True, "strict": True, "types": [], "target": "ES2022",
        "module": "ES2022", "moduleResolution": "bundler", "lib": ["ES2022", "DOM", "DOM.Iterable"],
    }  # fmt: skip
    (tmp_path / "jsconfig.json").write_text(json.dumps({"compilerOptions": options, "include": [f"{PAGE}/*.js"]}))
    done = subprocess.run(
        [node, str(compiler), "-p", str(tmp_path / "jsconfig.json")], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout
    for module in PAGE.glob("*.js"):
        assert "@ts-check" in module.read_text().splitlines()[0]
        assert "@ts-ignore" not in module.read_text()
