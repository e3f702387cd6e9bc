"""Every example runs as it stands in the folder, and says where the target is."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from golden import ROOT

from mvt_deploy.geometry import BGRImage, Box, crop, crop_window
from mvt_deploy.video.demo import frames

EXAMPLES = ROOT / "examples"
COUNT = 12


class Clip:
    """The first frames of the rendered clip: pictures, ground truth, and a lossless video of them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.pictures: list[BGRImage] = []
        self.boxes: list[Box] = []
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30, (960, 540))
        for _, (picture, box) in zip(range(COUNT), frames(), strict=False):
            self.pictures.append(picture)
            self.boxes.append(box)
            writer.write(picture)
        writer.release()

    @property
    def first(self) -> str:
        """The first box as the examples take it."""
        return ",".join(map(str, self.boxes[0]))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    return Clip(tmp_path_factory.mktemp("clip") / "clip.avi")


@pytest.fixture
def run(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., list[str]]:
    """Runs an example in an empty folder that has the default bundle, and gives the lines that it printed."""
    shutil.copytree(bundle, tmp_path / "models/mvt", copy_function=os.link)
    monkeypatch.chdir(tmp_path)

    def run(name: str, *arguments: object) -> list[str]:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out.splitlines()

    return run


def test_the_pages_include_every_example() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs").glob("*.md"))
    included = set(re.findall(r'^ *--8<-- "(.+)"$', pages, re.MULTILINE))
    assert included == {f"examples/{path.name}" for path in EXAMPLES.glob("*.py")}
    assert "--8 " not in pages, "a formatter took the line for Python"


def overlap(found: tuple[float, ...], box: Box) -> float:
    """IoU of two boxes ``x, y, w, h``."""
    x, y, w, h = found
    wide = max(0.0, min(x + w, box.x + box.w) - max(x, box.x))
    high = max(0.0, min(y + h, box.y + box.h) - max(y, box.y))
    return wide * high / (w * h + box.w * box.h - wide * high)


def follows(found: list[tuple[float, ...]], boxes: list[Box]) -> bool:
    """Whether every box is near the truth."""
    return len(found) == len(boxes) and min(map(overlap, found, boxes)) > 0.6


def test_every_example_is_tested_and_short() -> None:
    names = {path.name for path in EXAMPLES.glob("*.py")}
    text = Path(__file__).read_text(encoding="utf-8")
    assert {name for name in names if f'"{name}"' not in text} == set()
    lengths = {name: len((EXAMPLES / name).read_text(encoding="utf-8").splitlines()) for name in names}
    assert {name: length for name, length in lengths.items() if length >= 40} == {}


def test_camera(run: Callable[..., list[str]], clip: Clip) -> None:
    lines = [line.split() for line in run("camera.py", clip.path, clip.first)]
    assert all(line[0] == "tracking" and 0.2 < float(line[1]) <= 1 for line in lines)
    assert follows([tuple(map(float, line[2:])) for line in lines], clip.boxes[1:])


@pytest.mark.slow
def test_several(run: Callable[..., list[str]], clip: Clip) -> None:
    lines = run("several.py", clip.path, clip.first, "430,80,70,60")
    assert len(lines) == COUNT - 1
    assert all(len(line.split(", ")) == 2 for line in lines)
    written = cv2.VideoCapture("clip.targets.avi")
    assert written.get(cv2.CAP_PROP_FRAME_COUNT) == COUNT - 1
    drawn = written.read()[1]
    assert np.abs(drawn.astype(int) - clip.pictures[1]).max() > 100  # boxes


def test_own_frames(run: Callable[..., list[str]], clip: Clip, tmp_path: Path) -> None:
    np.save(tmp_path / "frames.npy", np.stack(clip.pictures)[..., ::-1])
    (line,) = run("own_frames.py", tmp_path / "frames.npy", clip.first)
    assert line == f"{COUNT} frames, 0 of them without the target, written to boxes.txt"
    assert follows([tuple(row) for row in np.loadtxt("boxes.txt", delimiter=",")], clip.boxes)


def test_score_map(run: Callable[..., list[str]], clip: Clip) -> None:
    lines = [line.split() for line in run("score_map.py", clip.path, clip.first, "maps")]
    assert follows([tuple(map(float, line[2:])) for line in lines], clip.boxes[1:])
    assert len(list(Path("maps").glob("*.png"))) == COUNT - 1
    picture: Any = cv2.imread("maps/00005.png")
    assert picture.shape == (256, 256, 3)
    before = Box(*map(float, lines[3][2:]))  # what frame 5 was searched around
    laid_over = picture - 0.6 * crop(clip.pictures[5], crop_window(before, 4.0), 256)
    assert laid_over[120:136, 120:136, 1].mean() > 25  # a high score is green, a low one violet
    assert laid_over[:32, :32, 1].mean() < 10


def test_ros_node(bundle: Path, clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(bundle, tmp_path / "models/mvt", copy_function=os.link)
    monkeypatch.chdir(tmp_path)
    published: list[tuple[tuple[float, ...], int]] = []
    example = runpy.run_path(str(EXAMPLES / "ros_node.py"))
    node = example["Follower"](lambda track, header: published.append((track.box, header)))

    def message(number: int, encoding: str, pad: int) -> SimpleNamespace:
        picture = clip.pictures[number] if encoding == "bgr8" else clip.pictures[number][..., ::-1]
        rows = np.pad(picture.reshape(540, -1), ((0, 0), (0, pad)))  # rows may be longer than the picture is wide
        return SimpleNamespace(
            header=number, height=540, width=960, encoding=encoding, step=rows.shape[1], data=rows.tobytes()
        )

    node.on_image(message(0, "bgr8", 0))
    assert published == []
    node.follow(*clip.boxes[0])
    for number in range(COUNT):
        node.on_image(message(number, ("bgr8", "rgb8")[number % 2], 8 * (number % 3)))
    assert [header for _, header in published] == list(range(1, COUNT))
    assert follows([box for box, _ in published], clip.boxes[1:])


@pytest.fixture
def server(bundle: Path) -> Iterator[str]:
    """A Triton server as far as the example sees it: its protocol, with ONNX Runtime behind; gives the address."""
    grpc = pytest.importorskip("grpc", reason="grpcio is not installed")
    triton = pytest.importorskip("tritonclient.grpc", reason="tritonclient is not installed")
    import onnxruntime
    from tritonclient.grpc import service_pb2, service_pb2_grpc
    from tritonclient.utils import np_to_triton_dtype, triton_to_np_dtype

    sessions = {f"mvt_{role}": onnxruntime.InferenceSession(bundle / f"{role}.onnx") for role in ("template", "search")}

    class Service(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
        def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802 (the protocol's name)
            arrays = {
                tensor.name: np.frombuffer(raw, triton_to_np_dtype(tensor.datatype)).reshape(tensor.shape)
                for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True)
            }
            session = sessions[request.model_name]
            answer = service_pb2.ModelInferResponse(model_name=request.model_name)
            for output, value in zip(session.get_outputs(), session.run(None, arrays), strict=True):
                answer.outputs.add(name=output.name, datatype=np_to_triton_dtype(value.dtype), shape=value.shape)
                answer.raw_output_contents.append(value.tobytes())
            return answer

    assert triton
    serving = grpc.server(ThreadPoolExecutor(2))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Service(), serving)
    port = serving.add_insecure_port("127.0.0.1:0")
    serving.start()
    yield f"127.0.0.1:{port}"
    serving.stop(None).wait()


def test_triton_client(server: str, run: Callable[..., list[str]], clip: Clip) -> None:
    lines = run("triton_client.py", server, clip.path, clip.first)
    assert follows([tuple(map(float, line.split())) for line in lines], clip.boxes[1:])
