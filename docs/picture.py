"""Make the moving picture at the top of the README: a rendered street, tracked by the default checkpoint.

    python docs/picture.py [--model BUNDLE] [-o docs/assets/track.webp]

The car passes behind a tree and a hedge. The boxes, scores and states are the tracker's, drawn as ``mvt-deploy track``
draws them. The scene is a kind one: where a house with windows stood behind the hedge, the default checkpoint took it
for the car.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

import mvt_deploy as mvt
from mvt_deploy.geometry import BGRImage, Box
from mvt_deploy.video.overlay import draw

WIDTH, HEIGHT, FPS, SECONDS = 960, 432, 30, 7.0
EVERY = 2  # frames of the clip per frame of the picture
SHOWN = (720, 324)  # pixels of the picture
FINE = 2  # everything is drawn this many times larger, then reduced, for smooth edges
ROAD = 352  # y of the wheels

Colour = tuple[int, int, int]


class Layer:
    """A strip of the world that moves with its own share of the camera's pan: BGR with an opacity."""

    def __init__(self, width: int, share: float) -> None:
        self.share = share
        self.image = np.zeros((HEIGHT * FINE, width * FINE, 3), np.uint8)
        self.alpha = np.zeros((HEIGHT * FINE, width * FINE), np.uint8)

    def polygon(self, points: list[tuple[float, float]], colour: Colour) -> None:
        """A filled polygon, its corners in pixels of the world."""
        corners = np.round(np.array(points) * FINE).astype(np.int32)
        cv2.fillPoly(self.image, [corners], colour, cv2.LINE_AA)
        cv2.fillPoly(self.alpha, [corners], 255, cv2.LINE_AA)

    def box(self, x: float, y: float, w: float, h: float, colour: Colour) -> None:
        """A filled rectangle."""
        self.polygon([(x, y), (x + w, y), (x + w, y + h), (x, y + h)], colour)

    def disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """A filled circle."""
        centre = (round(x * FINE), round(y * FINE))
        cv2.circle(self.image, centre, round(radius * FINE), colour, cv2.FILLED, cv2.LINE_AA)
        cv2.circle(self.alpha, centre, round(radius * FINE), 255, cv2.FILLED, cv2.LINE_AA)

    def put(self, canvas: BGRImage, camera: float) -> None:
        """Draw what the camera sees of the layer onto a canvas, in place."""
        left = round(camera * self.share * FINE)
        part = self.image[:, left : left + canvas.shape[1]]
        opacity = self.alpha[:, left : left + canvas.shape[1], None].astype(np.uint16)
        canvas[:] = ((part * opacity + canvas * (255 - opacity)) // 255).astype(np.uint8)


def _sky() -> BGRImage:
    rows = np.linspace(0, 1, HEIGHT * FINE)[:, None, None]
    colours = (1 - rows) * np.array([226, 190, 150]) + rows * np.array([236, 226, 214])
    return np.asarray(np.broadcast_to(colours, (HEIGHT * FINE, WIDTH * FINE, 3)), np.uint8).copy()


def _hills(random: np.random.Generator, base: float, height: float, colour: Colour, share: float) -> Layer:
    layer = Layer(2200, share)
    xs = np.arange(0, 2201, 10)
    phase = random.uniform(0, 6, 3)
    tops = base - height * (
        0.5 + 0.3 * np.sin(xs / 210 + phase[0]) + 0.2 * np.sin(xs / 83 + phase[1]) + 0.05 * np.sin(xs / 31 + phase[2])
    )
    layer.polygon([(0, HEIGHT), *zip(xs.tolist(), tops.tolist(), strict=True), (2200, HEIGHT)], colour)
    return layer


def _village(random: np.random.Generator) -> Layer:
    """Houses in the haze behind a meadow."""
    layer = Layer(2200, 0.5)
    layer.box(0, 262, 2200, 60, (136, 178, 150))
    walls: list[Colour] = [(188, 204, 216), (196, 204, 200), (204, 196, 190)]
    x = 40.0
    while x < 2200:
        for number in range(int(random.integers(1, 4))):
            w, h = float(random.uniform(34, 58)), float(random.uniform(22, 34))
            layer.box(x, 266 - h, w, h, walls[number % len(walls)])
            layer.polygon([(x - 3, 266 - h), (x + w / 2, 252 - h), (x + w + 3, 266 - h)], (150, 156, 178))
            x += w + 8
        for _ in range(14):
            shade = int(random.integers(-8, 9))
            layer.disc(x + float(random.uniform(10, 110)), 262 - float(random.uniform(0, 16)),
                       float(random.uniform(9, 17)), (122 + shade, 160 + shade, 128 + shade))  # fmt: skip
        x += float(random.uniform(150, 260))
    return layer


def _street(random: np.random.Generator) -> Layer:
    """The meadow behind the road, the pavement and the road itself."""
    layer = Layer(2600, 1.0)
    layer.box(0, 284, 2600, 20, (104, 160, 122))
    layer.box(0, 300, 2600, 16, (178, 184, 188))
    layer.box(0, 316, 2600, 90, (112, 108, 106))
    for left in range(0, 2600, 90):
        layer.box(left, 374, 48, 5, (214, 224, 228))
    layer.box(0, 402, 2600, 30, (160, 166, 170))
    noise = random.normal(0, 3.0, layer.image.shape[:2])[..., None]
    layer.image = np.clip(layer.image + noise, 0, 255).astype(np.uint8)
    return layer


def _front(random: np.random.Generator) -> Layer:
    """What passes before the camera: trees on the near pavement, and a hedge."""
    layer = Layer(3000, 1.0)
    for x in (690, 1840, 2160):
        layer.box(x - 7, 180, 14, 240, (60, 78, 100))
        for _ in range(60):
            angle, far = random.uniform(0, 2 * math.pi), 62 * math.sqrt(random.uniform(0, 1))
            shade = int(random.integers(-14, 15))
            green: Colour = (66 + shade, 128 + shade, 84 + shade)
            place = (x + far * math.cos(angle), 150 + 0.8 * far * math.sin(angle))
            layer.disc(*place, float(random.uniform(14, 26)), green)
    for _ in range(1500):  # a hedge, higher than the car
        x, y = random.uniform(1140, 1350), random.uniform(258, 432)
        shade = int(random.integers(-7, 8))
        leaf: Colour = (52 + shade, 104 + shade, 62 + shade)
        layer.disc(float(x), float(y), float(random.uniform(8, 15)), leaf)
    return layer


def _car(scale: float, turn: float) -> tuple[BGRImage, npt.NDArray[np.uint8]]:
    """A car with its opacity, facing right; ``turn`` is the wheels' angle."""
    layer = Layer(190, 1.0)
    red: Colour = (44, 52, 206)
    layer.polygon([(8, 92), (10, 66), (42, 58), (66, 30), (122, 28), (148, 58), (178, 66), (182, 92)], red)
    layer.polygon([(8, 92), (9, 78), (181, 78), (182, 92)], (34, 40, 170))
    layer.polygon([(52, 58), (72, 36), (92, 35), (92, 58)], (216, 206, 190))
    layer.polygon([(99, 58), (99, 35), (119, 35), (138, 58)], (216, 206, 190))
    layer.box(174, 68, 8, 9, (150, 230, 250))
    layer.box(8, 68, 6, 10, (40, 30, 120))
    layer.box(84, 64, 14, 3, (30, 34, 140))
    for x in (44, 146):
        layer.disc(x, 92, 19, (38, 36, 36))
        layer.disc(x, 92, 11, (196, 196, 196))
        for spoke in range(5):
            angle = turn + spoke * 2 * math.pi / 5
            layer.polygon(
                [(x, 92), (x + 11 * math.cos(angle), 92 + 11 * math.sin(angle)),
                 (x + 11 * math.cos(angle + 0.4), 92 + 11 * math.sin(angle + 0.4))], (90, 90, 90)
            )  # fmt: skip
    size = (round(190 * FINE * scale), round(115 * FINE * scale))
    cut = slice(0, 115 * FINE)
    image = cv2.resize(layer.image[cut], size, interpolation=cv2.INTER_AREA)
    alpha = cv2.resize(layer.alpha[cut], size, interpolation=cv2.INTER_AREA)
    return np.asarray(image, np.uint8), np.asarray(alpha, np.uint8)


def frames(seed: int = 3) -> Iterator[tuple[BGRImage, Box]]:
    """Frames BGR uint8 ``[432, 960, 3]`` and the box of the whole car in each, in pixels."""
    random = np.random.default_rng(seed)
    far = _hills(random, 300, 150, (196, 178, 160), 0.15)
    near = _hills(random, 310, 90, (164, 172, 140), 0.35)
    village, street, front, sky = _village(random), _street(random), _front(random), _sky()
    count = round(SECONDS * FPS)
    for i in range(count):
        t = i / FPS
        x = 420 + 205 * t + 20 * math.sin(1.3 * t)  # of the car's middle
        camera = min(max(0.0, 0.93 * (x - 330)), 1700.0)
        canvas = sky.copy()
        for layer in (far, near, village, street):
            layer.put(canvas, camera)
        image, alpha = _car(0.92, x / 17)
        left, top = round((x - camera) * FINE) - image.shape[1] // 2, round(ROAD * FINE) - round(104 * FINE * 0.92)
        top += round(1.2 * FINE * math.sin(9 * t))
        x1, x2 = max(0, left), min(canvas.shape[1], left + image.shape[1])
        if x2 > x1:
            part = canvas[top : top + image.shape[0], x1:x2]
            opacity = alpha[:, x1 - left : x2 - left, None].astype(np.uint16)
            part[:] = ((image[:, x1 - left : x2 - left] * opacity + part * (255 - opacity)) // 255).astype(np.uint8)
        front.put(canvas, camera)
        frame = np.asarray(cv2.resize(canvas, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA), np.uint8)
        s = 0.92
        yield frame, Box(left / FINE + 8 * s, top / FINE + 28 * s, 174 * s, 83 * s)


def tracked(model: Path | None) -> Iterator[BGRImage]:
    """The frames with what the tracker says drawn onto them."""
    tracker = mvt.Tracker(mvt.load(model))
    for number, (frame, box) in enumerate(frames()):
        if number == 0:
            tracker.init(frame, box)
            tracks = [mvt.Track(box, 1.0)]
        else:
            tracks = tracker.update_all(frame)
        if number % EVERY == 0:
            yield draw(frame.copy(), tracks)


def main() -> None:
    """Read the arguments, and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="a bundle; default: the default one")
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/assets/track.webp"))
    given = parser.parse_args()
    pictures = [
        Image.fromarray(cv2.cvtColor(cv2.resize(f, SHOWN, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB))
        for f in tracked(given.model)
    ]
    duration = round(1000 * EVERY / FPS)
    first, *rest = pictures
    first.save(given.output, save_all=True, append_images=rest, duration=duration, loop=0, quality=70, method=4)
    print(f"{given.output}: {len(pictures)} frames, {given.output.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
