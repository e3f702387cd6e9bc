// @ts-check
/** The page: connects a source, the tracker's worker, the overlay and the results. */

import { openSite } from "./bundle.js";
import { colourOf, Overlay } from "./overlay.js";
import { RemoteTracker } from "./remote.js";
import { Results, save } from "./results.js";
import { openCamera, openClip, openFile, otherCameras, REAR_CAMERA, severalCameras } from "./source.js";
import { Statistics } from "./statistics.js";

/** @typedef {import("./auto.js").Trial} Trial */
/** @typedef {import("./bundle.js").Site} Site */
/** @typedef {import("./geometry.js").Box} Box */
/** @typedef {import("./source.js").Picture} Picture */
/** @typedef {import("./source.js").Source} Source */
/** @typedef {import("./tracker.js").Track} Track */
/** @typedef {import("./worker.js").Runtime} Runtime */

const root = new URL(".", import.meta.url);
const PLAY = "M8 5l11 7-11 7z";
const PAUSE = "M8 5v14M16 5v14";

/** @template {HTMLElement} T @param {string} id @param {new () => T} kind @returns {T} */
function element(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`The page has no ${kind.name} '${id}'.`);
  return found;
}

const page = {
  video: element("video", HTMLVideoElement),
  picture: element("picture", HTMLCanvasElement),
  overlay: element("overlay", HTMLCanvasElement),
  welcome: element("welcome", HTMLElement),
  toolbar: element("toolbar", HTMLElement),
  play: element("play", HTMLButtonElement),
  playText: element("play-text", HTMLElement),
  other: element("switch", HTMLButtonElement),
  file: element("file", HTMLInputElement),
  loading: element("loading", HTMLElement),
  progress: element("progress", HTMLProgressElement),
  progressText: element("progress-text", HTMLElement),
  status: element("status", HTMLElement),
  problem: element("problem", HTMLElement),
  spoken: element("spoken", HTMLElement),
  targets: element("targets", HTMLUListElement),
  noTargets: element("no-targets", HTMLElement),
  several: element("several", HTMLInputElement),
  runsOn: element("runs-on", HTMLElement),
  fps: element("fps", HTMLElement),
  skipped: element("skipped", HTMLElement),
  p50: element("p50", HTMLElement),
  p95: element("p95", HTMLElement),
  recorded: element("recorded", HTMLElement),
  saveJson: element("save-json", HTMLButtonElement),
  saveBoxes: element("save-boxes", HTMLElement),
  runtime: element("runtime", HTMLSelectElement),
  facts: element("facts", HTMLElement),
};

const surface = /** @type {CanvasRenderingContext2D} */ (page.picture.getContext("2d"));
/** The frame that the worker has: it is shown when its boxes are there. */
const grabbed = document.createElement("canvas");
const grabbing = /** @type {CanvasRenderingContext2D} */ (grabbed.getContext("2d"));

const results = new Results();
let statistics = new Statistics();
const remote = new RemoteTracker(showProgress, replaced);
const overlay = new Overlay(page.overlay, { onBegin: freeze, onBox: follow, onCancel: thaw, onSay: speak });

/** @type {Site | null} null until it is read */
let site = null;
/** @type {Trial[]} what was tried to run the network on */
let tried = [];
/** @type {Source | null} */
let source = null;
/** @type {Map<number, Track>} the targets that are followed, as they were last seen */
const targets = new Map();
/** @type {{ index: number, time: number }} of the picture that is shown */
let shown = { index: 0, time: 0 };
/** @type {import("./source.js").Camera[]} the camera to open, and what to take where that is gone */
let wanted = [REAR_CAMERA];
/** @type {(() => Promise<void>) | null} opens the source again, from its start */
let reopen = null;
let ready = false;
let busy = false; // the worker has a frame
let frozen = false; // a box is being drawn
let opened = 0; // sources so far: what comes late for an earlier one is dropped
let ended = false;
let resume = false; // after drawing, or when the page is seen again

// ---- Start -------------------------------------------------------------------------------------------------------

/**
 * Registers the service worker and loads the page once more if that is what it takes to get WASM threads.
 * @returns {Promise<boolean>} whether the page is about to be loaded again
 */
async function isolate() {
  if (!("serviceWorker" in navigator)) return false;
  try {
    const registration = await navigator.serviceWorker.register(new URL("service-worker.js", root));
    if (!(await activated(registration.installing ?? registration.waiting ?? registration.active))) return false;
  } catch {
    return false; // a private window, say: one thread, and no use without a network
  }
  if (globalThis.crossOriginIsolated || sessionStorage.getItem("isolated")) return false;
  sessionStorage.setItem("isolated", "tried");
  location.reload();
  return true;
}

/**
 * Whether a service worker gets to work; it does not where the device has no room for what it keeps, say.
 * @param {ServiceWorker | null} worker
 * @returns {Promise<boolean>}
 */
function activated(worker) {
  return new Promise((resolve) => {
    const look = () => {
      if (worker?.state === "activated") resolve(true);
      else if (!worker || worker.state === "redundant") resolve(false);
    };
    worker?.addEventListener("statechange", look);
    look();
  });
}

async function start() {
  page.runtime.value = new URLSearchParams(location.search).get("runtime") ?? "auto";
  if (page.runtime.selectedIndex < 0) page.runtime.value = "auto";
  if (await isolate()) return;
  try {
    site = await openSite(root);
    const { label, trials } = await remote.start(/** @type {Runtime} */ (page.runtime.value));
    page.loading.hidden = true;
    page.runsOn.textContent = label;
    tried = trials;
    showFacts();
    ready = true;
    overlay.enabled = source !== null;
    say(source ? "Ready. Draw a box around a target." : "Ready.");
    if (source?.kind === "clip") await suggest();
  } catch (error) {
    page.loading.hidden = true;
    page.runsOn.textContent = "nothing";
    complain(error);
  }
}

/**
 * The graphics processor went away, and another backend follows its targets on.
 * @param {string} label of that backend
 * @param {Trial[]} trials that it came from
 */
function replaced(label, trials) {
  const lost = page.runsOn.textContent;
  const before = tried.filter((trial) => trials.every((again) => again.label !== trial.label));
  const refused = "the graphics processor went away";
  tried = [...before.map((trial) => (trial.label === lost ? { ...trial, refused } : trial)), ...trials];
  page.runsOn.textContent = label;
  if (page.runtime.value === "webgpu") page.runtime.value = "wasm"; // so that WebGPU can be chosen again
  showFacts();
  say(`The graphics processor went away. Tracking goes on with ${label}.`);
}

function showFacts() {
  if (site === null) return;
  const trials = tried.map(({ label, milliseconds, refused }) => {
    if (refused) return `${label}: not used, ${refused}`;
    return Number.isFinite(milliseconds) ? `${label}: ${milliseconds.toFixed(0)} ms` : label;
  });
  const { name, version, runtime } = site;
  page.facts.textContent = `Model ${name}, mvt-deploy ${version}, ONNX Runtime Web ${runtime.version}. ${trials.join(". ")}.`;
}

/** @param {number} loaded @param {number} total both in bytes */
function showProgress(loaded, total) {
  const megabytes = (/** @type {number} */ bytes) => (bytes / 1e6).toFixed(1);
  page.progress.value = Math.min(1, loaded / total);
  page.progressText.textContent =
    loaded < total
      ? `Loading the tracker: ${megabytes(loaded)} of ${megabytes(total)} MB`
      : `Loaded ${megabytes(total)} MB: starting`;
}

// ---- Sources -----------------------------------------------------------------------------------------------------

/**
 * Changes the source; the one before is closed, and its targets and results are gone.
 * @param {(video: HTMLVideoElement, listener: import("./source.js").Listener) => Promise<Source>} open
 */
async function change(open) {
  quiet();
  source?.close();
  source = null;
  const number = ++opened;
  frozen = ended = resume = false;
  results.clear();
  targets.clear();
  statistics = new Statistics();
  page.overlay.hidden = true;
  overlay.show(0, 0, []);
  showTargets();
  showSpeed();
  if (ready) await remote.clear();
  try {
    const fresh = await open(page.video, {
      onPicture: async (picture, skipped) => {
        if (number === opened) await arrived(picture, skipped);
      },
      onEnd: (problem) => {
        if (number === opened) end(problem);
      },
    });
    if (number !== opened) return fresh.close();
    source = fresh;
    page.welcome.hidden = true;
    page.toolbar.hidden = false;
    page.overlay.hidden = false;
    overlay.enabled = ready;
    page.other.hidden = fresh.kind !== "camera" || !(await severalCameras());
    showPlay();
    overlay.paint();
    if (ready && fresh.kind === "clip") await suggest();
    else say(ready ? "Draw a box around a target." : "The tracker is still loading.");
  } catch (error) {
    if (number !== opened) return;
    page.welcome.hidden = false;
    page.toolbar.hidden = true;
    surface.clearRect(0, 0, page.picture.width, page.picture.height);
    complain(error);
  }
}

function openTheCamera() {
  reopen = openTheCamera;
  say("Opening the camera: the browser may ask whether this page may use it.");
  return change((video, listener) => openCamera(video, wanted, listener));
}

/** @param {File} file */
function openTheFile(file) {
  reopen = () => openTheFile(file);
  return change((video, listener) => openFile(video, file, listener));
}

function openTheClip() {
  reopen = openTheClip;
  return change(async (_, listener) => openClip(root, (await openSite(root)).clip, listener));
}

/** Follows the sample clip's target without waiting for a box. */
async function suggest() {
  const [x, y, w, h] = (await openSite(root)).clip.box;
  freeze();
  resume = true;
  await follow({ x, y, w, h });
  say("Following the sample's target. Draw another box at any time.");
}

/** @param {string} problem empty where the source has ended as it should */
function end(problem) {
  ended = true;
  showPlay();
  if (problem) complain(new Error(problem));
  else say("The video has ended. The results can be saved; Play starts it again.");
}

async function toggle() {
  if (source === null) return;
  if (ended) return reopen?.();
  if (source.paused) await source.play().catch(complain);
  else source.pause();
  showPlay();
}

function showPlay() {
  const playing = source !== null && !source.paused && !ended;
  page.playText.textContent = playing ? "Pause" : "Play";
  page.play.setAttribute("aria-label", playing ? "Pause" : "Play");
  document.getElementById("play-shape")?.setAttribute("d", playing ? PAUSE : PLAY);
}

// ---- Frames ------------------------------------------------------------------------------------------------------

/**
 * A frame of the source: shown, or tracked and then shown. While the worker is busy, frames are dropped.
 * @param {Picture} picture
 * @param {number} skipped frames that the browser left out before it
 */
async function arrived(picture, skipped) {
  if (frozen) return;
  if (targets.size > 0) statistics.dropped += skipped;
  if (busy) {
    statistics.dropped += 1;
    return;
  }
  if (targets.size === 0 || !ready) {
    paint(picture.image, picture);
    shown = { index: picture.index, time: picture.time };
    overlay.show(picture.width, picture.height, []);
    return;
  }
  busy = true;
  const number = opened;
  try {
    [grabbed.width, grabbed.height] = [picture.width, picture.height];
    grabbing.drawImage(picture.image, 0, 0);
    const { tracks, seconds } = await remote.update(await createImageBitmap(grabbed));
    if (number !== opened) return;
    const step = { frame: picture.index, time: picture.time, seconds, tracks };
    results.record(step);
    statistics.add(performance.now(), seconds);
    if (!frozen) {
      if (turned(picture)) say("The picture has turned; the targets are kept.");
      paint(grabbed, picture);
      shown = { index: picture.index, time: picture.time };
    }
    see(tracks);
    if (!frozen) overlay.show(picture.width, picture.height, [...targets.values()]);
  } catch (error) {
    if (number === opened) {
      source?.pause();
      showPlay();
      complain(error);
    }
  } finally {
    busy = false;
  }
}

/** @param {Picture} picture */
function turned(picture) {
  return page.picture.width !== picture.width || page.picture.height !== picture.height;
}

/**
 * @param {CanvasImageSource} image
 * @param {{ width: number, height: number }} size in pixels
 */
function paint(image, { width, height }) {
  if (page.picture.width !== width || page.picture.height !== height) {
    [page.picture.width, page.picture.height] = [width, height];
    page.picture.parentElement?.style.setProperty("--shape", `${width} / ${height}`);
  }
  surface.drawImage(image, 0, 0);
}

// ---- Targets -----------------------------------------------------------------------------------------------------

/** A box is being drawn: the picture stands still. */
function freeze() {
  frozen = true;
  resume = source !== null && !source.paused && !ended;
  if (source?.kind !== "camera") source?.pause();
}

/** Goes on after a box was drawn, or given up. */
function thaw() {
  frozen = false;
  if (resume && source?.paused) source.play().catch(complain);
  showPlay();
}

/** @param {Box} box that was drawn on the picture that is shown */
async function follow(box) {
  const number = opened;
  try {
    const picture = await createImageBitmap(page.picture);
    if (!page.several.checked) {
      for (const id of targets.keys()) await remote.remove(id);
      targets.clear();
    }
    const id = await remote.add(picture, box);
    if (number !== opened) return;
    /** @type {Track} */
    const track = { id, box, score: 1, state: "tracking" };
    targets.set(id, track);
    results.record({ frame: shown.index, time: shown.time, seconds: 0, tracks: [track] });
    overlay.show(page.picture.width, page.picture.height, [...targets.values()]);
    quiet();
    say(`Following target ${id}.`);
    showTargets();
    if (source?.kind !== "camera" && !ended) resume = true; // a recording starts with its first target
  } catch (error) {
    complain(error);
  }
  thaw();
}

/** @param {number} id */
async function forget(id) {
  targets.delete(id);
  overlay.show(page.picture.width, page.picture.height, [...targets.values()]);
  showTargets();
  page.overlay.focus({ preventScroll: true });
  await remote.remove(id).catch(complain);
  say(`Target ${id} is no longer followed.`);
}

/** @param {Track[]} tracks of a frame */
function see(tracks) {
  for (const track of tracks) {
    const before = targets.get(track.id);
    if (before === undefined) continue; // it was removed in the meantime
    if (before.state !== track.state) say(`Target ${track.id} is ${track.state === "lost" ? "lost" : "found again"}.`);
    targets.set(track.id, track);
  }
  showTargets();
  showSpeed();
}

function showTargets() {
  page.noTargets.hidden = targets.size > 0;
  for (const item of page.targets.querySelectorAll("li")) {
    if (!targets.has(Number(item.dataset.id))) item.remove();
  }
  for (const track of targets.values()) {
    const item = page.targets.querySelector(`[data-id="${track.id}"]`) ?? addItem(track.id);
    const [number, state, score] = /** @type {NodeListOf<HTMLElement>} */ (item.querySelectorAll("span"));
    number.style.background = colourOf(track);
    state.textContent = track.state;
    state.className = `state ${track.state}`;
    score.textContent = track.score.toFixed(2);
  }
  showResults();
}

/** @param {number} id */
function addItem(id) {
  const item = document.createElement("li");
  item.dataset.id = String(id);
  for (const [kind, text] of [["number", String(id)], ["state", ""], ["score", ""]]) {
    const part = document.createElement("span");
    part.className = kind;
    part.textContent = text;
    item.append(part);
  }
  const remove = document.createElement("button");
  remove.type = "button";
  remove.textContent = "Remove";
  remove.setAttribute("aria-label", `Remove target ${id}`);
  remove.addEventListener("click", () => forget(id));
  item.append(remove);
  page.targets.append(item);
  return item;
}

// ---- Results and speed -------------------------------------------------------------------------------------------

function showResults() {
  const { steps } = results;
  page.saveJson.disabled = steps.length === 0;
  if (steps.length > 0) {
    page.recorded.textContent = `${steps.length} tracked frame${steps.length === 1 ? "" : "s"}, to save on this device.`;
  } else {
    page.recorded.textContent = "Boxes and scores of every tracked frame, to save on this device.";
  }
  const ids = steps.length > 0 ? results.ids() : [];
  if (page.saveBoxes.dataset.ids === ids.join()) return;
  page.saveBoxes.dataset.ids = ids.join();
  page.saveBoxes.replaceChildren(
    ...ids.map((id) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = ids.length > 1 ? `Save boxes of ${id}` : "Save boxes";
      const number = ids.length > 1 ? `_${id}` : "";
      button.addEventListener("click", () => save(`${baseName()}${number}.txt`, results.boxLines(id), "text/plain"));
      return button;
    }),
  );
}

function baseName() {
  return (source?.name ?? "results").replace(/\.[^.]*$/, "");
}

let painted = 0;
function showSpeed() {
  const now = performance.now();
  if (statistics.taken.length > 1 && now - painted < 250) return; // figures that can be read
  painted = now;
  const text = (/** @type {number | null} */ value, /** @type {number} */ digits, unit = "") =>
    value === null ? "–" : `${value.toFixed(digits)}${unit}`;
  page.fps.textContent = text(statistics.fps(), 1);
  page.p50.textContent = text(statistics.percentile(50), 0, " ms");
  page.p95.textContent = text(statistics.percentile(95), 0, " ms");
  page.skipped.textContent = statistics.taken.length > 0 ? String(statistics.dropped) : "–";
}

// ---- Messages ----------------------------------------------------------------------------------------------------

/** @param {string} text for everybody */
function say(text) {
  page.status.textContent = text;
}

/** @param {string} text for screen readers alone */
function speak(text) {
  page.spoken.textContent = text;
}

/** @param {unknown} error whose message says what to do */
function complain(error) {
  page.status.textContent = "";
  page.problem.textContent = error instanceof Error ? error.message : String(error);
  page.problem.hidden = false;
}

function quiet() {
  page.problem.hidden = true;
  page.problem.textContent = "";
}

// ---- Events ------------------------------------------------------------------------------------------------------

for (const button of document.querySelectorAll("[data-open]")) {
  button.addEventListener("click", () => {
    const kind = button.getAttribute("data-open");
    if (kind === "camera") openTheCamera();
    else if (kind === "clip") openTheClip();
    else page.file.click();
  });
}
page.file.addEventListener("change", () => {
  const [file] = page.file.files ?? [];
  page.file.value = "";
  if (file) openTheFile(file);
});
page.play.addEventListener("click", toggle);
page.other.addEventListener("click", async () => {
  if (source?.kind !== "camera") return; // the one before is being opened
  wanted = [...(await otherCameras(page.video)), REAR_CAMERA];
  openTheCamera();
});
page.saveJson.addEventListener("click", () => save(`${baseName()}.jsonl`, results.jsonLines(), "application/jsonl"));
page.runtime.addEventListener("change", () => {
  location.search = page.runtime.value === "auto" ? "" : `?runtime=${page.runtime.value}`;
});

let wasPlaying = false;
document.addEventListener("visibilitychange", () => {
  if (source === null) return;
  if (document.hidden) {
    wasPlaying = !source.paused && !ended;
    if (!wasPlaying) return;
    source.pause();
    say("Paused while the page was in the background.");
  } else if (wasPlaying) {
    say("Going on.");
    source.play().catch(complain);
  }
  showPlay();
});

start();
