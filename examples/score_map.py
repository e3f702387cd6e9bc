"""Look inside: the search crop of every frame with its score map laid over it, as pictures in a folder.

python examples/score_map.py video.mp4 120,80,60,140 maps
"""

import sys
from pathlib import Path

import cv2
import numpy as np

import mvt_deploy as mvt

capture, box = cv2.VideoCapture(sys.argv[1]), tuple(map(float, sys.argv[2].split(",")))
folder = Path(sys.argv[3])
folder.mkdir(exist_ok=True)
tracker = mvt.Tracker(mvt.load())
tracker.init(capture.read()[1], box)
while True:
    read, frame = capture.read()
    if not read:
        break
    (crops,) = tracker.cut(frame)  # one batch per side; here one, uint8 BGR [1, 256, 256, 3]
    result = tracker.locate(crops, score_map=True)  # score map float32 [1, 16, 16], 0 to 1
    height, width = frame.shape[:2]
    (track,) = tracker.place(result, width, height)  # in pixels of the frame
    crop, heat = crops[0], np.asarray(255 * result.score_map[0], np.uint8)
    heat = cv2.resize(heat, crop.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    picture = cv2.addWeighted(crop, 0.6, cv2.applyColorMap(heat, cv2.COLORMAP_VIRIDIS), 0.4, 0)
    number = int(capture.get(cv2.CAP_PROP_POS_FRAMES)) - 1
    cv2.imwrite(str(folder / f"{number:05d}.png"), picture)
    print(number, f"{track.score:.2f}", *track.box.rounded)
