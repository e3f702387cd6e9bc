// @ts-check
/**
 * The tracker: cut a window around every target, ask the backend where it is, map the answer back to the frame.
 * The arithmetic and the lost policy are those of `mvt_deploy/tracker.py`.
 */

import { clip, crop, cropWindow, mapBack, requireOverlap } from "./geometry.js";

/** @typedef {import("./geometry.js").Box} Box */
/** @typedef {import("./geometry.js").Frame} Frame */
/** @typedef {import("./backend.js").Backend} Backend */

/**
 * One target in one frame.
 * @typedef {object} Track
 * @property {number} id number of the target, from 1
 * @property {Box} box in pixels of the frame, clipped to it
 * @property {number} score 0 to 1; about 0.4 and more where the target is followed well
 * @property {"tracking" | "lost"} state "lost" while the box is only where the target was last
 */

/**
 * When a target counts as lost, and how it is searched for.
 * @typedef {object} LostPolicy
 * @property {number} threshold a score below it is low (0 to 1)
 * @property {number} patience after this many low frames in a row the target is lost and its place is held
 * @property {number} found a lost target is found again at this score (0 to 1)
 * @property {number} growth the search window's side grows by this factor with every lost frame ...
 * @property {number} widest ... up to this multiple of the held box's
 * @property {number} memory frames over which the held box's size is averaged
 */

/** @type {LostPolicy} the defaults of `mvt-deploy track` */
export const LOST_POLICY = { threshold: 0.2, patience: 5, found: 0.3, growth: 1.05, widest: 1.5, memory: 30 };

/**
 * @typedef {object} Target
 * @property {number} id number of the target, from 1
 * @property {Uint8Array} template its template crop, kept for another backend
 * @property {Box} box where the next window is centred
 * @property {Box} held its place once it is lost
 * @property {number} low frames in a row with a low score
 * @property {boolean} lost
 * @property {number} widening factor on the search window's side, above 1 while lost
 * @property {number} side side of the last search window in pixels
 */

/** Follows one or several targets through frames. Calls must not overlap. */
export class Tracker {
  /**
   * @param {Backend} model
   * @param {LostPolicy | null} lost null is the published behaviour, which never gives up a box
   */
  constructor(model, lost = LOST_POLICY) {
    this.model = model;
    this.lost = lost;
    /** @type {Target[]} */
    this.targets = [];
    this.width = 0;
    this.height = 0;
    this.last = 0;
    /** @type {unknown} */
    this.features = null;
  }

  /**
   * Starts to follow one more target; throws a `BoxError` if there is nothing in the box.
   * @param {Frame} frame
   * @param {Box} box in pixels of the frame
   * @returns {Promise<number>} the target's number
   */
  async add(frame, box) {
    requireOverlap(box, frame.width, frame.height);
    this.fit(frame);
    const { templateSize, templateFactor } = this.model.spec;
    const template = new Uint8Array(3 * templateSize * templateSize);
    crop(frame, cropWindow(box, templateFactor), templateSize, template);
    const target = { id: ++this.last, template, box, held: box, low: 0, lost: false, widening: 1, side: 0 };
    await this.encode([...this.targets, target]);
    return target.id;
  }

  /**
   * Stops following a target.
   * @param {number} id
   */
  async remove(id) {
    await this.encode(this.targets.filter((target) => target.id !== id));
  }

  /** Stops following all targets; the next one is number 1 again. */
  async clear() {
    await this.encode([]);
    this.last = 0;
  }

  /**
   * Goes on with another backend, from where the targets are.
   * @param {Backend} model
   */
  async use(model) {
    this.model = model;
    await this.encode(this.targets);
  }

  /**
   * Follows into the next frame. If the backend fails, the targets stay as they were.
   * @param {Frame} frame
   * @returns {Promise<Track[]>} one per target
   */
  async update(frame) {
    if (this.targets.length === 0) return [];
    this.fit(frame);
    const { searchSize, searchFactor } = this.model.spec;
    const bytes = 3 * searchSize * searchSize;
    const crops = new Uint8Array(bytes * this.targets.length);
    this.targets.forEach((target, index) => {
      const window = cropWindow(target.box, searchFactor * target.widening);
      target.side = window.side;
      crop(frame, window, searchSize, crops.subarray(index * bytes, (index + 1) * bytes));
    });
    const { box, score } = await this.model.search(crops, this.targets.length, this.features);
    return this.targets.map((target, index) => {
      const found = mapBack(box.subarray(4 * index, 4 * index + 4), target.box, target.side);
      return this.move(target, clip(found, frame.width, frame.height), score[index]);
    });
  }

  /**
   * Applies the lost policy to what was found for a target.
   * @param {Target} target
   * @param {Box} box clipped to the frame
   * @param {number} score
   * @returns {Track}
   */
  move(target, box, score) {
    const policy = this.lost;
    if (policy !== null && score < (target.lost ? policy.found : policy.threshold)) {
      target.low += 1;
      if (target.low >= policy.patience) {
        target.lost = true;
        target.widening = Math.min(policy.widest, target.widening * policy.growth);
        target.box = clip(target.held, this.width, this.height);
        return { id: target.id, box: target.box, score, state: "lost" };
      }
    } else if (policy !== null) {
      target.low = 0;
      target.lost = false;
      target.widening = 1;
      target.held = hold(target.held, box, 1 / policy.memory);
    }
    target.box = box;
    return { id: target.id, box, score, state: "tracking" };
  }

  /**
   * Moves the targets into a frame of another size.
   *
   * When a phone is turned, the camera turns about the picture's centre and the picture is turned upright again: a point
   * keeps its distance from the centre.
   * @param {Frame} frame
   */
  fit(frame) {
    const { width, height } = frame;
    if (this.width !== width || this.height !== height) {
      const [x, y] = [(width - this.width) / 2, (height - this.height) / 2];
      for (const target of this.targets) {
        target.box = clip({ ...target.box, x: target.box.x + x, y: target.box.y + y }, width, height);
        target.held = clip({ ...target.held, x: target.held.x + x, y: target.held.y + y }, width, height);
      }
    }
    this.width = width;
    this.height = height;
  }

  /**
   * Encodes the templates of the targets in one batch, then makes them the ones that are followed.
   * @param {Target[]} targets
   */
  async encode(targets) {
    const size = targets.length > 0 ? targets[0].template.length : 0;
    const crops = new Uint8Array(size * targets.length);
    targets.forEach((target, index) => crops.set(target.template, index * size));
    this.features = targets.length > 0 ? await this.model.template(crops, targets.length) : null;
    this.targets = targets;
  }
}

/**
 * A box at `box`'s centre; its size is `held`'s, moved towards `box`'s by a share of their ratio.
 * @param {Box} held
 * @param {Box} box
 * @param {number} share 0 to 1
 * @returns {Box}
 */
function hold(held, box, share) {
  const w = held.w * (box.w / held.w) ** share;
  const h = held.h * (box.h / held.h) ** share;
  return { x: box.x + (box.w - w) / 2, y: box.y + (box.h - h) / 2, w, h };
}
