"""Every benchmark's layout as users have it, with its quirks; wrong layouts say what was expected and found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from evaluation_trees import HEIGHT, WIDTH, got10k, lasot, otb, plain, walk, write_frames, write_rows

from mvt_deploy.evaluation.attributes import derive
from mvt_deploy.evaluation.datasets import FORMATS, open_dataset
from mvt_deploy.evaluation.datasets.otb import LABELS
from mvt_deploy.evaluation.sequence import DatasetError
from mvt_deploy.groundtruth import box_around


def test_got10k_reads_lists_covers_and_resolution(tmp_path: Path) -> None:
    got10k(tmp_path, {"GOT-10k_Val_000002": 6, "GOT-10k_Val_000001": 4}, hidden={"GOT-10k_Val_000002": [2, 3]})
    dataset = open_dataset(tmp_path)
    assert (dataset.format, dataset.name, dataset.labelled) == ("got10k", "GOT-10k val", True)
    assert [s.name for s in dataset.sequences] == ["GOT-10k_Val_000002", "GOT-10k_Val_000001"]  # the list's order
    first = dataset.sequences[0]
    assert np.isnan(first.truth).all(axis=1).tolist() == [False, False, True, True, False, False]
    assert np.array_equal(first.truth[[0, 1, 4, 5]], walk(6, 0)[[0, 1, 4, 5]])
    assert first.frame_size() == (WIDTH, HEIGHT)
    assert [p.name for p in first.frames][:2] == ["00000001.jpg", "00000002.jpg"]
    assert [s.name for s in open_dataset(tmp_path / "val").sequences] == [s.name for s in dataset.sequences]


def test_got10k_test_split_has_the_first_box_only(tmp_path: Path) -> None:
    dataset = open_dataset(got10k(tmp_path, {"GOT-10k_Test_000001": 5}, split="test"))
    assert dataset.name == "GOT-10k test"
    assert not dataset.labelled
    assert dataset.sequences[0].truth.shape == (1, 4)
    with pytest.raises(DatasetError, match=r"no train/list\.txt"):
        open_dataset(tmp_path, split="train")


def test_lasot_picks_the_test_split_and_hides_flagged_frames(tmp_path: Path) -> None:
    lasot(tmp_path, {"airplane-1": 5, "airplane-2": 4, "zebra-17": 4}, hidden={"airplane-1": [1, 2]})
    write_frames(tmp_path / "airplane" / "airplane-1" / "img", [6, 7])  # more images than boxes, as in monkey-17
    dataset = open_dataset(tmp_path)
    assert (dataset.format, dataset.name) == ("lasot", "LaSOT test, 2 of 280 sequences")
    first = dataset.sequences[0]
    assert len(first.frames) == 5
    assert np.isnan(first.truth[:, 0]).tolist() == [False, True, True, False, False]
    assert first.derived
    assert "OV" in first.attributes
    assert [s.name for s in open_dataset(tmp_path, split="train").sequences] == ["airplane-2"]
    assert len(open_dataset(tmp_path, split="all").sequences) == 3


def test_lasot_takes_the_toolkits_attributes(tmp_path: Path) -> None:
    lasot(tmp_path, {"cat-1": 3})
    write_rows(tmp_path / "att" / "cat-1.txt", [[1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]])
    sequence = open_dataset(tmp_path).sequences[0]
    assert sequence.attributes == ("IV", "MB", "ARC")
    assert not sequence.derived


def test_otb_quirks(tmp_path: Path) -> None:
    otb(tmp_path, "David", range(1, 775), walk(471, 1), separator="\t")  # boxes for frames 300 to 770 only
    otb(tmp_path, "BlurCar1", range(247, 252), walk(5, 2))  # its first image is number 247
    otb(tmp_path, "Jogging", range(1, 5), walk(4, 3), target=".1")
    otb(tmp_path, "Jogging", range(1, 5), walk(4, 4), target=".2", separator=" ")
    otb(tmp_path, "Human4", range(1, 5), walk(4, 5), target=".2")
    (tmp_path / "Human4" / "groundtruth_rect.1.txt").write_text("", encoding="utf-8")  # empty in some archives
    dataset = open_dataset(tmp_path)
    by_name = {s.name: s for s in dataset.sequences}
    assert sorted(by_name) == ["BlurCar1", "David", "Human4-2", "Jogging-1", "Jogging-2"]
    assert (by_name["David"].frames[0].name, by_name["David"].frames[-1].name) == ("0300.jpg", "0770.jpg")
    assert by_name["BlurCar1"].frames[0].name == "0247.jpg"
    assert np.array_equal(by_name["Jogging-2"].truth, walk(4, 4))
    assert by_name["Jogging-2"].attributes == ("OCC", "DEF", "OPR")
    assert not by_name["Human4-2"].derived


def test_otb_matches_the_got10k_reader(tmp_path: Path) -> None:
    toolkit = pytest.importorskip("got10k.datasets")
    otb(tmp_path, "David", range(1, 775), walk(471, 1), separator=" ")
    otb(tmp_path, "Skating2", range(1, 6), walk(5, 3), target=".1")
    otb(tmp_path, "Skating2", range(1, 6), walk(5, 4), target=".2")
    theirs = toolkit.OTB(str(tmp_path), download=False)
    ours = open_dataset(tmp_path, "otb").sequences
    assert len(ours) == len(theirs) == 3
    for sequence, (images, boxes) in zip(ours, theirs, strict=True):
        assert [str(p) for p in sequence.frames] == images
        assert np.array_equal(sequence.truth, boxes)


def test_otb_knows_the_attributes_of_all_its_folders() -> None:
    labels = LABELS
    assert len(labels) == 98  # Jogging and Skating2 have two targets: 100 sequences
    assert labels["Basketball"] == ("IV", "OCC", "DEF", "OPR", "BC")
    counts = {short: sum(short in a for a in labels.values()) for short in ("OCC", "LR", "OV")}
    assert counts == {"OCC": 47, "LR": 10, "OV": 14}


def test_nfs_as_published_and_repacked(tmp_path: Path) -> None:
    published, repacked = tmp_path / "a", tmp_path / "b"
    truth = walk(38, 1)
    folder = published / "bee" / "30"
    write_frames(folder / "bee", range(1, 6), digits=5)
    corners = np.hstack([truth[:, :2], truth[:, :2] + truth[:, 2:]])
    lines = [f'0 {" ".join(f"{v:.2f}" for v in row)} {i} 0 0 0 "a bee"' for i, row in enumerate(corners)]
    (folder / "bee.txt").write_text("\n".join(lines), encoding="utf-8")  # 38 boxes at 240 fps for 5 frames at 30
    sequence = open_dataset(published).sequences[0]
    assert sequence.name == "bee"
    assert np.allclose(sequence.truth, truth[::8], atol=0.011)
    write_frames(repacked / "sequences" / "bee", range(1, 7), digits=5)
    write_rows(repacked / "anno" / "nfs_bee.txt", truth[:5], "\t")  # one image too many, as in several clips
    dataset = open_dataset(repacked)
    assert (dataset.format, dataset.sequences[0].name, len(dataset.sequences[0].frames)) == ("nfs", "nfs_bee", 5)


def test_uav123_shares_clips_and_marks_absence_by_nan(tmp_path: Path) -> None:
    write_frames(tmp_path / "data_seq" / "UAV123" / "bird1", range(770, 781), digits=6)
    truth = walk(5, 1)
    truth[2] = np.nan
    write_rows(tmp_path / "anno" / "UAV123" / "bird1_2.txt", truth)
    write_rows(tmp_path / "anno" / "UAV123" / "att" / "bird1_2.txt", [[1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]])
    sequence = open_dataset(tmp_path).sequences[0]
    assert (sequence.name, sequence.frames[0].name, len(sequence.frames)) == ("bird1_2", "000775.jpg", 5)
    assert np.isnan(sequence.truth[2]).all()
    assert sequence.attributes == ("SV", "OV")
    (tmp_path / "data_seq" / "UAV123" / "bird1" / "000777.jpg").unlink()
    with pytest.raises(DatasetError, match="lacks 1 frames of bird1_2, the first 000777"):
        open_dataset(tmp_path)


def test_trackingnet_sorts_frames_by_number(tmp_path: Path) -> None:
    write_frames(tmp_path / "TEST" / "frames" / "clip_0", range(12), digits=1)
    write_rows(tmp_path / "TEST" / "anno" / "clip_0.txt", walk(1))
    write_frames(tmp_path / "TRAIN_3" / "frames" / "clip_1", range(4), digits=1)
    write_rows(tmp_path / "TRAIN_3" / "anno" / "clip_1.txt", walk(4))
    test, train = open_dataset(tmp_path), open_dataset(tmp_path, split="train")
    assert [p.stem for p in test.sequences[0].frames] == [str(n) for n in range(12)]
    assert not test.labelled
    assert [s.name for s in train.sequences] == ["clip_1"]
    assert train.labelled


def test_vot_polygons_masks_and_codes_become_the_toolkits_rectangles(tmp_path: Path) -> None:
    lines = ["10,20,30,22,28,40,8,38", "m5,6,4,3,5,2,2,2,1", "12.5,3,10,9"]
    parse = pytest.importorskip("vot.region.io").parse_region
    rectangle = pytest.importorskip("vot.region").Rectangle
    for line in (lines[0], lines[2]):
        region = rectangle.convert(parse(line))
        assert box_around(line) == pytest.approx([region.x, region.y, region.width, region.height])
    mask = parse(lines[1])  # the toolkit keeps masks cut to their target
    assert box_around(lines[1]) == [*mask.offset, *mask.mask.shape[::-1]]
    assert box_around(lines[0]) == [8, 20, 22, 20]
    assert box_around(lines[1]) == [6, 7, 2, 2]
    for name in ("bag", "ball"):
        write_frames(tmp_path / name / "color", range(1, 5))
        (tmp_path / name / "groundtruth.txt").write_text("\n".join([*lines, "1"]), encoding="utf-8")
    (tmp_path / "list.txt").write_text("ball\nbag\n", encoding="utf-8")
    (tmp_path / "bag" / "occlusion.tag").write_text("0\n1\n0\n0\n", encoding="utf-8")
    dataset = open_dataset(tmp_path)
    assert (dataset.format, [s.name for s in dataset.sequences]) == ("vot", ["ball", "bag"])
    assert np.isnan(dataset.sequences[0].truth[3]).all()
    assert dataset.sequences[1].attributes == ("OCC",)


def test_davis_masks_become_boxes_and_objects_sequences(tmp_path: Path) -> None:
    image_module = pytest.importorskip("PIL.Image")
    palette = [0, 0, 0, 128, 0, 0, 0, 128, 0] + [7] * 759
    for name, years in (("two", "2017"), ("one", "2016")):
        write_frames(tmp_path / "JPEGImages" / "480p" / name, range(3), digits=5)
        for index in range(3):
            mask = np.zeros((HEIGHT, WIDTH), np.uint8)
            if name == "two":
                mask[10:20, 5:9] = 1
                mask[0, 0] = 255  # void
                if index > 0:  # the second object enters later
                    mask[30:33, 40:60] = 2
            elif index != 1:
                mask[4:6, 7:8] = 255
            path = tmp_path / "Annotations" / "480p" / name / f"{index:05d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image = image_module.fromarray(mask)
            image.putpalette(palette)
            image.save(path)
        (tmp_path / "ImageSets" / years).mkdir(parents=True)
    (tmp_path / "ImageSets" / "2017" / "val.txt").write_text("two\none\n", encoding="utf-8")
    by_name = {s.name: s for s in open_dataset(tmp_path).sequences}
    assert list(by_name) == ["two-1", "two-2", "one"]
    assert by_name["two-1"].truth.tolist() == [[5, 10, 4, 10]] * 3
    assert by_name["two-2"].truth.tolist() == [[40, 30, 20, 3]] * 2
    assert by_name["two-2"].frames[0].name == "00001.jpg"
    assert by_name["one"].truth[0].tolist() == [7, 4, 1, 2]
    assert np.isnan(by_name["one"].truth[1]).all()


def test_plain_folder_is_one_sequence_or_several(tmp_path: Path) -> None:
    plain(tmp_path, {"a": 3, "b": 4})
    assert [s.name for s in open_dataset(tmp_path).sequences] == ["a", "b"]
    single = open_dataset(tmp_path / "b")
    assert (single.format, [s.name for s in single.sequences], len(single.sequences[0].frames)) == ("folder", ["b"], 4)
    frame = single.sequences[0].read(2)
    assert (frame.shape, str(frame.dtype)) == ((HEIGHT, WIDTH, 3), "uint8")
    assert abs(float(frame.mean()) - 3) < 2


def test_a_wrong_layout_says_what_was_expected_and_found(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    with pytest.raises(DatasetError, match=r"Found: videos/\. Expected one of:\n  got10k .*list\.txt") as caught:
        open_dataset(tmp_path)
    assert all(name in str(caught.value) for name in FORMATS)
    with pytest.raises(
        DatasetError, match=r"not laid out as LaSOT\. Expected: .*full_occlusion\.txt.* Found: videos/\."
    ):
        open_dataset(tmp_path, "lasot")
    with pytest.raises(DatasetError, match="no dataset format 'otb50'"):
        open_dataset(tmp_path, "otb50")
    with pytest.raises(DatasetError, match="there is no folder"):
        open_dataset(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "img" / "00000002.jpg").unlink(), "has 3 images for 4 boxes"),
        (lambda f: (f / "groundtruth.txt").write_text("1,2,3,4\n1,2,three,4\n"), "line 2 of .* is no box"),
        (lambda f: (f / "groundtruth.txt").write_text(""), "is empty"),
        (lambda f: write_rows(f / "groundtruth.txt", [[1, 1, 0, 0]] * 4), "no target in its first frame"),
    ],
)
def test_damaged_annotations_are_named(tmp_path: Path, spoil: Callable[[Path], object], message: str) -> None:
    plain(tmp_path, {"a": 4})
    spoil(tmp_path / "a")
    with pytest.raises(DatasetError, match=message):
        open_dataset(tmp_path)


def test_an_undecodable_frame_is_named(tmp_path: Path) -> None:
    plain(tmp_path, {"a": 2})
    (tmp_path / "a" / "img" / "00000002.jpg").write_bytes(b"no image")
    with pytest.raises(DatasetError, match=r"00000002\.jpg cannot be read"):
        open_dataset(tmp_path).sequences[0].read(1)


def test_a_split_is_checked(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="LaSOT has no split 'val': choose one of test, train, all"):
        open_dataset(lasot(tmp_path, {"cat-1": 3}), split="val")


def test_attributes_that_follow_from_boxes() -> None:
    still = np.tile([10.0, 10, 50, 40], (5, 1))
    assert derive(still) == ()
    grown, flat, jump, small = still.copy(), still.copy(), still.copy(), still.copy()
    grown[3] = [10, 10, 80, 64]
    flat[2] = [10, 10, 80, 25]
    jump[4:, 0] += 45
    small[:] = [10, 10, 30, 33]
    absent = jump.copy()
    absent[3] = np.nan  # nothing is known about the motion across an absence
    assert [derive(t) for t in (grown, flat, jump, small, absent)] == [("SV",), ("ARC",), ("FM",), ("LR",), ()]


def test_frames_are_bgr(tmp_path: Path) -> None:
    plain(tmp_path, {"a": 1})
    path = tmp_path / "a" / "img" / "00000001.jpg"
    assert cv2.imwrite(str(path.with_suffix(".png")), np.full((HEIGHT, WIDTH, 3), (255, 0, 0), np.uint8))
    path.unlink()
    assert open_dataset(tmp_path / "a").sequences[0].read(0)[0, 0].tolist() == [255, 0, 0]
