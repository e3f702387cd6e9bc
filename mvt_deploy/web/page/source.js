// @ts-check
/** Where pictures come from: the camera, a video file, or the sample clip. */

import { readVerified } from "./bundle.js";

/** @typedef {import("./bundle.js").Clip} Clip */

/** A source cannot be opened, or went away; the message says what to do. */
export class SourceError extends Error {}

/**
 * A picture that can be drawn, and where it stands in the source.
 * @typedef {object} Picture
 * @property {CanvasImageSource} image
 * @property {number} width in pixels
 * @property {number} height in pixels
 * @property {number} index of the frame, from 0
 * @property {number} time in seconds from the start
 */

/**
 * @typedef {object} Listener
 * @property {(picture: Picture, skipped: number) => Promise<void>} onPicture a new frame, and how many the browser
 *   skipped before it; a source that can wait does so for the promise
 * @property {(problem: string) => void} onEnd the source has ended; `problem` is empty where that was to be expected
 */

/**
 * @typedef {object} Source
 * @property {string} name for people, and for the names of result files
 * @property {"camera" | "file" | "clip"} kind
 * @property {boolean} paused
 * @property {() => Promise<void>} play
 * @property {() => void} pause
 * @property {() => void} close
 */

/** What is asked of a camera, as `getUserMedia` takes it. @typedef {MediaTrackConstraints} Camera */

/** How long the first picture of a file is waited for, in milliseconds. */
const LONGEST_WAIT_MS = 1000;

/** The rear camera, if there is a choice. @type {Camera} */
export const REAR_CAMERA = { facingMode: { ideal: "environment" } };

/**
 * Opens a camera.
 * @param {HTMLVideoElement} video where it plays
 * @param {Camera[]} wanted the first of them that there is
 * @param {Listener} listener
 * @returns {Promise<Source>}
 */
export async function openCamera(video, wanted, listener) {
  if (!navigator.mediaDevices) {
    throw new SourceError("The camera can only be used on a secure page: open this page with https.");
  }
  const stream = await firstStream(wanted);
  const [track] = stream.getVideoTracks();
  track.addEventListener("ended", () => listener.onEnd("The camera went away: connect it and choose it again."));
  video.removeAttribute("src");
  video.srcObject = stream;
  const source = new VideoSource(video, "camera", "camera", listener);
  source.onClose = () => {
    for (const each of stream.getTracks()) each.stop();
    video.srcObject = null;
  };
  await source.play();
  return source;
}

/** @param {Camera[]} wanted @returns {Promise<MediaStream>} of the first of them that there is */
async function firstStream([first, ...others]) {
  try {
    return await navigator.mediaDevices.getUserMedia({
      audio: false,
      video: { ...first, width: { ideal: 1280 }, height: { ideal: 720 } },
    });
  } catch (error) {
    if (others.length > 0 && error instanceof Error && error.name === "OverconstrainedError") return firstStream(others);
    throw new SourceError(cameraProblem(error));
  }
}

/** @param {unknown} error of `getUserMedia` */
function cameraProblem(error) {
  const name = error instanceof Error ? error.name : "";
  switch (name) {
    case "NotAllowedError":
    case "SecurityError":
      return "The camera is blocked: allow it for this page in the browser's settings, or choose a video file.";
    case "NotFoundError":
    case "OverconstrainedError":
      return "There is no camera here: choose a video file, or the sample clip.";
    case "NotReadableError":
    case "AbortError":
      return "The camera is in use by another program: close that program and try again.";
    default:
      return `The camera cannot be opened (${name || error}): choose a video file, or the sample clip.`;
  }
}

/** All cameras. */
async function cameras() {
  const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  return devices.filter((device) => device.kind === "videoinput");
}

/** Whether there is more than one camera to switch between. */
export async function severalCameras() {
  return (await cameras()).length > 1;
}

/**
 * What to ask for to get another camera than the one that plays: the one that looks the other way, as on a phone, or
 * the next one where cameras do not say which way they look.
 * @param {HTMLVideoElement} video where it plays
 * @returns {Promise<Camera[]>}
 */
export async function otherCameras(video) {
  const { facingMode, deviceId } = /** @type {MediaStream} */ (video.srcObject).getVideoTracks()[0].getSettings();
  const ids = (await cameras()).map((device) => device.deviceId);
  const next = { deviceId: { exact: ids[(ids.indexOf(deviceId ?? "") + 1) % ids.length] } };
  if (facingMode === undefined) return [next];
  return [{ facingMode: { exact: facingMode === "user" ? "environment" : "user" } }, next];
}

/**
 * Opens a video file and shows its first frame, paused.
 * @param {HTMLVideoElement} video where it plays
 * @param {File} file
 * @param {Listener} listener
 * @returns {Promise<Source>}
 */
export async function openFile(video, file, listener) {
  const url = URL.createObjectURL(file);
  const unreadable = `'${file.name}' cannot be played by this browser: choose another file, MP4 or WebM.`;
  const source = new VideoSource(video, "file", file.name, listener);
  source.onClose = () => {
    video.removeAttribute("src");
    video.load();
    URL.revokeObjectURL(url);
  };
  try {
    await new Promise((resolve, reject) => {
      video.onloadeddata = resolve;
      video.onerror = () => reject(new SourceError(unreadable));
      video.srcObject = null;
      video.src = url;
      video.load();
    });
    if (video.videoWidth === 0) throw new SourceError(unreadable); // sound only
    await presented(video);
  } catch (error) {
    source.close();
    throw error;
  }
  video.onerror = () => listener.onEnd(`'${file.name}' is damaged from here on: what was tracked so far is kept.`);
  video.onended = () => listener.onEnd("");
  await listener.onPicture(source.picture(0, 0), 0);
  return source;
}

/**
 * Waits until a paused video shows its picture: before that, a browser may draw black in its place.
 * @param {HTMLVideoElement} video whose data for the current picture is there
 */
async function presented(video) {
  await new Promise((resolve) => {
    if ("requestVideoFrameCallback" in video) video.requestVideoFrameCallback(resolve);
    setTimeout(resolve, LONGEST_WAIT_MS); // without that callback, and in a tab in the background
  });
}

/** What a `<video>` element plays. @implements {Source} */
class VideoSource {
  /**
   * @param {HTMLVideoElement} video
   * @param {"camera" | "file"} kind
   * @param {string} name
   * @param {Listener} listener
   */
  constructor(video, kind, name, listener) {
    this.video = video;
    this.kind = kind;
    this.name = name;
    this.listener = listener;
    this.onClose = () => {};
    this.closed = false;
    this.paused = true;
    this.waiting = false;
    this.index = kind === "file" ? 0 : -1; // a file's first frame was handed over when it was opened
    this.shown = -1; // frames that the browser has shown, as it counts them
    this.began = -1;
    this.slow = true; // frames take longer than they last
    this.held = false; // the file stands still until its frame is done
    this.interval = Infinity; // shortest distance of two frames in seconds, as far as seen
    this.last = kind === "file" ? 0 : -1; // time of the last frame in seconds
  }

  async play() {
    if (!this.paused) return;
    this.paused = false;
    this.next();
    try {
      await this.video.play();
    } catch (error) {
      if (!this.closed && !(error instanceof DOMException && error.name === "AbortError")) {
        throw new SourceError(`The video cannot be played: ${error instanceof Error ? error.message : error}`);
      }
    }
  }

  pause() {
    this.paused = true;
    this.video.pause();
  }

  close() {
    this.closed = true;
    this.pause();
    this.video.onended = this.video.onerror = this.video.onloadeddata = null;
    this.onClose();
  }

  /** Waits for the next frame. */
  next() {
    if (this.closed || this.paused || this.waiting) return;
    this.waiting = true;
    if ("requestVideoFrameCallback" in this.video) {
      this.video.requestVideoFrameCallback((now, about) => this.arrived(about.presentedFrames, about.mediaTime, now));
    } else {
      requestAnimationFrame((now) => {
        const { currentTime, readyState } = /** @type {HTMLVideoElement} */ (this.video);
        if (currentTime !== this.last && readyState >= 2) this.arrived(this.shown + 1, currentTime, now);
        else {
          this.waiting = false;
          this.next();
        }
      });
    }
  }

  /**
   * @param {number} shown frames that were shown so far
   * @param {number} mediaTime in seconds
   * @param {number} now in milliseconds
   */
  arrived(shown, mediaTime, now) {
    this.waiting = false;
    if (this.closed || this.paused) return;
    if (this.kind === "camera") {
      if (this.began < 0) this.began = now;
      const skipped = this.shown < 0 ? 0 : Math.max(0, shown - this.shown - 1);
      this.shown = shown;
      this.index += 1 + skipped;
      this.listener.onPicture(this.picture(this.index, (now - this.began) / 1000), skipped);
    } else if (!this.held && mediaTime > this.last) {
      this.interval = Math.min(this.interval, mediaTime - this.last);
      const frames = Math.max(1, Math.round((mediaTime - this.last) / this.interval));
      this.index += frames;
      this.last = mediaTime;
      this.hand(this.picture(this.index, mediaTime), frames - 1);
    }
    this.next();
  }

  /**
   * Hands a file's frame over. The file is held meanwhile if frames take longer than they last, so that hardly any is
   * left out.
   * @param {Picture} picture
   * @param {number} skipped
   */
  async hand(picture, skipped) {
    this.held = this.slow;
    if (this.held) this.video.pause();
    const began = performance.now();
    await this.listener.onPicture(picture, skipped);
    this.slow = performance.now() - began > 700 * this.interval;
    if (!this.held) return;
    this.held = false;
    if (this.paused || this.closed || this.video.ended) return;
    const next = this.last + this.interval;
    if (this.video.currentTime > next + 0.5 * this.interval) this.video.currentTime = next; // it was held too late
    await this.video.play().catch(() => {}); // a pause may cut in
  }

  /**
   * @param {number} index
   * @param {number} time in seconds
   * @returns {Picture}
   */
  picture(index, time) {
    return { image: this.video, width: this.video.videoWidth, height: this.video.videoHeight, index, time };
  }
}

/**
 * Opens the sample clip and shows its first picture, paused.
 * @param {URL} root of the site
 * @param {Clip} clip
 * @param {Listener} listener
 * @returns {Promise<Source>}
 */
export async function openClip(root, clip, listener) {
  const data = await readVerified(root, clip.pictures);
  /** @type {Blob[]} */
  const pictures = [];
  let at = 0;
  for (const length of clip.lengths) {
    pictures.push(new Blob([data.subarray(at, at + length)], { type: "image/jpeg" }));
    at += length;
  }
  const source = new ClipSource(pictures, clip.fps, listener);
  await source.show();
  return source;
}

/** Pictures in memory, every one of which is shown, however long the listener takes. @implements {Source} */
class ClipSource {
  /**
   * @param {Blob[]} pictures
   * @param {number} fps at most
   * @param {Listener} listener
   */
  constructor(pictures, fps, listener) {
    this.pictures = pictures;
    this.fps = fps;
    this.listener = listener;
    /** @type {"clip"} */
    this.kind = "clip";
    this.name = "sample";
    this.paused = true;
    this.closed = false;
    this.index = 0;
    this.running = Promise.resolve();
  }

  async play() {
    if (!this.paused) return;
    this.paused = false;
    this.running = this.running.then(() => this.run());
  }

  pause() {
    this.paused = true;
  }

  close() {
    this.closed = this.paused = true;
  }

  async run() {
    while (!this.paused && this.index + 1 < this.pictures.length) {
      const began = performance.now();
      this.index += 1;
      await this.show();
      const left = 1000 / this.fps - (performance.now() - began);
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, left)));
    }
    if (this.paused || this.closed) return;
    this.paused = true;
    this.listener.onEnd("");
  }

  /** Hands the picture at the index to the listener, and waits for it. */
  async show() {
    const image = await createImageBitmap(this.pictures[this.index]);
    const { width, height } = image;
    if (this.closed) return;
    await this.listener.onPicture({ image, width, height, index: this.index, time: this.index / this.fps }, 0);
    image.close();
  }
}
