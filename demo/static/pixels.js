// From pixels to what the net takes: the same numbers as fer/faces/crop.py and fer/transforms.py give.

/** Python's round: halves go to the even neighbour. */
export function roundHalfEven(x) {
  const low = Math.floor(x);
  const rest = x - low;
  if (rest !== 0.5) return Math.round(x);
  return low % 2 === 0 ? low : low + 1;
}

/**
 * The square around a box with its margin; where it leaves the picture, the edge pixels are repeated.
 * @param {{data: Uint8ClampedArray, width: number, height: number}} picture RGBA
 * @param {number[]} box left, top, right, bottom in pixels, right and bottom exclusive
 * @returns {{data: Uint8Array, side: number}} grey (ITU-R BT.601, in OpenCV's fixed point)
 */
export function greySquare(picture, box, margin) {
  const [left, top, right, bottom] = box;
  const side = Math.max(roundHalfEven(Math.max(right - left, bottom - top) * (1 + 2 * margin)), 1);
  const x0 = roundHalfEven((left + right - side) / 2);
  const y0 = roundHalfEven((top + bottom - side) / 2);
  const grey = new Uint8Array(side * side);
  for (let y = 0; y < side; y++) {
    const row = Math.min(Math.max(y0 + y, 0), picture.height - 1) * picture.width;
    for (let x = 0; x < side; x++) {
      const i = 4 * (row + Math.min(Math.max(x0 + x, 0), picture.width - 1));
      const [r, g, b] = [picture.data[i], picture.data[i + 1], picture.data[i + 2]];
      grey[y * side + x] = (r * 9798 + g * 19235 + b * 3735 + 16384) >> 15;
    }
  }
  return { data: grey, side };
}

/** A grey square at another size, as OpenCV does it: areas when shrinking, linear in fixed point when growing. */
export function resize(square, to) {
  if (square.side === to) return square;
  return { data: square.side > to ? shrink(square, to) : grow(square, to), side: to };
}

function shrink({ data, side }, to) {
  const scale = side / to;
  const plan = Array.from({ length: to }, (_, i) => {
    const [start, end] = [i * scale, Math.min((i + 1) * scale, side)];
    const taps = [];
    for (let j = Math.floor(start); j < end; j++) {
      const part = Math.min(j + 1, end) - Math.max(j, start);
      if (part > 1e-9) taps.push([j, part / (end - start)]);
    }
    return taps;
  });
  const wide = new Float64Array(side * to);
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < to; x++) {
      let sum = 0;
      for (const [j, weight] of plan[x]) sum += weight * data[y * side + j];
      wide[y * to + x] = sum;
    }
  }
  const round = scale === 2 ? (v) => Math.floor(v + 0.5) : roundHalfEven;
  const out = new Uint8Array(to * to);
  for (let y = 0; y < to; y++) {
    for (let x = 0; x < to; x++) {
      let sum = 0;
      for (const [j, weight] of plan[y]) sum += weight * wide[j * to + x];
      out[y * to + x] = round(sum);
    }
  }
  return out;
}

function grow({ data, side }, to) {
  const plan = Array.from({ length: to }, (_, i) => {
    const at = Math.min(Math.max(((i + 0.5) * side) / to - 0.5, 0), side - 1);
    const low = Math.floor(at);
    const share = roundHalfEven((at - low) * 2048);
    return [low, Math.min(low + 1, side - 1), 2048 - share, share];
  });
  const wide = new Int32Array(side * to);
  for (let y = 0; y < side; y++) {
    plan.forEach(([a, b, p, q], x) => (wide[y * to + x] = data[y * side + a] * p + data[y * side + b] * q));
  }
  const out = new Uint8Array(to * to);
  plan.forEach(([a, b, p, q], y) => {
    for (let x = 0; x < to; x++) {
      const [above, below] = [wide[a * to + x] >> 4, wide[b * to + x] >> 4];
      out[y * to + x] = (((p * above) >> 16) + ((q * below) >> 16) + 2) >> 2;
    }
  });
  return out;
}

/** The net's input of several boxes: uint8 (N, S, S), one after the other. */
export function prepare(picture, boxes, spec, margin) {
  const { size_px: size, resize_px: side } = spec;
  const skip = Math.floor((side - size) / 2);
  const out = new Uint8Array(boxes.length * size * size);
  boxes.forEach((box, n) => {
    const face = resize(greySquare(picture, box, margin), side).data;
    for (let y = 0; y < size; y++) {
      const start = (y + skip) * side + skip;
      out.set(face.subarray(start, start + size), (n * size + y) * size);
    }
  });
  return out;
}

/** Probabilities of each row of logits. */
export function softmax(logits, classes, temperature) {
  const rows = [];
  for (let i = 0; i < logits.length; i += classes) {
    const z = Array.from(logits.slice(i, i + classes), (v) => v / temperature);
    const top = Math.max(...z);
    const e = z.map((v) => Math.exp(v - top));
    const sum = e.reduce((a, b) => a + b, 0);
    rows.push(e.map((v) => v / sum));
  }
  return rows;
}
