// @ts-check
/**
 * The service worker: keeps the site for use without a network, and adds the headers that a static host leaves out:
 * cross-origin isolation, which WASM threads need, and the content security policy, which workers take from a header.
 */

const DIGEST = "{{ digest }}"; // of the site's files; `mvt-deploy package --web` fills it in
const POLICY =
  "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'; " +
  "img-src 'self' blob:; media-src 'self' blob:; style-src 'self'; manifest-src 'self'; base-uri 'none'; " +
  "form-action 'none'";

const scope = /** @type {any} */ (self);
const PREFIX = `mvt-deploy ${scope.registration.scope} `; // other sites of the same origin keep theirs
const CACHE = PREFIX + DIGEST;

scope.addEventListener("install", (/** @type {any} */ event) => event.waitUntil(install()));
scope.addEventListener("activate", (/** @type {any} */ event) => event.waitUntil(activate()));
scope.addEventListener("fetch", (/** @type {any} */ event) => {
  const { request } = event;
  if (request.method === "GET" && new URL(request.url).origin === scope.location.origin) {
    event.respondWith(answer(event));
  }
});

/** Keeps the page and its modules; larger files are kept once they were asked for. */
async function install() {
  const { shell } = await (await fetch("site.json", { cache: "no-cache" })).json();
  const cache = await caches.open(CACHE);
  const files = ["./", "site.json", ...shell];
  await cache.addAll(files.map((file) => new Request(file, { cache: "no-cache" })));
  await scope.skipWaiting();
}

/** Drops what an earlier version of the site kept, and serves pages that are open already. */
async function activate() {
  for (const name of await caches.keys()) {
    if (name.startsWith(PREFIX) && name !== CACHE) await caches.delete(name);
  }
  await scope.clients.claim();
}

/** @param {any} event */
async function answer(event) {
  const cache = await caches.open(CACHE);
  const known = await cache.match(event.request, { ignoreSearch: event.request.mode === "navigate" });
  if (known) return isolated(known);
  const response = await fetch(event.request);
  if (response.status === 200) {
    // Where the device has no room for a file, the page works all the same, but not without a network.
    event.waitUntil(cache.put(event.request, response.clone()).catch(() => {}));
  }
  return isolated(response);
}

/** @param {Response} response */
function isolated(response) {
  const headers = new Headers(response.headers);
  headers.set("Cross-Origin-Opener-Policy", "same-origin");
  headers.set("Cross-Origin-Embedder-Policy", "require-corp");
  headers.set("Cross-Origin-Resource-Policy", "same-origin");
  headers.set("Content-Security-Policy", POLICY);
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
}
