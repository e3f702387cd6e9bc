"""OTB-100: ``<Name>/img``, ``groundtruth_rect.txt``; clips with two targets, part ranges and odd first numbers."""

from __future__ import annotations

import re
from pathlib import Path

from ...groundtruth import read_boxes, without_absent
from ..attributes import OTB, derive, read_attributes
from ..sequence import Dataset, DatasetError, Sequence
from .files import Reader, choose, folders, frames, has_images, require_first, require_length

_RANGES = {
    "David": (300, 770),
    "Diving": (1, 215),
    "Football1": (1, 74),
    "Freeman3": (1, 460),
    "Freeman4": (1, 283),
}
"""First and last frame number of the clips whose boxes cover only a part of the images."""

_ATTRIBUTES = (
    "Basketball IV OCC DEF OPR BC; Biker SV OCC MB FM OPR OV LR; Bird1 DEF FM OV; Bird2 OCC DEF FM IPR OPR; "
    "BlurBody SV DEF MB FM IPR; BlurCar1 MB FM; BlurCar2 SV MB FM; BlurCar3 MB FM; BlurCar4 MB FM; BlurFace MB FM "
    "IPR; BlurOwl SV MB FM IPR; Board SV MB FM OPR OV BC; Bolt OCC DEF IPR OPR; Bolt2 DEF BC; Box IV SV OCC MB IPR "
    "OPR OV BC LR; Boy SV MB FM IPR OPR; Car1 IV SV MB FM BC LR; Car2 IV SV MB FM BC; Car24 IV SV BC; Car4 IV SV; "
    "CarDark IV BC; CarScale SV OCC FM IPR OPR; ClifBar SV OCC MB FM IPR OV BC; Coke IV OCC FM IPR OPR BC; Couple "
    "SV DEF FM OPR BC; Coupon OCC BC; Crossing SV DEF FM OPR BC; Crowds IV DEF BC; Dancer SV DEF IPR OPR; Dancer2 "
    "DEF; David IV SV OCC DEF MB IPR OPR; David2 IPR OPR; David3 OCC DEF OPR BC; Deer MB FM IPR BC LR; Diving SV "
    "DEF IPR; Dog SV DEF OPR; Dog1 SV IPR OPR; Doll IV SV OCC IPR OPR; DragonBaby SV OCC MB FM IPR OPR OV; Dudek SV "
    "OCC DEF FM IPR OPR OV BC; FaceOcc1 OCC; FaceOcc2 IV OCC IPR OPR; Fish IV; FleetFace SV DEF MB FM IPR OPR; "
    "Football OCC IPR OPR BC; Football1 IPR OPR BC; Freeman1 SV IPR OPR; Freeman3 SV IPR OPR; Freeman4 SV OCC IPR "
    "OPR; Girl SV OCC IPR OPR; Girl2 SV OCC DEF MB OPR; Gym SV DEF IPR OPR; Human2 IV SV MB OPR; Human3 SV OCC DEF "
    "OPR BC; Human4 IV SV OCC DEF; Human5 SV OCC DEF; Human6 SV OCC DEF FM OPR OV; Human7 IV SV OCC DEF MB FM; "
    "Human8 IV SV DEF; Human9 IV SV DEF MB FM; Ironman IV SV OCC MB FM IPR OPR OV BC LR; Jogging OCC DEF OPR; Jump "
    "SV OCC DEF MB FM IPR OPR; Jumping MB FM; KiteSurf IV OCC IPR OPR; Lemming IV SV OCC FM OPR OV; Liquor IV SV "
    "OCC MB FM OPR OV BC; Man IV; Matrix IV SV OCC FM IPR OPR BC; Mhyang IV DEF OPR BC; MotorRolling IV SV MB FM "
    "IPR BC LR; MountainBike IPR OPR BC; Panda SV OCC DEF IPR OPR OV LR; RedTeam SV OCC IPR OPR LR; Rubik SV OCC "
    "IPR OPR; Shaking IV SV IPR OPR BC; Singer1 IV SV OCC OPR; Singer2 IV DEF IPR OPR BC; Skater SV DEF IPR OPR; "
    "Skater2 SV DEF FM IPR OPR; Skating1 IV SV OCC DEF OPR BC; Skating2 SV OCC DEF FM OPR; Skiing IV SV DEF IPR "
    "OPR; Soccer IV SV OCC MB FM IPR OPR BC; Subway OCC DEF BC; Surfer SV FM IPR OPR LR; Suv OCC IPR OV; Sylvester "
    "IV IPR OPR; Tiger1 IV OCC DEF MB FM IPR OPR; Tiger2 IV OCC DEF MB FM IPR OPR OV; Toy SV FM IPR OPR; Trans IV "
    "SV OCC DEF; Trellis IV SV IPR OPR BC; Twinnings SV OPR; Vase SV FM IPR; Walking SV OCC DEF; Walking2 SV OCC "
    "LR; Woman IV SV OCC DEF MB FM OPR"
)
LABELS: dict[str, tuple[str, ...]] = {
    name: tuple(labels) for name, *labels in (row.split() for row in _ATTRIBUTES.split(";"))
}
"""The benchmark's attributes (TPAMI 2015) by folder."""


def _truths(folder: Path) -> list[Path]:
    """The ground-truth files, one per target; some archives hold an empty one beside the right one."""
    return sorted(p for p in folder.glob("groundtruth_rect*.txt") if p.read_bytes().strip())


def _is_sequence(folder: Path) -> bool:
    return has_images(folder / "img") and any(folder.glob("groundtruth_rect*.txt"))


def _matches(root: Path) -> bool:
    return any(_is_sequence(folder) for folder in folders(root))


def _load(root: Path, split: str | None) -> Dataset:
    choose(split, ("OTB-100",), "OTB")
    here = [folder for folder in folders(root) if _is_sequence(folder)]
    sequences = tuple(_sequence(folder, truth, root) for folder in here for truth in _truths(folder))
    part = "" if len(sequences) == 100 else f", {len(sequences)} sequences"
    return Dataset(f"OTB-100{part}", "otb", root, sequences)


def _sequence(folder: Path, file: Path, root: Path) -> Sequence:
    target = re.fullmatch(r"groundtruth_rect\.(\d+)\.txt", file.name)
    name = f"{folder.name}-{target[1]}" if target else folder.name
    images = frames(folder / "img")
    if folder.name in _RANGES:
        first, last = _RANGES[folder.name]
        images = tuple(p for p in images if first <= int(p.stem) <= last)
    truth = read_boxes(file)
    if len(images) > len(truth) and folder.name not in LABELS:
        raise DatasetError(
            f"{folder} has {len(images)} images for {len(truth)} boxes and is no sequence of OTB-100 whose frame range "
            "is known: remove the images without a box, or use --format folder."
        )
    require_length(images, truth, folder)
    require_first(truth, folder)
    truth = without_absent(truth)
    known = next(
        (
            a
            for n in (name, folder.name, name.lower())
            if (a := read_attributes(root / "att" / f"{n}.txt", OTB)) is not None
        ),
        LABELS.get(folder.name),
    )
    return Sequence(name, images, truth, derive(truth) if known is None else known, known is None)


READER = Reader(
    "otb", "OTB-100", "<Name>/img/0001.jpg …, groundtruth_rect.txt (or groundtruth_rect.1.txt, .2.txt)", _matches, _load
)
