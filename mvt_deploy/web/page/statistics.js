// @ts-check
/** Frames per second and latency percentiles of the last frames. */

const KEPT = 120;

/** A running measure of how fast frames are tracked. */
export class Statistics {
  constructor() {
    this.dropped = 0;
    /** @type {number[]} when frames were done, in milliseconds */
    this.done = [];
    /** @type {number[]} seconds that each took */
    this.taken = [];
  }

  /**
   * @param {number} now in milliseconds
   * @param {number} seconds that the frame took: cropping, network and mapping back
   */
  add(now, seconds) {
    this.done.push(now);
    this.taken.push(seconds);
    if (this.done.length > KEPT) {
      this.done.shift();
      this.taken.shift();
    }
  }

  /** Frames per second of the last frames; null before the second one. */
  fps() {
    const { done } = this;
    const recent = done.filter((at) => done[done.length - 1] - at <= 3000);
    if (recent.length < 2) return null;
    return (1000 * (recent.length - 1)) / (recent[recent.length - 1] - recent[0]);
  }

  /**
   * A latency percentile in milliseconds, interpolated linearly as NumPy does; null before the first frame.
   * @param {number} percent 0 to 100
   */
  percentile(percent) {
    if (this.taken.length === 0) return null;
    const sorted = [...this.taken].sort((a, b) => a - b);
    const at = (percent / 100) * (sorted.length - 1);
    const low = Math.floor(at);
    const high = Math.ceil(at);
    return 1000 * (sorted[low] + (sorted[high] - sorted[low]) * (at - low));
  }
}
