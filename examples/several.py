"""Follow several targets in one batch, and draw them into a video.

python examples/several.py video.mp4 120,80,60,140 300,90,50,120
"""

import sys
from pathlib import Path

import cv2

import mvt_deploy as mvt
from mvt_deploy.video.overlay import draw

path = Path(sys.argv[1])
boxes = [tuple(map(float, text.split(","))) for text in sys.argv[2:]]
capture = cv2.VideoCapture(str(path))
rate = capture.get(cv2.CAP_PROP_FPS)
read, frame = capture.read()
size = frame.shape[1], frame.shape[0]
writer = cv2.VideoWriter(f"{path.stem}.targets.avi", cv2.VideoWriter.fourcc(*"MJPG"), rate, size)

tracker = mvt.Tracker(mvt.load())
tracker.init(frame, boxes)
while True:
    read, frame = capture.read()
    if not read:
        break
    tracks = tracker.update_all(frame)  # one track per box, in their order
    writer.write(draw(frame, tracks))
    print(*(f"{track.state} {track.score:.2f}" for track in tracks), sep=", ")
writer.release()
