"""What is fuzzed of recordings, data sets, results and training data: a sound answer or a UserError."""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import cv2
import numpy as np
import torch
from hostile import changed, either, fuzzed, mangle, mangled, workplace, write
from hypothesis import strategies as st

from mvt_deploy.errors import CalibrationError, SourceError, TrainingError
from mvt_deploy.evaluation.datasets import open_dataset
from mvt_deploy.evaluation.results import ResultError, ResultsFolder
from mvt_deploy.evaluation.sequence import DatasetError, Sequence
from mvt_deploy.process import quiet_opencv
from mvt_deploy.quantize.calibration_set import MIN_PAIRS
from mvt_deploy.quantize.ranges import RangeStore
from mvt_deploy.training.config import TrainConfig, from_json
from mvt_deploy.training.discover import discover
from mvt_deploy.training.state import RunFolder
from mvt_deploy.video.sources import open_source

quiet_opencv()

Case = tuple[str, bytes | str]
"""Name of the file that is hostile, and what it holds."""


def one_of(files: Callable[[], dict[str, bytes]]) -> Callable[[], st.SearchStrategy[Case]]:
    """Strategy of one file's name and its mangled content; JSON files also have values exchanged."""

    def structured() -> st.SearchStrategy[Case]:
        found = []
        for name, content in files().items():
            hostile: st.SearchStrategy[bytes | str] = mangled(content)
            if name.endswith(".json"):
                hostile |= changed(json.loads(content))
            found.append(st.tuples(st.just(name), hostile))
        return st.one_of(found)

    return structured


def one_seeded(files: Callable[[], dict[str, bytes]]) -> Callable[[Random], Case]:
    """:func:`one_of` without hypothesis."""

    def seeded(random: Random) -> Case:
        name, content = random.choice(list(files().items()))
        hostile = either(json.loads(content), content, random) if name.endswith(".json") else mangle(content, random)
        return name, hostile

    return seeded


def place_of(files: dict[str, bytes], kind: str) -> Path:
    """A folder with sound files, made once."""
    folder = workplace() / kind
    if not folder.exists():
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
    return folder


@contextlib.contextmanager
def hostile_file(folder: Path, case: Case, sound: dict[str, bytes]) -> Iterator[None]:
    """One file of a folder is hostile for a while, and sound again afterwards."""
    name, content = case
    write(folder / name, content)
    try:
        yield
    finally:
        write(folder / name, sound[name])


def picture(suffix: str, height: int = 12, width: int = 16, depth: type[np.unsignedinteger] = np.uint8) -> bytes:
    """A small picture of smooth colours, encoded."""
    rows, columns = np.mgrid[:height, :width]
    image = np.stack([rows * 9, columns * 7, rows * 4 + columns * 3], axis=2).astype(depth)
    return cv2.imencode(suffix, image)[1].tobytes()


_BOXES = b"10,20,30,40\n11.5,20,30,41\nNaN,NaN,NaN,NaN\n"
_IMAGES = 3


@functools.cache
def data_sets() -> dict[str, bytes]:
    """The text files and masks of a small data set of every format; the first part of a name is the format."""
    mask = np.zeros((8, 9), np.uint8)
    mask[2:5, 3:7] = 1
    flags, attributes = b"0\n0\n1\n", b"0,1,0,0,1,0,0,0,0,0,0"
    files = {
        "got10k/val/list.txt": b"GOT-10k_Val_000001\n",
        "got10k/val/GOT-10k_Val_000001/groundtruth.txt": _BOXES,
        "got10k/val/GOT-10k_Val_000001/cover.label": b"8\n8\n0\n",
        "got10k/val/GOT-10k_Val_000001/meta_info.ini": b"[METAINFO]\nresolution: (1920, 1080)\n",
        "lasot/testing_set.txt": b"cat-1\n",
        "lasot/cat/cat-1/groundtruth.txt": _BOXES,
        "lasot/cat/cat-1/full_occlusion.txt": b"0,0,1",
        "lasot/cat/cat-1/out_of_view.txt": flags,
        "lasot/att/cat-1.txt": attributes + b",0,0,0",
        "otb/Clip/groundtruth_rect.txt": b"10\t20\t30\t40\n11\t20\t30\t41\n12\t20\t30\t41\n",
        "otb/att/Clip.txt": attributes,
        "nfs/ball/30/ball.txt": b'0 10 20 40 60 0 0 0 0 "x"\n0 11 20 41 60 8 0 0 0 "x"\n0 12 20 42 60 16 0 0 0 "x"\n',
        "uav123/anno/UAV123/boat9.txt": _BOXES,
        "uav123/anno/UAV123/att/boat9.txt": attributes + b",0",
        "trackingnet/TEST/anno/x.txt": _BOXES,
        "davis/ImageSets/2017/val.txt": b"swan\n",
        "davis/Annotations/480p/swan/00000.png": cv2.imencode(".png", mask)[1].tobytes(),
        "vot/list.txt": b"ball\n",
        "vot/ball/groundtruth.txt": b"10,20,40,20,40,60,10,60\nm1,2,5,4,3,2,3,2,10\n0\n",
        "vot/ball/occlusion.tag": flags,
        "folder/clip/groundtruth.txt": _BOXES,
    }  # fmt: skip
    return files


_FRAMES = {
    "got10k": "val/GOT-10k_Val_000001/{:08d}.jpg",
    "lasot": "cat/cat-1/img/{:08d}.jpg",
    "otb": "Clip/img/{:04d}.jpg",
    "nfs": "ball/30/ball/{:05d}.jpg",
    "uav123": "data_seq/UAV123/boat9/{:06d}.jpg",
    "trackingnet": "TEST/frames/x/{}.jpg",
    "davis": "JPEGImages/480p/swan/{:05d}.jpg",
    "vot": "ball/color/{:08d}.jpg",
    "folder": "clip/img/{:04d}.jpg",
}
"""Where a format has its frames."""


@functools.cache
def _data_place() -> Path:
    sound = data_sets()
    numbers = range(1, 2)  # DAVIS has as many frames as masks
    frames = {
        f"{kind}/{pattern.format(n)}": b""
        for kind, pattern in _FRAMES.items()
        for n in (numbers if kind == "davis" else range(1, _IMAGES + 1))
    }
    return place_of(sound | frames, "data")


@fuzzed(one_of(data_sets), one_seeded(data_sets))
def data_set(case: Case) -> None:
    """``open_dataset``: sequences whose boxes fit their frames and can start a tracker, in every format."""
    name, _ = case
    folder = _data_place()
    kind = name.partition("/")[0]
    with contextlib.suppress(DatasetError), hostile_file(folder, case, data_sets()):
        dataset = open_dataset(folder / kind, kind)
        assert dataset.sequences
        for sequence in dataset.sequences:
            assert len(sequence.truth) in (1, len(sequence.frames))
            assert sequence.truth.shape[1:] == (4,)
            assert np.isfinite(sequence.truth[0]).all()
            assert (sequence.truth[0, 2:] > 0).all()


@functools.cache
def _results() -> dict[str, bytes]:
    info = {
        "format": 1,
        "dataset": {"name": "x", "format": "folder", "sequences": ["x"]},
        "tracker": {"label": "ort cpu fp32", "threads": None},
    }
    return {
        "run.json": json.dumps(info).encode(),
        "results/x.txt": b"10.000,20.000,30.000,40.000\n11.500,20.000,30.000,41.000\n",
        "results/x_score.txt": b"1.000000\n0.873312\n",
        "results/x_time.txt": b"0.01000000\n0.02000000\n",
    }


@fuzzed(one_of(_results), one_seeded(_results))
def results(case: Case) -> None:
    """``ResultsFolder``: a label, and one finite box, score and time per frame."""
    folder = place_of(_results(), "results")
    sequence = Sequence("x", (Path("1.jpg"), Path("2.jpg")), np.ones((2, 4)))
    with contextlib.suppress(ResultError), hostile_file(folder, case, _results()):
        run = ResultsFolder(folder)
        assert isinstance(run.label(), str)
        found = run.read(sequence)
        assert np.isfinite(found.boxes).all()
        assert found.boxes.shape == (2, 4)
        assert found.scores.shape == found.seconds.shape == (2,)


@functools.cache
def _calibration() -> dict[str, bytes]:
    sample = {"template": "t.png", "search": "s.png", "source": "clip", "frame": 1, "kind": "track", "score": 0.9}
    entry = {"data": "0" * 64, "pairs": 16, "graph": "search.onnx", "ranges": {"crop": [0.0, 255.0], "x": [-1.5, 2.5]}}
    return {
        "calibration.json": json.dumps({"format": 1, "pairs": [sample] * MIN_PAIRS}).encode(),
        "ranges.json": json.dumps({"format": 1, "graphs": {"a-percentile": entry}}).encode(),
        "t.png": picture(".png", 8, 8),
        "s.png": picture(".png", 16, 16),
    }


@fuzzed(one_of(_calibration), one_seeded(_calibration))
def calibration(case: Case) -> None:
    """``RangeStore``: crops of one size each and finite ranges, or a sentence."""
    folder = place_of(_calibration(), "calibration")
    with contextlib.suppress(CalibrationError), hostile_file(folder, case, _calibration()):
        RangeStore(folder)


@functools.cache
def _training() -> dict[str, bytes]:
    frames = [["0001.jpg", 1, 2, 30, 40], ["0002.jpg", 2.5, 2, 30, 41]]
    return {
        "tracks/tracks.json": json.dumps({"got_1": frames, "lasot_2": frames}).encode(),
        "got/x/groundtruth.txt": b"10,20,30,40\n11.5,20,30,41\n",
        "got/x/absence.label": b"0\n1\n",
        "photographs/boxes.json": json.dumps({"a.jpg": [[1, 2, 60, 70], [5.5, 2, 80, 30]]}).encode(),
    }


@functools.cache
def _training_place() -> Path:
    pictures = ("tracks/0001.jpg", "tracks/0002.jpg", "got/x/1.jpg", "got/x/2.jpg", "photographs/a.jpg")
    return place_of(_training() | dict.fromkeys(pictures, b""), "training")


@fuzzed(one_of(_training), one_seeded(_training))
def training_data(case: Case) -> None:
    """``discover``: tracks and photographs whose boxes are finite and have an area."""
    folder = _training_place()
    with contextlib.suppress(SourceError, TrainingError), hostile_file(folder, case, _training()):
        found = discover(folder)
        boxes = [frame.box for track in found.tracks for frame in track.frames]
        boxes += [box for photograph in found.photographs for box in photograph.boxes]
        assert np.isfinite(np.array(boxes, np.float64)).all()
        assert all(w > 0 and h > 0 for _, _, w, h in boxes)


@functools.cache
def _run() -> dict[str, bytes]:
    buffer = io.BytesIO()
    weights = {"a": torch.arange(4.0)}
    state = {"model": weights, "ema": weights, "optimiser": {"state": {}}, "distillation": {}, "step": 3}
    state |= {"elapsed": 1.5, "best": 0.5, "rng": torch.get_rng_state()[:64], "rng_cuda": None}
    torch.save(state, buffer)
    return {
        "config.json": TrainConfig().to_json().encode(),
        "log.jsonl": b'{"step": 1, "loss": 2.5}\n{"step": 2, "loss": 2.25}\n',
        "state.pt": buffer.getvalue(),
    }


@fuzzed(one_of(_run), one_seeded(_run))
def training_run(case: Case) -> None:
    """``RunFolder`` and the configuration: what a resumed run reads."""
    folder = place_of(_run(), "run")
    run = RunFolder(folder)
    try:
        with contextlib.suppress(SourceError, TrainingError), hostile_file(folder, case, _run()):
            config = from_json(run.read_config())
            assert from_json(config.to_json()) == config
            run.load_state()
            run.rewind_log(1)
            assert all(json.loads(line)["step"] <= 1 for line in (folder / "log.jsonl").read_text().splitlines())
    finally:
        write(folder / "log.jsonl", _run()["log.jsonl"])


@functools.cache
def _pictures() -> dict[str, bytes]:
    files = {f"picture{s}": picture(s) for s in (".bmp", ".jpg", ".png", ".ppm", ".tiff", ".webp")}
    files["picture.jp2"] = picture(".jp2", 64, 64)
    grey = np.arange(192, dtype=np.uint8).reshape(12, 16)
    files["grey.pgm"] = cv2.imencode(".pgm", grey)[1].tobytes()
    files["deep.png"] = picture(".png", depth=np.uint16)
    return files


@functools.cache
def _videos() -> dict[str, bytes]:
    files = {}
    for name, codec in (("clip.mp4", "mp4v"), ("clip.avi", "MJPG")):
        path = workplace() / name
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 30.0, (32, 24))
        for i in range(5):
            writer.write(np.full((24, 32, 3), 40 * i, np.uint8))
        writer.release()
        files[name] = path.read_bytes()
    return files


def _watch(case: Case) -> None:
    name, content = case
    path = workplace() / f"hostile-{name}"
    write(path, content)
    try:
        source = open_source(path)
        for frame in itertools.islice(source, 20):
            assert frame.image.dtype == np.uint8
            assert frame.image.shape[2:] == (3,)
            assert np.isfinite(frame.time)
        source.close()
        assert 0 < source.fps < np.inf
    except SourceError:
        pass


@fuzzed(one_of(_pictures), one_seeded(_pictures))
def image(case: Case) -> None:
    """``open_source`` of a picture: BGR uint8, or a sentence."""
    _watch(case)


@fuzzed(one_of(_videos), one_seeded(_videos))
def video(case: Case) -> None:
    """``open_source`` of a video: BGR uint8 with finite times, or a sentence."""
    _watch(case)
