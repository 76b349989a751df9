// Faces from picture to picture: which is which, and probabilities that do not flicker.

const TIME_CONSTANT_S = 0.25;
const HYSTERESIS = 0.08;

/** Intersection over union of two boxes (left, top, right, bottom). */
export function overlap(a, b) {
  const w = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
  const h = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  const area = (box) => (box[2] - box[0]) * (box[3] - box[1]);
  return w > 0 && h > 0 ? (w * h) / (area(a) + area(b) - w * h) : 0;
}

/** Index of the largest. */
export const best = (values) => values.indexOf(Math.max(...values));

/**
 * New probabilities, each smoothed with those of the face that was there before.
 * @param {{box: number[], probs: number[], shown: number}[]} before
 * @param {{box: number[], probs: number[]}[]} found
 * @param {number} seconds since then
 */
export function follow(before, found, seconds) {
  const keep = Math.exp(-seconds / TIME_CONSTANT_S);
  const left = [...before];
  return found.map(({ box, probs }) => {
    const rank = left.map((face) => overlap(face.box, box));
    const i = best(rank);
    if (!(rank[i] > 0.2)) return { box, probs, shown: best(probs) };
    const [old] = left.splice(i, 1);
    const smooth = probs.map((p, k) => keep * old.probs[k] + (1 - keep) * p);
    const top = best(smooth);
    const shown = smooth[top] - smooth[old.shown] > HYSTERESIS ? top : old.shown;
    return { box: box.map((v, k) => Math.round(0.5 * old.box[k] + 0.5 * v)), probs: smooth, shown };
  });
}
