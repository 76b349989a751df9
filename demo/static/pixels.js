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

/** For every target pixel its source pixels and their weights: areas when shrinking, linear when growing. */
function taps(from, to) {
  const scale = from / to;
  const out = [];
  for (let i = 0; i < to; i++) {
    const found = [];
    if (scale > 1) {
      const start = i * scale;
      const end = Math.min(start + scale, from);
      for (let j = Math.floor(start); j < end; j++) {
        const part = Math.min(j + 1, end) - Math.max(j, start);
        if (part > 1e-9) found.push([j, part / (end - start)]);
      }
    } else {
      const at = Math.min(Math.max((i + 0.5) * scale - 0.5, 0), from - 1);
      const low = Math.floor(at);
      const share = at - low;
      found.push([low, 1 - share]);
      if (share > 0) found.push([low + 1, share]);
    }
    out.push(found);
  }
  return out;
}

/** A grey square at another size. */
export function resize(square, to) {
  const { data, side } = square;
  if (side === to) return square;
  const plan = taps(side, to);
  const wide = new Float32Array(side * to);
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < to; x++) {
      let sum = 0;
      for (const [j, weight] of plan[x]) sum += weight * data[y * side + j];
      wide[y * to + x] = sum;
    }
  }
  const out = new Uint8Array(to * to);
  for (let y = 0; y < to; y++) {
    for (let x = 0; x < to; x++) {
      let sum = 0;
      for (const [j, weight] of plan[y]) sum += weight * wide[j * to + x];
      out[y * to + x] = Math.min(Math.max(roundHalfEven(sum), 0), 255);
    }
  }
  return { data: out, side: to };
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
