// Finding faces with YuNet (Wu et al. 2023), fetched once from the Hugging Face Hub and used only if its SHA-256 is right.

import { overlap } from "./faces.js";

const SIDE = 640; // the file's own input size
const CACHE = "facial-expression-lab";

async function sha256(bytes) {
  const digest = await crypto.subtle.digest("SHA-256", bytes);
  return Array.from(new Uint8Array(digest), (b) => b.toString(16).padStart(2, "0")).join("");
}

/**
 * The file's bytes, from the browser's cache or from the Hub.
 * @throws {Error} no network, or a file that is not the expected one
 */
export async function fetchYunet({ url, sha256: expected }) {
  const store = "caches" in self ? await caches.open(CACHE).catch(() => null) : null;
  const kept = store && (await store.match(url));
  if (kept) {
    const bytes = await kept.arrayBuffer();
    if ((await sha256(bytes)) === expected) return bytes;
    await store.delete(url);
  }
  const answer = await fetch(url, { credentials: "omit", referrerPolicy: "no-referrer" });
  if (!answer.ok) throw new Error(`the Hub answered ${answer.status}`);
  const bytes = await answer.arrayBuffer();
  if ((await sha256(bytes)) !== expected) throw new Error("the file has another checksum than expected");
  if (store) await store.put(url, new Response(bytes.slice(0))).catch(() => {});
  return bytes;
}

/** The picture on a square of 640 px, blue first, zeros below or beside it; and how it was scaled. */
function frame(picture) {
  const { data, width, height } = picture;
  const scale = SIDE / Math.max(width, height);
  const [w, h] = [Math.round(width * scale), Math.round(height * scale)];
  const out = new Float32Array(3 * SIDE * SIDE);
  for (let y = 0; y < h; y++) {
    const v = Math.min(Math.max((y + 0.5) / scale - 0.5, 0), height - 1);
    const y0 = Math.floor(v);
    const y1 = Math.min(y0 + 1, height - 1);
    for (let x = 0; x < w; x++) {
      const u = Math.min(Math.max((x + 0.5) / scale - 0.5, 0), width - 1);
      const x0 = Math.floor(u);
      const x1 = Math.min(x0 + 1, width - 1);
      const [a, b, c, d] = [y0 * width + x0, y0 * width + x1, y1 * width + x0, y1 * width + x1];
      for (let channel = 0; channel < 3; channel++) {
        const above = data[4 * a + channel] * (1 - u + x0) + data[4 * b + channel] * (u - x0);
        const below = data[4 * c + channel] * (1 - u + x0) + data[4 * d + channel] * (u - x0);
        out[((2 - channel) * SIDE + y) * SIDE + x] = above * (1 - v + y0) + below * (v - y0);
      }
    }
  }
  return { pixels: out, scale };
}

const limit = (v) => Math.min(Math.max(v, 0), 1);

/** Faces as boxes in pixels of the picture, the largest first. */
export async function findFaces(ort, session, picture, minScore = 0.6) {
  const { pixels, scale } = frame(picture);
  const answer = await session.run({ input: new ort.Tensor("float32", pixels, [1, 3, SIDE, SIDE]) });
  const found = [];
  for (const stride of [8, 16, 32]) {
    const columns = SIDE / stride;
    const [cls, obj, bbox] = ["cls", "obj", "bbox"].map((name) => answer[`${name}_${stride}`].data);
    for (let i = 0; i < cls.length; i++) {
      const score = Math.sqrt(limit(cls[i]) * limit(obj[i]));
      if (score < minScore) continue;
      const x = ((i % columns) + bbox[4 * i]) * stride;
      const y = (Math.floor(i / columns) + bbox[4 * i + 1]) * stride;
      const [w, h] = [Math.exp(bbox[4 * i + 2]) * stride, Math.exp(bbox[4 * i + 3]) * stride];
      found.push({ score, box: [x - w / 2, y - h / 2, x + w / 2, y + h / 2] });
    }
  }
  const kept = [];
  for (const face of found.sort((a, b) => b.score - a.score)) {
    if (kept.every((k) => overlap(k.box, face.box) < 0.3)) kept.push(face);
  }
  const clip = (v, top) => Math.min(Math.max(Math.round(v / scale), 0), top);
  return kept
    .map(({ box }) => [
      clip(box[0], picture.width),
      clip(box[1], picture.height),
      clip(box[2], picture.width),
      clip(box[3], picture.height),
    ])
    .filter((box) => box[2] > box[0] && box[3] > box[1])
    .sort((a, b) => (b[2] - b[0]) * (b[3] - b[1]) - (a[2] - a[0]) * (a[3] - a[1]));
}
