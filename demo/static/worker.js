// Everything that takes time runs here, so that the page stays smooth: the net, and YuNet where it could be fetched.

import { fetchYunet, findFaces } from "./yunet.js";
import { prepare, softmax } from "./pixels.js";

let ort, net, about, finder;

async function start(settings) {
  about = settings;
  ort = await import("./vendor/ort.wasm.min.mjs");
  ort.env.wasm.wasmPaths = new URL("./vendor/", import.meta.url).href;
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency || 1, 4) : 1;
  ort.env.logLevel = "error";
  net = await open(new Uint8Array(await (await fetch(about.file)).arrayBuffer()));
  await classify(blank(), [[0, 0, 8, 8]]); // the first run is the slow one
}

const open = (bytes) => ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
const blank = () => ({ data: new Uint8ClampedArray(256), width: 8, height: 8 });

async function classify(picture, boxes, margin = 0) {
  if (!boxes.length) return [];
  const { size_px: size } = about.input;
  const faces = new ort.Tensor("uint8", prepare(picture, boxes, about.input, margin), [boxes.length, size, size]);
  const { logits } = await net.run({ faces });
  return softmax(logits.data, about.labels.length, about.temperature);
}

const tasks = {
  start,
  /** Fetch YuNet; the page goes on with its guide frame if that fails. */
  async fetchFinder() {
    finder = await open(new Uint8Array(await fetchYunet(about.yunet)));
    await findFaces(ort, finder, blank());
  },
  /**
   * Probabilities of the boxes given or, with `find`, of the largest `most` that YuNet finds; `leftOut` counts the
   * others. A guide frame is taken as it is.
   */
  async look({ picture, boxes, find, guide, most }) {
    const begun = performance.now();
    const found = find ? await findFaces(ort, finder, picture) : boxes;
    const seen = found.slice(0, most);
    const probs = await classify(picture, seen, guide ? 0 : about.margin);
    const leftOut = found.length - seen.length;
    return { faces: seen.map((box, i) => ({ box, probs: probs[i] })), leftOut, ms: performance.now() - begun };
  },
};

self.onmessage = async ({ data: { id, task, input } }) => {
  try {
    self.postMessage({ id, output: await tasks[task](input) });
  } catch (error) {
    self.postMessage({ id, error: error.message || String(error) });
  }
};
