// @ts-check
/**
 * ONNX Runtime Web: template crops in, features out; search crops and features in, boxes out.
 */

import { readVerified } from "./bundle.js";

/** @typedef {import("./bundle.js").Choice} Choice */
/** @typedef {import("./bundle.js").Site} Site */

/**
 * What the tracker must know of a model: crop sides in pixels, and window sides as multiples of the target's size.
 * @typedef {{ templateSize: number, templateFactor: number, searchSize: number, searchFactor: number }} Spec
 */

/**
 * `box`: `n` times centre x, centre y, width, height, as fractions of the search crop; `score`: `n` values, 0 to 1.
 * @typedef {{ box: Float32Array, score: Float32Array }} SearchResult
 */

/**
 * Runs the two graphs of a bundle. Crops are BGR uint8, `n` of them after one another.
 * @typedef {object} Backend
 * @property {string} label provider, threads and precision, for people
 * @property {Spec} spec
 * @property {(crops: Uint8Array, n: number) => Promise<unknown>} template encodes `n` template crops
 * @property {(crops: Uint8Array, n: number, features: unknown) => Promise<SearchResult>} search locates `n` targets
 * @property {() => Promise<void>} close frees what the backend holds
 */

/** A backend cannot be opened here, or failed while it ran. */
export class BackendError extends Error {}

/** The graphics processor went away: it was reset, unplugged, or taken by the system. */
export class DeviceLostError extends BackendError {}

/** The parts of onnxruntime-web that are used here. @typedef {any} Ort */

/**
 * An optimiser of ONNX Runtime Web 1.30 that is turned off with WebGPU: it merges a convolution with two activations
 * behind it and leaves out the first, here the sigmoid of the score map.
 */
const LOSES_SIGMOID = "ConvActivationFusion";

/** Most WASM threads: a phone's further cores are slow ones. */
const MOST_THREADS = 4;

/** How many WASM threads can be used here: 1 where the page is not isolated, since threads need shared memory. */
export function usableThreads() {
  return globalThis.crossOriginIsolated ? Math.min(MOST_THREADS, navigator.hardwareConcurrency || 1) : 1;
}

/**
 * Loads ONNX Runtime Web once; WebGPU needs another build of it than WASM alone.
 * @param {URL} root of the site
 * @param {Site} site
 * @param {"wasm" | "webgpu"} kind
 * @param {number} threads
 * @param {(bytes: number) => void} progress
 * @returns {Promise<Ort>}
 */
export async function loadRuntime(root, site, kind, threads, progress) {
  const { module, binary } = site.runtime[kind];
  const wasmBinary = await readVerified(root, binary, progress);
  const ort = await import(new URL(module, root).href);
  ort.env.logLevel = "error";
  ort.env.wasm.wasmBinary = wasmBinary.buffer;
  ort.env.wasm.numThreads = threads;
  return ort;
}

/**
 * Opens a pair of graphs; throws a `BackendError` where the runtime refuses them.
 * @param {Ort} ort
 * @param {URL} root of the site
 * @param {Site} site
 * @param {Choice} choice
 * @param {(bytes: number) => void} progress
 * @returns {Promise<Backend>}
 */
export async function openBackend(ort, root, site, choice, progress) {
  const [template, search] = await Promise.all([
    readVerified(root, choice.template, progress),
    readVerified(root, choice.search, progress),
  ]);
  try {
    const gpu = choice.provider === "webgpu";
    const options = {
      executionProviders: [choice.provider],
      ...(gpu ? { extra: { optimization: { disable_specified_optimizers: LOSES_SIGMOID } } } : {}),
    };
    const first = await ort.InferenceSession.create(template, {
      ...options,
      ...(gpu ? { preferredOutputLocation: "gpu-buffer" } : {}), // the features stay where the search graph reads them
    });
    const second = await ort.InferenceSession.create(search, options);
    return new OrtBackend(ort, first, second, site, choice);
  } catch (error) {
    throw new BackendError(`${choice.provider} cannot run the ${choice.precision} graphs: ${message(error)}`);
  }
}

/** @implements {Backend} */
class OrtBackend {
  /**
   * @param {Ort} ort
   * @param {any} template its inference session
   * @param {any} search its inference session
   * @param {Site} site
   * @param {Choice} choice
   */
  constructor(ort, template, search, site, choice) {
    this.ort = ort;
    this.sessions = { template, search };
    this.spec = {
      templateSize: site.tracker.template_size,
      templateFactor: site.tracker.template_factor,
      searchSize: choice.search_size,
      searchFactor: choice.search_factor,
    };
    const threads = ort.env.wasm.numThreads;
    const where = choice.provider === "webgpu" ? "WebGPU" : `WASM, ${threads} thread${threads === 1 ? "" : "s"}`;
    this.label = `${where}, ${choice.precision}`;
    this.lost = false;
    this.closed = false;
    if (choice.provider === "webgpu") this.watch();
  }

  /** Notices when the graphics processor goes away. */
  async watch() {
    const device = await this.ort.env.webgpu.device;
    const { message: reason } = await device.lost;
    if (this.closed) return;
    this.lost = true;
    console.warn(`The graphics processor went away: ${reason}`);
  }

  /**
   * @param {Uint8Array} crops
   * @param {number} n
   */
  async template(crops, n) {
    return this.run(this.sessions.template, this.tensor(crops, n, this.spec.templateSize));
  }

  /**
   * @param {Uint8Array} crops
   * @param {number} n
   * @param {unknown} features
   * @returns {Promise<SearchResult>}
   */
  async search(crops, n, features) {
    const inputs = { ...this.tensor(crops, n, this.spec.searchSize), .../** @type {object} */ (features) };
    const { box, score } = await this.run(this.sessions.search, inputs, ["box", "score"]);
    const found = { box: await box.getData(), score: await score.getData() };
    if (this.lost) throw new DeviceLostError("The graphics processor went away.");
    if (![...found.box, ...found.score].every(Number.isFinite)) {
      throw new BackendError("The network returned a value that is not finite, so there is no box.");
    }
    return found;
  }

  async close() {
    this.closed = true;
    await Promise.allSettled([this.sessions.template.release(), this.sessions.search.release()]);
  }

  /**
   * @param {Uint8Array} crops
   * @param {number} n
   * @param {number} side in pixels
   */
  tensor(crops, n, side) {
    return { crop: new this.ort.Tensor("uint8", crops, [n, side, side, 3]) };
  }

  /**
   * @param {any} session
   * @param {object} inputs
   * @param {string[]} [outputs] all of them if left out
   */
  async run(session, inputs, outputs) {
    if (this.lost) throw new DeviceLostError("The graphics processor went away.");
    try {
      return await (outputs ? session.run(inputs, outputs) : session.run(inputs));
    } catch (error) {
      await new Promise((resolve) => setTimeout(resolve)); // lets a loss of the device be noticed
      if (this.lost) throw new DeviceLostError("The graphics processor went away.");
      throw new BackendError(`ONNX Runtime Web cannot run the graph: ${message(error)}`);
    }
  }
}

/** @param {unknown} error */
function message(error) {
  return error instanceof Error ? error.message : String(error);
}
