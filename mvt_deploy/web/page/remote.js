// @ts-check
/** The worker, as the page sees it: an object whose methods are answered later. */

/** @typedef {import("./auto.js").Trial} Trial */
/** @typedef {import("./geometry.js").Box} Box */
/** @typedef {import("./tracker.js").Track} Track */
/** @typedef {import("./worker.js").Runtime} Runtime */

/** Tracks in a worker. Pictures that are given to it are used up. */
export class RemoteTracker {
  /**
   * @param {(loaded: number, total: number) => void} onProgress bytes that have arrived and that are expected
   * @param {(label: string, trials: Trial[]) => void} onReplaced the graphics processor went away; named are the backend
   *   that took over and what was tried to find it
   */
  constructor(onProgress, onReplaced) {
    /** @type {Map<number, { resolve: (value: any) => void, reject: (error: Error) => void }>} */
    this.waiting = new Map();
    this.last = 0;
    this.worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
    this.worker.onmessage = ({ data }) => {
      if (data.event === "progress") return onProgress(data.loaded, data.total);
      if (data.event === "replaced") return onReplaced(data.label, data.trials);
      const call = this.waiting.get(data.id);
      this.waiting.delete(data.id);
      if (data.error) call?.reject(new Error(data.error.message));
      else call?.resolve(data.result);
    };
    this.worker.onerror = (event) => {
      const error = new Error(`The tracker's worker stopped: ${event.message ?? "it could not be loaded"}`);
      for (const call of this.waiting.values()) call.reject(error);
      this.waiting.clear();
    };
  }

  /** @param {Runtime} runtime @returns {Promise<{ label: string, trials: Trial[] }>} */
  start(runtime) {
    return this.call("start", [runtime]);
  }

  /** @param {ImageBitmap} picture @param {Box} box @returns {Promise<number>} the target's number */
  add(picture, box) {
    return this.call("add", [picture, box], [picture]);
  }

  /** @param {number} id of a target @returns {Promise<void>} */
  remove(id) {
    return this.call("remove", [id]);
  }

  /** @returns {Promise<void>} */
  clear() {
    return this.call("clear", []);
  }

  /** @param {ImageBitmap} picture @returns {Promise<{ tracks: Track[], seconds: number }>} */
  update(picture) {
    return this.call("update", [picture], [picture]);
  }

  /**
   * @param {string} call
   * @param {unknown[]} args
   * @param {Transferable[]} transfer
   * @returns {Promise<any>}
   */
  call(call, args, transfer = []) {
    const id = ++this.last;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.worker.postMessage({ id, call, args }, transfer);
    });
  }
}
