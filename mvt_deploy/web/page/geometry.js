// @ts-check
/**
 * Boxes, crop windows, the way back to the frame, and clipping: the arithmetic of `mvt_deploy/geometry.py`.
 *
 * Boxes are `x, y, w, h` in pixels with the origin at the top left. Frames are RGBA, as a canvas gives them; crops are
 * BGR, as the graphs take them. The results equal those of the Python module, crops to the byte.
 */

/** @typedef {{ x: number, y: number, w: number, h: number }} Box `x, y` of the top-left corner, `w, h`; in pixels */
/** @typedef {{ x: number, y: number, side: number }} CropWindow top-left corner and side in whole pixels */
/** @typedef {{ width: number, height: number, data: Uint8ClampedArray }} Frame RGBA uint8, row by row */

/** Pixels of a clipped box that always stay inside the frame, and its smallest side (published value). */
export const CLIP_MARGIN = 10;

/** Largest side of a crop window in pixels; a box that asks for more is refused. */
export const LARGEST_SIDE = 2 ** 30;

/** A box is not four finite numbers, has no size, or lies outside the frame. */
export class BoxError extends Error {}

/**
 * Rounds half to even, as Python's `round` does.
 * @param {number} value
 */
export function roundHalfEven(value) {
  const low = Math.floor(value);
  const rest = value - low;
  if (rest !== 0.5) return Math.round(value);
  return low % 2 === 0 ? low : low + 1;
}

/**
 * The same box if it has a size and some of it lies inside the frame; throws a `BoxError` otherwise.
 * @param {Box} box
 * @param {number} width of the frame in pixels
 * @param {number} height of the frame in pixels
 */
export function requireOverlap(box, width, height) {
  const { x, y, w, h } = box;
  if (![x, y, w, h].every(Number.isFinite) || w <= 0 || h <= 0) {
    throw new BoxError("A box needs a width and a height above zero: draw it again.");
  }
  if (x >= width || y >= height || x + w <= 0 || y + h <= 0) {
    throw new BoxError("The box lies outside the picture: draw it again.");
  }
  return box;
}

/**
 * The square window around a box whose side is `ceil(sqrt(w * h) * factor)` pixels.
 * @param {Box} box
 * @param {number} factor 2 for a template; for a search region as the bundle's manifest says
 * @returns {CropWindow}
 */
export function cropWindow(box, factor) {
  const length = Math.sqrt(box.w * box.h) * factor;
  if (!(length > 0 && length <= LARGEST_SIDE)) {
    throw new BoxError("This box cannot be cropped around: draw it again.");
  }
  const side = Math.ceil(length);
  return {
    x: roundHalfEven(box.x + 0.5 * box.w - side * 0.5),
    y: roundHalfEven(box.y + 0.5 * box.h - side * 0.5),
    side,
  };
}

/**
 * Cuts the window out of a frame, zeros where it leaves the frame, and scales it to `size` x `size`.
 *
 * As published, the far edge counts as left one pixel before the frame's end. The scaling is OpenCV's `INTER_LINEAR`
 * for uint8: weights of 11 bits, and the mean of four pixels where the scale is exactly one half.
 * @param {Frame} frame
 * @param {CropWindow} window
 * @param {number} size side of the crop in pixels
 * @param {Uint8Array} out `[size, size, 3]`, written as BGR
 */
export function crop(frame, window, size, out) {
  // Columns x0 <= x < x1 and rows y0 <= y < y1 of the frame can be seen in the window.
  const x0 = Math.max(0, window.x);
  const y0 = Math.max(0, window.y);
  const x1 = window.x + window.side - Math.max(0, window.x + window.side - frame.width + 1);
  const y1 = window.y + window.side - Math.max(0, window.y + window.side - frame.height + 1);
  if (x0 >= x1 || y0 >= y1) {
    out.fill(0);
    return;
  }
  const halved = window.side === 2 * size;
  const across = halved ? pairs(size) : samples(window.side, size, true);
  const down = halved ? pairs(size) : samples(window.side, size, false);

  // Byte offset of every column within a row of the frame; -1 where the window shows no frame.
  const columns = across.index.map((column) => {
    const x = window.x + column;
    return x >= x0 && x < x1 ? 4 * x : -1;
  });
  const read = halved ? addRow : weighRow;
  /** @type {[Int32Array, Int32Array]} two source rows, scaled across */
  const rows = [new Int32Array(3 * size), new Int32Array(3 * size)];
  const held = [-1, -1];
  for (let row = 0; row < size; row++) {
    for (const side of [0, 1]) {
      const wanted = down.index[2 * row + side];
      if (held[side] === wanted) continue;
      if (side === 0 && held[1] === wanted) {
        rows.reverse(); // the lower row of the last line is the upper row of this one
        held.reverse();
        continue;
      }
      const y = window.y + wanted;
      const start = y >= y0 && y < y1 ? 4 * frame.width * y : -1;
      if (start < 0) rows[side].fill(0);
      else read(frame.data, start, columns, across.weight, rows[side]);
      held[side] = wanted;
    }
    const [upper, lower] = rows;
    const at = 3 * size * row;
    if (halved) {
      for (let i = 0; i < upper.length; i++) out[at + i] = (upper[i] + lower[i] + 2) >> 2;
    } else {
      const above = down.weight[2 * row];
      const below = down.weight[2 * row + 1];
      for (let i = 0; i < upper.length; i++) {
        out[at + i] = (((above * (upper[i] >> 4)) >> 16) + ((below * (lower[i] >> 4)) >> 16) + 2) >> 2;
      }
    }
  }
}

/** @typedef {{ index: Int32Array, weight: Int32Array }} Samples two pixels and two weights per output pixel */

/**
 * Where bilinear scaling from `length` to `size` pixels samples, and the weights, 2048 for 1.
 * @param {number} length
 * @param {number} size
 * @param {boolean} across true for columns, whose weights end at the edge; rows repeat the edge instead
 * @returns {Samples}
 */
function samples(length, size, across) {
  const index = new Int32Array(2 * size);
  const weight = new Int32Array(2 * size);
  const scale = length / size;
  for (let i = 0; i < size; i++) {
    const at = Math.fround((i + 0.5) * scale - 0.5);
    let low = Math.floor(at);
    let share = Math.fround(at - low);
    if (across && low < 0) [low, share] = [0, 0];
    if (across && low >= length - 1) [low, share] = [length - 1, 0];
    index[2 * i] = Math.min(Math.max(low, 0), length - 1);
    index[2 * i + 1] = Math.min(Math.max(low + 1, 0), length - 1);
    weight[2 * i] = roundHalfEven(Math.fround(Math.fround(1 - share) * 2048));
    weight[2 * i + 1] = roundHalfEven(Math.fround(share * 2048));
  }
  return { index, weight };
}

/**
 * The pixel pairs of a scale of exactly one half.
 * @param {number} size
 * @returns {Samples}
 */
function pairs(size) {
  return { index: Int32Array.from({ length: 2 * size }, (_, i) => i), weight: new Int32Array(0) };
}

/**
 * One row of RGBA pixels, scaled across with weights, as BGR.
 * @param {Uint8ClampedArray} data
 * @param {number} start byte offset of the row
 * @param {Int32Array} columns
 * @param {Int32Array} weight
 * @param {Int32Array} out
 */
function weighRow(data, start, columns, weight, out) {
  for (let i = 0, at = 0; i < columns.length; i += 2, at += 3) {
    let [b, g, r] = [0, 0, 0];
    if (columns[i] >= 0) {
      const from = start + columns[i];
      r = data[from] * weight[i];
      g = data[from + 1] * weight[i];
      b = data[from + 2] * weight[i];
    }
    if (columns[i + 1] >= 0) {
      const from = start + columns[i + 1];
      r += data[from] * weight[i + 1];
      g += data[from + 1] * weight[i + 1];
      b += data[from + 2] * weight[i + 1];
    }
    out[at] = b;
    out[at + 1] = g;
    out[at + 2] = r;
  }
}

/**
 * One row of RGBA pixels, neighbours added up, as BGR.
 * @param {Uint8ClampedArray} data
 * @param {number} start byte offset of the row
 * @param {Int32Array} columns
 * @param {Int32Array} _weight
 * @param {Int32Array} out
 */
function addRow(data, start, columns, _weight, out) {
  for (let i = 0, at = 0; i < columns.length; i += 2, at += 3) {
    for (let channel = 0; channel < 3; channel++) {
      const first = columns[i] < 0 ? 0 : data[start + columns[i] + 2 - channel];
      const second = columns[i + 1] < 0 ? 0 : data[start + columns[i + 1] + 2 - channel];
      out[at + channel] = first + second;
    }
  }
}

/**
 * A box of the network, in fractions of the search crop, as a box of the frame; not clipped.
 * @param {ArrayLike<number>} centreSize `cx, cy, w, h` as fractions of the crop
 * @param {Box} windowOf the box that the search window was cut around
 * @param {number} side of the search window in pixels, before scaling
 * @returns {Box}
 */
export function mapBack(centreSize, windowOf, side) {
  const [cx, cy, w, h] = Array.from(centreSize, (value) => value * side);
  const centreX = windowOf.x + 0.5 * windowOf.w;
  const centreY = windowOf.y + 0.5 * windowOf.h;
  return { x: cx + centreX - 0.5 * side - 0.5 * w, y: cy + centreY - 0.5 * side - 0.5 * h, w, h };
}

/**
 * The box cut to a `width` x `height` frame so that at least `margin` pixels of it stay inside; no side becomes smaller.
 * In a frame smaller than the margin, the margin is the frame's side.
 * @param {Box} box
 * @param {number} width of the frame in pixels
 * @param {number} height of the frame in pixels
 * @param {number} margin in pixels
 * @returns {Box}
 */
export function clip(box, width, height, margin = CLIP_MARGIN) {
  const [x, w] = clipAxis(box.x, box.w, width, Math.min(margin, width));
  const [y, h] = clipAxis(box.y, box.h, height, Math.min(margin, height));
  return { x, y, w, h };
}

/**
 * Start and size of an interval cut to `0..length`, of which at least `margin` stays.
 * @param {number} start
 * @param {number} size
 * @param {number} length
 * @param {number} margin
 * @returns {[number, number]}
 */
function clipAxis(start, size, length, margin) {
  const end = Math.min(Math.max(margin, start + size), length);
  const from = Math.min(Math.max(0, start), length - margin);
  return [from, Math.max(margin, end - from)];
}
