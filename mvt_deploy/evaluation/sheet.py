"""A contact sheet of the frames a run did worst on."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from ..files import write_whole
from ..geometry import BGRImage
from ..groundtruth import Boxes
from .metrics import SequenceScore
from .results import ResultsFolder
from .sequence import Dataset, Sequence

_TILE = (320, 240)  # width, height
_COLUMNS = 4
_TRUTH, _FOUND, _WHITE = (0, 200, 0), (0, 0, 255), (255, 255, 255)


def worst_frames(scores: list[SequenceScore], most: int = 12) -> list[tuple[str, int]]:
    """Choose the frames with the lowest IoUs, the worst first.

    Every sequence gives its worst frame (the first of several) before any gives a second, which lies elsewhere in the
    clip, so that one bad clip does not fill the sheet. Frames with an IoU above 0.5 are not bad enough.

    Args:
        scores: Scores of the sequences.
        most: Largest number of frames.

    Returns:
        Name of the sequence and index of the frame.
    """
    rounds: list[tuple[int, float, str, int]] = []
    for s in scores:
        overlaps = s.overlaps.copy()
        overlaps[:1] = np.nan
        apart = max(10, len(overlaps) // 4)
        for turn in range(most):
            if not np.any(overlaps <= 0.5):
                break
            index = int(np.nanargmin(overlaps))
            rounds.append((turn, float(overlaps[index]), s.name, index))
            overlaps[max(0, index - apart) : index + apart] = np.nan
    return [(name, index) for _, _, name, index in sorted(rounds)[:most]]


def write_sheet(dataset: Dataset, folder: ResultsFolder, scores: list[SequenceScore]) -> Path | None:
    """Write ``worst.jpg``: ground truth green, the tracker's box red, sequence, frame and IoU above.

    Returns:
        The file, or None if no frame is bad enough.

    Raises:
        OSError: The file cannot be written.
    """
    sequences = {s.name: s for s in dataset.sequences}
    overlaps = {s.name: s.overlaps for s in scores}
    chosen = worst_frames(scores)
    if not chosen:
        return None
    tiles = [_tile(sequences[n], i, folder.read(sequences[n]).boxes, overlaps[n][i]) for n, i in chosen]
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % min(_COLUMNS, len(tiles)))
    columns = min(_COLUMNS, len(tiles))
    rows = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    done, jpeg = cv2.imencode(".jpg", np.vstack(rows), [cv2.IMWRITE_JPEG_QUALITY, 88])
    assert done
    path = folder.path / "worst.jpg"
    write_whole(path, jpeg.tobytes())
    return path


def _tile(sequence: Sequence, index: int, boxes: Boxes, overlap: float) -> npt.NDArray[np.uint8]:
    frame: BGRImage = sequence.read(index)
    height, width = frame.shape[:2]
    scale = min(_TILE[0] / width, _TILE[1] / height)
    small = cv2.resize(frame, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
    for box, colour in ((sequence.truth[index], _TRUTH), (boxes[index], _FOUND)):
        x1, y1, x2, y2 = np.round(np.concatenate([box[:2], box[:2] + box[2:]]) * scale).astype(int).tolist()
        cv2.rectangle(small, (x1, y1), (x2, y2), colour, 2)
    tile = np.zeros((_TILE[1] + 20, _TILE[0], 3), np.uint8)
    tile[20 : 20 + small.shape[0], : small.shape[1]] = small
    caption = f"{sequence.name}  {sequence.frames[index].name}  IoU {overlap:.2f}"
    cv2.putText(tile, caption, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.4, _WHITE, 1, cv2.LINE_AA)
    return tile
