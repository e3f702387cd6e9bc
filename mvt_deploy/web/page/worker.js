// @ts-check
/**
 * The worker: loads ONNX Runtime Web and the graphs, and tracks in the frames that the page sends it, so that the page
 * stays responsive. Calls are answered one after another, in the order in which they came.
 */

import { fastest } from "./auto.js";
import { BackendError, DeviceLostError, loadRuntime, openBackend, usableThreads } from "./backend.js";
import { openSite } from "./bundle.js";
import { Tracker } from "./tracker.js";

/** @typedef {import("./auto.js").Candidate} Candidate */
/** @typedef {import("./auto.js").Trial} Trial */
/** @typedef {import("./backend.js").Backend} Backend */
/** @typedef {import("./bundle.js").Site} Site */
/** @typedef {import("./geometry.js").Box} Box */
/** @typedef {import("./geometry.js").Frame} Frame */
/** @typedef {"auto" | "webgpu" | "wasm" | "wasm-1"} Runtime what the user asked for; `wasm-1` is WASM with one thread */

const root = new URL(".", import.meta.url);
const canvas = new OffscreenCanvas(1, 1);
const surface = /** @type {OffscreenCanvasRenderingContext2D} */ (
  canvas.getContext("2d", { willReadFrequently: true })
);
/** @type {Site} */
let site;
/** @type {Tracker} */
let tracker;
let loaded = 0;
let total = 0;

const calls = {
  /**
   * Opens a backend, and a tracker on it; targets of an earlier one are followed on.
   * @param {Runtime} runtime
   */
  async start(runtime) {
    site ??= await openSite(root);
    [loaded, total] = [0, 0];
    const { possible, impossible } = await candidates(runtime);
    total = possible.reduce((sum, candidate) => sum + candidate.download, 0);
    const { best, trials } = await fastest(possible, root, site);
    await adopt(best);
    return { label: best.label, trials: [...impossible, ...trials] };
  },

  /**
   * Follows one more target.
   * @param {ImageBitmap} picture
   * @param {Box} box in pixels of the picture
   */
  async add(picture, box) {
    const frame = pixels(picture);
    return retrying(() => tracker.add(frame, box));
  },

  /** @param {number} id of a target that is followed no longer */
  async remove(id) {
    await retrying(() => tracker.remove(id));
  },

  /** Forgets all targets. */
  async clear() {
    await tracker.clear();
  },

  /** @param {ImageBitmap} picture the next frame */
  async update(picture) {
    const began = performance.now();
    const frame = pixels(picture);
    const tracks = await retrying(() => tracker.update(frame));
    return { tracks, seconds: (performance.now() - began) / 1000 };
  },
};

/**
 * What to try on this device, best first, and what cannot be tried.
 * @param {Runtime} runtime
 * @returns {Promise<{ possible: Candidate[], impossible: Trial[] }>}
 */
async function candidates(runtime) {
  const wasm = candidate("wasm", runtime === "wasm-1" ? 1 : usableThreads(), true);
  if (runtime === "wasm" || runtime === "wasm-1") return { possible: [wasm], impossible: [] };
  const { halves, refused } = await graphics(runtime === "auto");
  if (refused === "") {
    const webgpu = candidate("webgpu", 1, halves);
    return { possible: runtime === "webgpu" ? [webgpu] : [webgpu, wasm], impossible: [] };
  }
  if (runtime === "webgpu") throw new BackendError(`WebGPU cannot be used, for ${refused}: choose WebAssembly.`);
  return { possible: [wasm], impossible: [{ label: "WebGPU", milliseconds: Infinity, difference: NaN, refused }] };
}

/**
 * @param {"wasm" | "webgpu"} provider
 * @param {number} threads
 * @param {boolean} halves whether graphs in half precision can run
 * @returns {Candidate}
 */
function candidate(provider, threads, halves) {
  const choice = site.choices.find((c) => c.provider === provider && (halves || c.precision !== "fp16"));
  if (choice === undefined) throw new BackendError(`This site holds no graphs that ${provider} can run here.`);
  const { binary } = site.runtime[provider];
  return {
    label: `${provider}, ${choice.precision}`,
    gated: choice.gated,
    download: binary.download + choice.template.download + choice.search.download,
    async open() {
      const ort = await loadRuntime(root, site, provider, threads, progress);
      return openBackend(ort, root, site, choice, progress);
    },
  };
}

/**
 * Whether WebGPU can be used, whether it has 16-bit floats, and if it cannot be used, why.
 * @param {boolean} hardware only a real graphics processor counts, no imitation of one in software
 */
async function graphics(hardware) {
  const gpu = /** @type {any} */ (navigator).gpu;
  const adapter = await gpu?.requestAdapter().catch(() => null);
  if (!adapter) return { halves: false, refused: "this browser does not offer it here" };
  const { isFallbackAdapter, architecture } = adapter.info ?? {};
  if (hardware && (isFallbackAdapter || architecture === "swiftshader")) {
    return { halves: false, refused: "it is imitated in software here" };
  }
  return { halves: adapter.features.has("shader-f16"), refused: "" };
}

/**
 * Tries again on WASM, from where the targets were, if the graphics processor went away.
 * @template T
 * @param {() => Promise<T>} action
 * @returns {Promise<T>}
 */
async function retrying(action) {
  try {
    return await action();
  } catch (error) {
    if (!(error instanceof DeviceLostError)) throw error;
    const { best, trials } = await fastest((await candidates("wasm")).possible, root, site);
    await adopt(best);
    postMessage({ event: "replaced", label: best.label, trials });
    return action();
  }
}

/** @param {Backend} backend */
async function adopt(backend) {
  if (tracker === undefined) {
    tracker = new Tracker(backend);
    return;
  }
  const former = tracker.model;
  await tracker.use(backend);
  await former.close();
}

/**
 * The pixels of a picture, which is used up.
 * @param {ImageBitmap} picture
 * @returns {Frame}
 */
function pixels(picture) {
  const { width, height } = picture;
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  surface.drawImage(picture, 0, 0);
  picture.close();
  return surface.getImageData(0, 0, width, height);
}

/** @param {number} bytes that have arrived */
function progress(bytes) {
  loaded += bytes;
  postMessage({ event: "progress", loaded, total });
}

let turn = Promise.resolve();
self.onmessage = ({ data: { id, call, args } }) => {
  turn = turn.then(async () => {
    try {
      const result = await /** @type {any} */ (calls)[call](...args);
      postMessage({ id, result });
    } catch (error) {
      const { name, message } = error instanceof Error ? error : new Error(String(error));
      postMessage({ id, error: { name, message } });
    }
  });
};
