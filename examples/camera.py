"""Follow what is in the middle of a camera's picture, and print where it is.

python examples/camera.py                             # the first camera
python examples/camera.py video.mp4 120,80,60,140     # a video, and the box of the target
"""

import sys

import cv2

import mvt_deploy as mvt

name = sys.argv[1] if len(sys.argv) > 1 else "0"
capture = cv2.VideoCapture(int(name) if name.isdigit() else name)
read, frame = capture.read()
if not read:
    sys.exit(f"no picture from '{name}'")
height, width = frame.shape[:2]
middle = (0.4 * width, 0.4 * height, 0.2 * width, 0.2 * height)
box = tuple(map(float, sys.argv[2].split(","))) if len(sys.argv) > 2 else middle

tracker = mvt.Tracker(mvt.load())
tracker.init(frame, box)
while True:
    read, frame = capture.read()
    if not read:
        break
    track = tracker.update(frame)
    print(track.state, f"{track.score:.2f}", *track.box.rounded)
