"""Pairs: the target is where the box says it is, whatever happened to the picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from training_data import make_data, make_photographs, make_sequence, make_tracks

from mvt_deploy.errors import TrainingError
from mvt_deploy.geometry import Box, crop, crop_window
from mvt_deploy.training import TrainConfig, discover
from mvt_deploy.training.augment import change_appearance, recolour
from mvt_deploy.training.config import Augment, Mix, Windows
from mvt_deploy.training.images import Cache
from mvt_deploy.training.photographs import Photograph, cutouts
from mvt_deploy.training.sampler import PairDataset, batches
from mvt_deploy.training.stills import PastePairs, ScenePairs, Stills
from mvt_deploy.training.track_pairs import TrackPairs, two_frames
from mvt_deploy.training.tracks import AnnotatedFrame, AnnotatedTrack
from mvt_deploy.training.views import Pair, Window, ellipse, extent, linear_map, render, search_window


def red_box(image: np.ndarray, near: Any = (0.5, 0.5)) -> np.ndarray:
    """``cx, cy, w, h`` in fractions of the red patch of a BGR crop that is nearest to a point."""
    blue, green, red = (image[..., i].astype(int) for i in range(3))
    found = np.asarray((red > 120) & (green < 70) & (blue < 70), np.uint8)
    stats = cv2.connectedComponentsWithStats(found)[2][1:, :4].astype(float) / image.shape[0]
    boxes = np.concatenate([stats[:, :2] + stats[:, 2:] / 2, stats[:, 2:]], axis=1)
    return boxes[np.hypot(*(boxes[:, :2] - near).T).argmin()] if len(boxes) else np.zeros(4)


@pytest.fixture
def red_photograph(tmp_path: Path) -> Photograph:
    """A red ellipse on grey, with its mask."""
    image, mask = np.full((200, 240, 3), 128, np.uint8), np.zeros((200, 240), np.uint8)
    cv2.ellipse(image, (110, 95), (36, 22), 20, 0, 360, (10, 10, 230), -1)
    cv2.ellipse(mask, (110, 95), (36, 22), 20, 0, 360, 1, -1)
    cv2.imwrite(str(tmp_path / "red.png"), image)
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    return Photograph(tmp_path / "red.png", tmp_path / "mask.png")


def test_render_agrees_with_the_trackers_crop() -> None:
    rng = np.random.default_rng(0)
    frame: Any = cv2.resize(
        rng.integers(0, 255, (30, 40, 3), dtype=np.uint8), (320, 240), interpolation=cv2.INTER_CUBIC
    )
    box = Box(100, 80, 50, 50)
    wanted = crop(frame, crop_window(box, 4.0), 256)
    window = Window(np.array([125.0, 105.0]), 200.0)
    ours = render(frame, np.eye(2), np.zeros(2), window, 256, cv2.BORDER_CONSTANT)
    assert np.abs(ours.astype(int) - wanted).mean() < 1.5  # OpenCV places warped pixels to 1/32; half a pixel is 5


def test_extent_of_a_mapped_ellipse() -> None:
    outline = ellipse(np.array([10.0, 20.0, 40.0, 10.0]))
    np.testing.assert_allclose(extent(outline), [10, 20, 40, 10], atol=1e-9)
    np.testing.assert_allclose(extent(outline @ linear_map(0, -2, 0.5).T), [-100, 10, 80, 5], atol=1e-9)


def test_search_windows_keep_the_centre_inside_and_spread_it() -> None:
    rng = np.random.default_rng(0)
    box = np.array([100.0, 50.0, 30.0, 60.0])
    drawn = [search_window(rng, box, Windows()).fractions(box) for _ in range(500)]
    centres, sides = np.array(drawn)[:, :2], np.sqrt(np.prod(np.array(drawn)[:, 2:], axis=1))
    assert centres.min() >= 0.0199
    assert centres.max() <= 0.9801
    assert centres.std() == pytest.approx(3 / 4 / np.sqrt(12), rel=0.1)  # uniform over centre_jitter / search_factor
    assert np.median(sides) == pytest.approx(0.25, rel=0.05)
    assert np.log(sides).std() == pytest.approx(0.25, rel=0.1)


@pytest.mark.parametrize("kind", ["scene", "paste"])
def test_the_box_of_a_still_is_around_the_object(kind: str, red_photograph: Photograph) -> None:
    class OnGrey(Stills):
        def picture(self, rng: np.random.Generator) -> np.ndarray:
            return np.full((200, 200, 3), 128, np.uint8)

    stills = OnGrey([red_photograph], Cache(10**8))
    source = ScenePairs(stills, Windows()) if kind == "scene" else PastePairs(stills, Windows())
    errors = []
    for seed in range(80):
        pair = source.draw(np.random.default_rng(seed))
        if pair is None:
            continue
        assert pair.template.shape == (128, 128, 3)
        assert pair.search.shape == (256, 256, 3)
        found, box = red_box(pair.search, pair.box[:2]), pair.box
        inside = (box[:2] - box[2:] / 2 > 0.01).all() and (box[:2] + box[2:] / 2 < 0.99).all()
        if inside and found[2] > 0:
            errors.append(np.abs(found - box).max())
    assert len(errors) > 15
    # Occlusion, touching look-alikes and rectangles that are not the object spoil some pairs; all others are right.
    assert np.mean(np.array(errors) < 2.5 / 256) > 0.5


def coloured_track(folder: Path, name: str, colour: tuple[int, int, int]) -> AnnotatedTrack:
    """Four frames of a coloured rectangle that moves over grey."""
    frames = []
    for i in range(4):
        image = np.full((300, 300, 3), 128, np.uint8)
        cv2.rectangle(image, (120 + 10 * i, 130), (169 + 10 * i, 169), colour, -1)
        file = folder / f"{name}{i}.png"
        cv2.imwrite(str(file), image)
        frames.append(AnnotatedFrame(file, i, (120 + 10 * i, 130, 50, 40)))
    return AnnotatedTrack(name, tuple(frames))


def test_the_box_of_a_track_is_around_the_target(tmp_path: Path) -> None:
    red = coloured_track(tmp_path, "red", (10, 10, 230))
    source = TrackPairs([red], Windows(centre_jitter=1.0), Cache(10**8))
    for seed in range(20):
        pair = source.draw(np.random.default_rng(seed))
        assert pair is not None
        error = np.abs(red_box(pair.search, pair.box[:2]) - pair.box)
        assert error[:2].max() < 1.5 / 256
        assert error[2:].max() < 0.04  # a turn of up to 0.1 rad, and the box is that of the inscribed ellipse
        assert red_box(pair.template)[:2] == pytest.approx([0.5, 0.5], abs=0.02)
        assert np.sqrt(np.prod(red_box(pair.template)[2:])) == pytest.approx(0.5, abs=0.02)


def test_other_targets_are_pasted_beside_the_target(tmp_path: Path) -> None:
    red, blue = coloured_track(tmp_path, "red", (10, 10, 230)), coloured_track(tmp_path, "blue", (230, 10, 10))
    with_others = TrackPairs([red, blue], Windows(centre_jitter=1.0), Cache(10**8), augment=Augment(others=1.0))
    beside, in_place = 0, []
    for seed in range(60):
        pair = with_others.draw(np.random.default_rng(seed))
        assert pair is not None
        if pair.template[64, 64, 2] < 128:  # a pair of the blue track
            continue
        beside += bool((pair.search.astype(int)[..., 0] - pair.search[..., 2] > 80).any())
        in_place.append(np.abs(red_box(pair.search, pair.box[:2])[:2] - pair.box[:2]).max() < 1.5 / 256)
    assert len(in_place) > 15
    assert beside > 0.5 * len(in_place)  # the others came from the same track, or lie outside the crop
    assert np.mean(in_place) > 0.7  # the others touch the target at most


def test_part_of_a_target_is_covered(tmp_path: Path, red_photograph: Photograph) -> None:
    class White(Stills):
        def picture(self, rng: np.random.Generator) -> np.ndarray:
            return np.full((200, 200, 3), 255, np.uint8)

    red = coloured_track(tmp_path, "red", (10, 10, 230))
    stills = White([red_photograph], Cache(10**8))
    source = TrackPairs([red], Windows(centre_jitter=1.0), Cache(10**8), augment=Augment(occlude=1.0), stills=stills)
    covered = []
    for seed in range(30):
        pair = source.draw(np.random.default_rng(seed))
        assert pair is not None
        x, y, w, h = pair.box * 256
        inside = pair.search[max(0, int(y - h / 2)) : int(y + h / 2), max(0, int(x - w / 2)) : int(x + w / 2)]
        covered.append((inside.min(axis=2) > 250).mean())
        assert (pair.template.min(axis=2) > 250).mean() == 0
    assert 0.1 < np.mean(covered) < 0.7


def test_colours_change_alike_in_both_crops() -> None:
    palette = np.random.default_rng(0).integers(60, 190, (16, 3), dtype=np.uint8)
    template, search = palette.reshape(4, 4, 3), palette[::-1].reshape(4, 4, 3)
    grey = np.full((4, 4, 3), 90, np.uint8)
    box = np.array([0.5, 0.5, 0.2, 0.2], np.float32)
    turned = 0
    for seed in range(40):
        changed = recolour(np.random.default_rng(seed), Pair(template, search, box))
        np.testing.assert_array_equal(changed.template.reshape(16, 3), changed.search.reshape(16, 3)[::-1])
        np.testing.assert_array_equal(changed.box, box)
        turned += np.abs(changed.template.astype(int) - template).mean() > 10
        same = recolour(np.random.default_rng(seed), Pair(grey, grey, box)).search
        assert np.ptp(same) <= 1  # grey stays grey: as it was, or inverted
        assert int(same[0, 0, 0]) in (89, 90, 91, 164, 165, 166)
    assert turned > 30


def test_the_frame_gap_is_kept(tmp_path: Path) -> None:
    make_tracks(tmp_path)
    track = discover(tmp_path).tracks[0]
    rng = np.random.default_rng(0)
    gaps = {abs(a.number - b.number) for a, b in (two_frames(rng, track, frame_gap=10) for _ in range(100))}
    assert gaps == {0, 10}


def test_grabcut_finds_what_stands_out(tmp_path: Path) -> None:
    image = np.full((150, 200, 3), (200, 180, 40), np.uint8)
    image += np.random.default_rng(0).integers(0, 20, image.shape, dtype=np.uint8)
    cv2.circle(image, (100, 75), 35, (20, 30, 200), -1)
    cv2.imwrite(str(tmp_path / "a.jpg"), image)
    (cut,) = cutouts(Photograph(tmp_path / "a.jpg"), Cache(10**8))
    np.testing.assert_allclose(extent(cut.outline), [65, 40, 71, 71], atol=4)


def test_a_flat_photograph_has_no_cutout(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.jpg"), np.full((100, 100, 3), 90, np.uint8))
    assert cutouts(Photograph(tmp_path / "a.jpg"), Cache(10**8)) == []


def test_labels_are_objects_unless_they_lie_on_background(tmp_path: Path) -> None:
    full = np.ones((100, 100), np.uint8)
    full[20:60, 20:60] = 2
    full[20:60, 60:95] = 3
    parts = np.zeros((100, 100), np.uint8)
    parts[20:50, 30:70], parts[50:80, 30:70] = 4, 5
    for name, labels in (("full", full), ("parts", parts)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), labels)
    cache = Cache(10**8)
    found = cutouts(Photograph(tmp_path / "full.jpg", tmp_path / "full.png"), cache)
    assert [extent(cut.outline).round().tolist() for cut in found] == [[20, 20, 39, 39], [60, 20, 34, 39]]
    (person,) = cutouts(Photograph(tmp_path / "parts.jpg", tmp_path / "parts.png"), cache)
    assert extent(person.outline).round().tolist() == [30, 20, 39, 59]


def test_discover_finds_every_kind(tmp_path: Path) -> None:
    data = discover(make_data(tmp_path), hold_out=["oth*"])
    assert {track.name: len(track.frames) for track in data.tracks} == {"ball": 5, "GOT-10k_Train_000001": 4}
    assert [track.name for track in data.held_back] == ["other"]
    assert data.held_back[0].recentred
    assert [frame.number for frame in data.tracks[-1].frames] == [0, 10, 20, 30, 40]
    assert len(data.photographs) == 3
    assert all(photograph.mask for photograph in data.photographs)


def test_absent_frames_are_left_out(tmp_path: Path) -> None:
    make_sequence(tmp_path / "a", absent=(1, 3))
    assert [frame.number for frame in discover(tmp_path).tracks[0].frames] == [0, 2]


def test_data_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="does not exist"):
        discover(tmp_path / "none")
    with pytest.raises(TrainingError, match="nothing to train on"):
        discover(tmp_path)
    make_sequence(tmp_path / "a")
    (tmp_path / "a" / "00000002.jpg").unlink()
    with pytest.raises(TrainingError, match="3 frames and 4 boxes"):
        discover(tmp_path)


def test_a_pair_is_known_by_its_number(tmp_path: Path) -> None:
    data, config = discover(make_data(tmp_path)), TrainConfig(batch=2, workers=0)
    first, again = PairDataset(data, config), PairDataset(data, config)
    for number in (7, 3, 7):
        for a, b in zip(first[number], again[number], strict=True):
            np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[3].search, first[7].search)
    stream = batches(data, config, start=6)
    batch = next(stream)
    assert batch.template.shape == (2, 128, 128, 3)
    np.testing.assert_array_equal(batch.search[1].numpy(), first[7].search)
    np.testing.assert_array_equal(batch.box[1].numpy(), first[7].box)
    assert batch.features == ()


def one_frame_tracks(folder: Path, names: list[str]) -> list[AnnotatedTrack]:
    """Tracks of one flat frame each; track ``i`` has the grey value ``10 * i``."""
    tracks = []
    for i, name in enumerate(names):
        cv2.imwrite(str(folder / f"{name}.png"), np.full((120, 120, 3), 10 * i, np.uint8))
        tracks.append(AnnotatedTrack(name, (AnnotatedFrame(folder / f"{name}.png", 0, (40.0, 40.0, 40.0, 40.0)),)))
    return tracks


@pytest.mark.parametrize(("balance", "share"), [(0.0, 1 / 5), (1.0, 1 / 2)])
def test_balance_draws_data_sets_alike(tmp_path: Path, balance: float, share: float) -> None:
    tracks = one_frame_tracks(tmp_path, ["a_0", "b_0", "b_1", "b_2", "b_3"])
    source = TrackPairs(tracks, Windows(), Cache(10**8), balance)
    drawn = [source.draw(np.random.default_rng(seed)) for seed in range(400)]
    first = [pair is not None and pair.template[64, 64, 0] == 0 for pair in drawn]
    assert np.mean(first) == pytest.approx(share, abs=0.07)


def test_a_pair_without_its_target_has_an_empty_box(tmp_path: Path) -> None:
    data = discover(make_data(tmp_path))
    pairs = PairDataset(data, TrainConfig(workers=0, mix=Mix(absent=0.4)))
    with_target = PairDataset(data, TrainConfig(workers=0))
    empty = 0
    for number in range(60):
        example = pairs[number]
        if not example.box.any():
            empty += 1
            assert not np.array_equal(example.search, with_target[number].search)
    assert 12 < empty < 36


def test_appearance_changes_and_geometry_does_not(tmp_path: Path) -> None:
    make_photographs(tmp_path / "p")
    image: Any = cv2.imread(str(tmp_path / "p" / "0.jpg"))
    pair = Pair(image, image, np.array([0.5, 0.5, 0.1, 0.1], np.float32))
    changed = [change_appearance(np.random.default_rng(i), pair) for i in range(20)]
    assert all(c.search.shape == image.shape and c.search.dtype == np.uint8 for c in changed)
    assert np.mean([np.abs(c.search.astype(float) - image).mean() > 2 for c in changed]) > 0.8
    assert all(np.array_equal(c.box, pair.box) for c in changed)


def test_the_cache_forgets_the_oldest() -> None:
    cache, made = Cache(100), []

    def ask(key: str) -> None:
        cache.get(key, lambda: made.append(key), lambda _: 40)

    for key in "abacb":
        ask(key)
    assert made == ["a", "b", "c", "b"]
