// @ts-check
/**
 * The fastest execution provider that gives the right answers on this device, found by trying: the rule of
 * `mvt_deploy/backends/auto.py`.
 */

import { readVerified } from "./bundle.js";

/** @typedef {import("./backend.js").Backend} Backend */
/** @typedef {import("./bundle.js").Choice} Choice */
/** @typedef {import("./bundle.js").Site} Site */

/** Largest difference of a box (fraction of the crop) or a score from native ONNX Runtime's fp32 answer. */
export const TOLERANCE = 0.02;
const ROUNDS = 5;

/** @typedef {{ label: string, milliseconds: number, difference: number, refused: string }} Trial */

/**
 * @typedef {object} Candidate
 * @property {string} label names it where it cannot be opened
 * @property {number} download bytes that opening it downloads
 * @property {() => Promise<Backend>} open
 * @property {boolean} gated its trajectories passed the bundle's gate, so that only the median of the answers must agree
 */

/**
 * Opens the candidates, compares their answers on the shipped photographs with those of native ONNX Runtime, and times
 * them round by round. Throws an error if none agrees.
 * @param {Candidate[]} candidates
 * @param {URL} root of the site
 * @param {Site} site
 * @returns {Promise<{ best: Backend, trials: Trial[] }>} the fastest that agrees; the others are closed
 */
export async function fastest(candidates, root, site) {
  const pairs = await readPairs(root, site);
  /** @type {Trial[]} */
  const trials = [];
  /** @type {{ backend: Backend, trial: Trial }[]} */
  const running = [];
  for (const candidate of candidates) {
    const trial = { label: candidate.label, milliseconds: Infinity, difference: NaN, refused: "" };
    trials.push(trial);
    try {
      const backend = await candidate.open();
      trial.label = backend.label;
      trial.difference = await difference(backend, pairs, candidate.gated);
      if (trial.difference <= TOLERANCE) {
        running.push({ backend, trial });
      } else {
        trial.refused = `its answers differ by ${trial.difference.toPrecision(2)}`;
        await backend.close();
      }
    } catch (error) {
      trial.refused = error instanceof Error ? error.message : String(error);
    }
  }
  if (running.length === 0) {
    throw new Error(`The tracker does not run in this browser: ${trials.map((trial) => trial.refused).join("; ")}`);
  }
  if (running.length > 1) await time(running, pairs);
  running.sort((a, b) => a.trial.milliseconds - b.trial.milliseconds);
  const [best, ...others] = running;
  for (const other of others) await other.backend.close();
  return { best: best.backend, trials };
}

/** @typedef {{ template: Uint8Array, search: Uint8Array, answer: number[] }} Pair */

/**
 * @param {URL} root of the site
 * @param {Site} site
 * @returns {Promise<Pair[]>}
 */
async function readPairs(root, site) {
  const { crops, answers, search_size: side } = site.check;
  const data = await readVerified(root, crops);
  const template = 3 * site.tracker.template_size ** 2;
  const search = 3 * side ** 2;
  return answers.map((answer, index) => {
    const at = index * (template + search);
    return {
      template: data.subarray(at, at + template),
      search: data.subarray(at + template, at + template + search),
      answer,
    };
  });
}

/**
 * How far a backend is from the answers: the largest difference of the pairs, or their median.
 * @param {Backend} backend
 * @param {Pair[]} pairs
 * @param {boolean} median
 */
async function difference(backend, pairs, median) {
  const each = [];
  for (const { template, search, answer } of pairs) {
    const { box, score } = await backend.search(search, 1, await backend.template(template, 1));
    each.push(Math.max(...[...box, ...score].map((value, index) => Math.abs(value - answer[index]))));
  }
  each.sort((a, b) => a - b);
  return median ? (each[(each.length - 1) >> 1] + each[each.length >> 1]) / 2 : each[each.length - 1];
}

/**
 * Times single searches, the backends taking turns so that a busy moment meets them all.
 * @param {{ backend: Backend, trial: Trial }[]} running
 * @param {Pair[]} pairs
 */
async function time(running, pairs) {
  const { template, search } = pairs[0];
  const features = await Promise.all(running.map(({ backend }) => backend.template(template, 1)));
  /** @type {number[][]} */
  const taken = running.map(() => []);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [index, { backend }] of running.entries()) {
      const began = performance.now();
      await backend.search(search, 1, features[index]);
      taken[index].push(performance.now() - began);
    }
  }
  running.forEach(({ trial }, index) => {
    trial.milliseconds = taken[index].sort((a, b) => a - b)[ROUNDS >> 1];
  });
}
