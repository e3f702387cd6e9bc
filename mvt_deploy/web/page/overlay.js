// @ts-check
/**
 * What lies over the picture: a box, a label and a colour for each target, and the box that is being drawn with a
 * finger, a mouse or the keyboard.
 */

/** @typedef {import("./geometry.js").Box} Box */
/** @typedef {import("./tracker.js").Track} Track */

/** Told apart by the colour-blind too (after Okabe and Ito), and light enough for black text; as in `mvt-deploy track`. */
const PALETTE = ["#50dc50", "#e69f00", "#56b4e9", "#f0e442", "#cc79a7", "#dcdcdc"];
const LOST = "#ff4646";

/** Smallest side of a box that is drawn, in pixels of the screen: less is a tap. */
const SMALLEST = 8;

/** @param {Track} track */
export function colourOf(track) {
  return track.state === "lost" ? LOST : PALETTE[(track.id - 1) % PALETTE.length];
}

/**
 * @typedef {object} DrawingListener
 * @property {() => void} onBegin a box is being drawn: the picture should stand still
 * @property {(box: Box) => void} onBox a box was drawn, in pixels of the picture
 * @property {() => void} onCancel drawing was given up
 * @property {(text: string) => void} onSay something for a screen reader
 */

/** The canvas over the picture. */
export class Overlay {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {DrawingListener} listener
   */
  constructor(canvas, listener) {
    this.canvas = canvas;
    this.listener = listener;
    this.surface = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    this.enabled = false;
    this.width = 0; // of the picture, in pixels
    this.height = 0;
    /** @type {Track[]} */
    this.tracks = [];
    /** @type {Box | null} the box being drawn, in pixels of the picture */
    this.draft = null;
    /** @type {{ x: number, y: number, pointer: number } | null} where a pointer went down, in pixels of the picture */
    this.corner = null;
    canvas.addEventListener("pointerdown", (event) => this.pressed(event));
    canvas.addEventListener("pointermove", (event) => this.dragged(event));
    canvas.addEventListener("pointerup", (event) => this.released(event));
    canvas.addEventListener("pointercancel", () => this.cancel());
    canvas.addEventListener("keydown", (event) => this.typed(event));
    canvas.addEventListener("blur", () => this.corner === null && this.cancel());
    new ResizeObserver(() => this.paint()).observe(canvas);
  }

  /**
   * @param {number} width of the picture in pixels
   * @param {number} height of the picture in pixels
   * @param {Track[]} tracks
   */
  show(width, height, tracks) {
    this.width = width;
    this.height = height;
    this.tracks = tracks;
    this.paint();
  }

  /** How many pixels of the screen one of the picture takes, and where the picture begins. */
  layout() {
    const { clientWidth, clientHeight } = this.canvas;
    const scale = Math.min(clientWidth / (this.width || 1), clientHeight / (this.height || 1)) || 1;
    return {
      scale,
      left: (clientWidth - scale * this.width) / 2,
      top: (clientHeight - scale * this.height) / 2,
    };
  }

  /** @param {PointerEvent} event @returns {{ x: number, y: number }} in pixels of the picture, inside it */
  position(event) {
    const { scale, left, top } = this.layout();
    const bounds = this.canvas.getBoundingClientRect();
    const x = (event.clientX - bounds.left - left) / scale;
    const y = (event.clientY - bounds.top - top) / scale;
    return { x: Math.min(Math.max(x, 0), this.width), y: Math.min(Math.max(y, 0), this.height) };
  }

  /** @param {PointerEvent} event */
  pressed(event) {
    if (!this.enabled || this.corner || event.button !== 0) return;
    event.preventDefault();
    this.canvas.focus({ preventScroll: true });
    this.canvas.setPointerCapture(event.pointerId);
    if (this.draft === null) this.listener.onBegin();
    this.corner = { ...this.position(event), pointer: event.pointerId };
    this.draft = { x: this.corner.x, y: this.corner.y, w: 0, h: 0 };
    this.paint();
  }

  /** @param {PointerEvent} event */
  dragged(event) {
    if (event.pointerId !== this.corner?.pointer) return;
    const { x, y } = this.position(event);
    this.draft = {
      x: Math.min(x, this.corner.x),
      y: Math.min(y, this.corner.y),
      w: Math.abs(x - this.corner.x),
      h: Math.abs(y - this.corner.y),
    };
    this.paint();
  }

  /** @param {PointerEvent} event */
  released(event) {
    if (event.pointerId !== this.corner?.pointer || this.draft === null) return;
    this.dragged(event);
    const { scale } = this.layout();
    if (Math.min(this.draft.w, this.draft.h) * scale < SMALLEST) this.cancel();
    else this.finish();
  }

  /** @param {KeyboardEvent} event */
  typed(event) {
    if (!this.enabled || event.ctrlKey || event.metaKey || event.altKey) return;
    const step = Math.max(1, Math.round(Math.min(this.width, this.height) / 40));
    const [dx, dy] = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[
      event.key
    ] ?? [0, 0];
    if (event.key === "Enter" || event.key === " ") {
      if (this.draft) this.finish();
      else this.place();
    } else if (event.key === "Escape" && this.draft) {
      this.cancel();
      this.listener.onSay("Drawing was cancelled.");
    } else if (this.draft && (dx || dy)) {
      if (event.shiftKey) this.resize(dx, dy);
      else this.move(dx, dy);
    } else {
      return; // not ours: Tab, say
    }
    event.preventDefault();
  }

  /** Begins a box in the middle of the picture, for the keyboard. */
  place() {
    const side = Math.min(this.width, this.height) / 4;
    this.listener.onBegin();
    this.draft = { x: (this.width - side) / 2, y: (this.height - side) / 2, w: side, h: side };
    this.paint();
    this.describe("Move it with the arrow keys, resize it with Shift and the arrow keys, then press Enter.");
  }

  /** @param {number} dx @param {number} dy both in pixels of the picture */
  move(dx, dy) {
    if (!this.draft) return;
    this.draft.x = Math.min(Math.max(this.draft.x + dx, 0), this.width - this.draft.w);
    this.draft.y = Math.min(Math.max(this.draft.y + dy, 0), this.height - this.draft.h);
    this.paint();
    this.describe();
  }

  /** @param {number} dw @param {number} dh both in pixels of the picture */
  resize(dw, dh) {
    if (!this.draft) return;
    this.draft.w = Math.min(Math.max(this.draft.w + dw, SMALLEST), this.width - this.draft.x);
    this.draft.h = Math.min(Math.max(this.draft.h + dh, SMALLEST), this.height - this.draft.y);
    this.paint();
    this.describe();
  }

  /** @param {string} more */
  describe(more = "") {
    if (!this.draft) return;
    const { x, y, w, h } = this.draft;
    const [left, top, wide, high] = [x, y, w, h].map(Math.round);
    this.listener.onSay(`Box at ${left}, ${top}, ${wide} by ${high} pixels. ${more}`);
  }

  finish() {
    const box = this.draft;
    this.draft = this.corner = null;
    this.paint();
    if (box) this.listener.onBox(box);
  }

  cancel() {
    if (this.draft === null) return;
    this.draft = this.corner = null;
    this.paint();
    this.listener.onCancel();
  }

  paint() {
    const { canvas, surface } = this;
    const density = globalThis.devicePixelRatio || 1;
    const width = Math.round(canvas.clientWidth * density);
    const height = Math.round(canvas.clientHeight * density);
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    surface.setTransform(1, 0, 0, 1, 0, 0);
    surface.clearRect(0, 0, width, height);
    if (this.width === 0) return;
    surface.scale(density, density);
    for (const track of this.tracks) this.paintTrack(track);
    if (this.draft) this.paintDraft(this.draft);
  }

  /** @param {Track} track */
  paintTrack(track) {
    const { x, y, w, h } = this.onScreen(track.box);
    const colour = colourOf(track);
    this.surface.setLineDash(track.state === "lost" ? [10, 7] : []);
    this.outline(x, y, w, h, colour);
    this.surface.setLineDash([]);
    const number = this.tracks.length > 1 ? `${track.id}  ` : "";
    this.label(`${number}${track.state} ${track.score.toFixed(2)}`, x, y, colour);
  }

  /** @param {Box} draft */
  paintDraft(draft) {
    const { x, y, w, h } = this.onScreen(draft);
    this.surface.fillStyle = "rgb(255 255 255 / 0.18)";
    this.surface.fillRect(x, y, w, h);
    this.surface.setLineDash([6, 4]);
    this.outline(x, y, w, h, "#ffffff");
    this.surface.setLineDash([]);
  }

  /**
   * @param {number} x
   * @param {number} y
   * @param {number} w
   * @param {number} h all in pixels of the screen
   * @param {string} colour
   */
  outline(x, y, w, h, colour) {
    for (const [lineWidth, strokeStyle] of /** @type {[number, string][]} */ ([[5, "#000000"], [3, colour]])) {
      Object.assign(this.surface, { lineWidth, strokeStyle, lineJoin: "round" });
      this.surface.strokeRect(x, y, w, h);
    }
  }

  /**
   * Black text on a plate above the corner, or below it where there is no room.
   * @param {string} text
   * @param {number} x
   * @param {number} y
   * @param {string} colour
   */
  label(text, x, y, colour) {
    const { surface, canvas } = this;
    surface.font = "600 14px system-ui, sans-serif";
    const [wide, high] = [surface.measureText(text).width + 12, 22];
    const left = Math.min(Math.max(x - 2, 0), Math.max(canvas.clientWidth - wide, 0));
    const top = y < high + 2 ? Math.max(y, 0) + 2 : y - high - 2;
    surface.fillStyle = colour;
    surface.beginPath();
    surface.roundRect(left, top, wide, high, 4);
    surface.fill();
    surface.fillStyle = "#000000";
    surface.textBaseline = "middle";
    surface.fillText(text, left + 6, top + high / 2 + 1);
  }

  /** @param {Box} box in pixels of the picture @returns {Box} in pixels of the screen */
  onScreen(box) {
    const { scale, left, top } = this.layout();
    return { x: left + scale * box.x, y: top + scale * box.y, w: scale * box.w, h: scale * box.h };
  }
}
