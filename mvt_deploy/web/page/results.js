// @ts-check
/** What was tracked, in the formats of `mvt-deploy track`: `x,y,w,h` lines, and JSON lines. */

/** @typedef {import("./tracker.js").Track} Track */

/**
 * What happened to one frame.
 * @typedef {object} Step
 * @property {number} frame index in the source, from 0
 * @property {number} time in the source, in seconds
 * @property {number} seconds that the tracker took
 * @property {Track[]} tracks
 */

/** The steps of a run, in order. */
export class Results {
  constructor() {
    /** @type {Step[]} */
    this.steps = [];
  }

  /**
   * Adds a step. A target is drawn on the picture that is shown, and a later one may have been tracked meanwhile: its
   * step is put in its place, and joins the one that is there already.
   * @param {Step} step
   */
  record(step) {
    let at = this.steps.length;
    while (at > 0 && this.steps[at - 1].frame > step.frame) at -= 1;
    const same = this.steps[at - 1];
    if (same?.frame === step.frame) {
      const ids = step.tracks.map((track) => track.id);
      same.tracks = [...same.tracks.filter((track) => !ids.includes(track.id)), ...step.tracks];
    } else {
      this.steps.splice(at, 0, step);
    }
  }

  clear() {
    this.steps = [];
  }

  /** The numbers of all targets that were followed. */
  ids() {
    return [...new Set(this.steps.flatMap((step) => step.tracks.map((track) => track.id)))].sort((a, b) => a - b);
  }

  /**
   * One target's boxes in GOT-10k form: one `x,y,w,h` line per tracked frame, in pixels with three decimals.
   * @param {number} id
   */
  boxLines(id) {
    const tracks = this.steps.flatMap((step) => step.tracks.filter((track) => track.id === id));
    return tracks.map(({ box }) => `${[box.x, box.y, box.w, box.h].map((v) => v.toFixed(3)).join(",")}\n`).join("");
  }

  /** One JSON object per line and tracked frame. */
  jsonLines() {
    return this.steps.map((step) => `${JSON.stringify(jsonOf(step))}\n`).join("");
  }
}

/** @param {Step} step */
function jsonOf({ frame, time, seconds, tracks }) {
  return {
    frame,
    time: rounded(time, 4),
    seconds: rounded(seconds, 6),
    targets: tracks.map(({ id, box, score, state }) => ({
      id,
      box: [box.x, box.y, box.w, box.h].map((v) => rounded(v, 3)),
      score: rounded(score, 4),
      state,
    })),
  };
}

/**
 * @param {number} value
 * @param {number} digits
 */
function rounded(value, digits) {
  return Number(value.toFixed(digits));
}

/**
 * Offers a text as a file to save.
 * @param {string} name
 * @param {string} text
 * @param {string} type MIME type
 */
export function save(name, text, type) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
