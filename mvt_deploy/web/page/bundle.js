// @ts-check
/**
 * What the site holds: its description, and files that are checked against their hashes before anything uses them.
 */

/** A file is missing or is not the one that the description names. */
export class BundleError extends Error {}

/**
 * @typedef {object} SiteFile
 * @property {string} file path within the site; a name that ends in `.gz` is unpacked while it is read
 * @property {string} sha256 hex digest of the unpacked bytes
 * @property {number} bytes size of the unpacked file
 * @property {number} download size of the file as it lies in the site
 */

/**
 * A pair of graphs for an execution provider.
 * @typedef {object} Choice
 * @property {string} provider `wasm` or `webgpu`
 * @property {string} precision `fp32`, `fp16` or `int8`
 * @property {boolean} gated its trajectories passed the bundle's gate
 * @property {SiteFile} template
 * @property {SiteFile} search
 * @property {number} search_size side of the search crop in pixels
 * @property {number} search_factor search window's side, as a multiple of the target's size
 */

/**
 * `site.json`, which `mvt-deploy package --web` writes.
 * @typedef {object} Site
 * @property {string} name of the bundle
 * @property {string} version of mvt-deploy
 * @property {{ template_size: number, template_factor: number }} tracker
 * @property {{ version: string, wasm: Runtime, webgpu: Runtime }} runtime ONNX Runtime Web
 * @property {Choice[]} choices in the order in which they are preferred where they are equally fast
 * @property {Check} check
 * @property {Clip} clip
 */

/** @typedef {{ module: string, binary: SiteFile }} Runtime */

/**
 * Crops of the shipped photographs, template and search crop after one another, and ONNX Runtime's answers to them.
 * @typedef {object} Check
 * @property {SiteFile} crops
 * @property {number} search_size side of the search crops in pixels
 * @property {number[][]} answers per pair: centre x, centre y, width, height as fractions of the crop, and the score
 */

/**
 * The sample clip: JPEG pictures after one another.
 * @typedef {object} Clip
 * @property {SiteFile} pictures
 * @property {number[]} lengths bytes of each picture
 * @property {number} fps
 * @property {[number, number, number, number]} box `x, y, w, h` of the target in the first picture
 */

/**
 * Reads the site's description.
 * @param {URL} root of the site
 * @returns {Promise<Site>}
 */
export async function openSite(root) {
  const response = await get(new URL("site.json", root));
  return response.json();
}

/**
 * Reads a file of the site and compares it with its hash.
 * @param {URL} root of the site
 * @param {SiteFile} wanted
 * @param {(bytes: number) => void} progress told how many bytes have arrived since the last call
 * @returns {Promise<Uint8Array<ArrayBuffer>>}
 */
export async function readVerified(root, wanted, progress = () => {}) {
  const url = new URL(wanted.file, root);
  const packed = await collect(await get(url), wanted, progress);
  // A server may have unpacked the file already, as its name invites it to.
  const content = packed[0] === 0x1f && packed[1] === 0x8b ? await unpack(packed, wanted.file) : packed;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
  const hex = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (content.length !== wanted.bytes || hex !== wanted.sha256) {
    await forget(url);
    throw new BundleError(
      `The file ${wanted.file} is not the one that this site was made with, so it is not used: reload the page.`,
    );
  }
  return content;
}

/** @param {URL} url */
async function get(url) {
  let response;
  try {
    response = await fetch(url, { cache: "no-cache" }); // a new site has new files under the same names
  } catch {
    throw new BundleError(`The file ${url.pathname} cannot be loaded: check the connection and reload the page.`);
  }
  if (!response.ok) {
    throw new BundleError(`The file ${url.pathname} cannot be loaded (HTTP ${response.status}): reload the page.`);
  }
  return response;
}

/**
 * @param {Response} response
 * @param {SiteFile} wanted
 * @param {(bytes: number) => void} progress
 */
async function collect(response, wanted, progress) {
  const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
  /** @type {Uint8Array[]} */
  const parts = [];
  let total = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    total += value.length;
    if (total > wanted.bytes + wanted.download) break; // not the file: no need to read all of it
    progress(value.length);
  }
  const whole = new Uint8Array(total);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/**
 * @param {Uint8Array<ArrayBuffer>} packed
 * @param {string} file
 */
async function unpack(packed, file) {
  try {
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  } catch {
    throw new BundleError(`The file ${file} is damaged, so it is not used: reload the page.`);
  }
}

/**
 * Drops a file from the offline copy, so that it is asked for again.
 * @param {URL} url
 */
async function forget(url) {
  if (!("caches" in globalThis)) return;
  for (const name of await caches.keys()) {
    await (await caches.open(name)).delete(url);
  }
}
