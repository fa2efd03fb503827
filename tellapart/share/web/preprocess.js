// What Python's `preprocess` does to a photo, with the same crops, filters and rounding, so that a model sees the same pixels.
// Images are { data, width, height, bands }, with `bands` bytes a pixel: 3 for RGB, 1 for grey.

const sinc = x => x ? Math.sin(Math.PI * x) / (Math.PI * x) : 1;

// Pillow's filters by their numbers: support, and weight at the distance x
const FILTERS = {
  1: [3, x => Math.abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0], // Lanczos
  2: [1, x => Math.max(0, 1 - Math.abs(x))], // bilinear
  3: [2, x => { // bicubic, with a = -1/2
    x = Math.abs(x);
    return x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? ((-.5 * x + 2.5) * x - 4) * x + 2 : 0;
  }],
  4: [.5, x => x > -.5 && x <= .5 ? 1 : 0], // box
  5: [1, x => Math.abs(x) < 1 ? sinc(x) * (Math.fround(.54) + Math.fround(.46) * Math.cos(Math.PI * x)) : 0], // Hamming, as Pillow rounds it
};
const BITS = 22; // of the fraction in weights

// For each of `to` pixels: the first of `from` pixels that it is made of, and their weights in fixed point
function weights(from, to, filter) {
  const [radius, weight] = FILTERS[filter], scale = from / to, wide = Math.max(scale, 1), support = radius * wide;
  return Array.from({ length: to }, (_, i) => {
    const center = (i + .5) * scale, first = Math.max(Math.trunc(center - support + .5), 0);
    const end = Math.min(Math.trunc(center + support + .5), from);
    const exact = Array.from({ length: end - first }, (_, j) => weight((j + first - center + .5) * (1 / wide))); // as Pillow computes it, to the last bit
    const sum = exact.reduce((a, b) => a + b, 0);
    return { first, weights: Int32Array.from(exact, o => { // rounded away from zero
      const fixed = o / sum * 2 ** BITS;
      return Math.trunc(fixed < 0 ? fixed - .5 : fixed + .5);
    }) };
  });
}

// An image with another width or height; a pixel of the other axis is `step` numbers away
function resample({ data, width, height, bands }, size, filter, horizontal) {
  const [w, h] = horizontal ? [size, height] : [width, size];
  const out = new Uint8ClampedArray(w * h * bands), lines = weights(horizontal ? width : height, size, filter);
  const step = horizontal ? bands : width * bands;
  for (let y = 0, to = 0; y < h; y++) for (let x = 0; x < w; x++) {
    const { first, weights } = lines[horizontal ? x : y];
    const from = horizontal ? (y * width + first) * bands : (first * width + x) * bands;
    for (let band = 0; band < bands; band++, to++) {
      let sum = 1 << BITS - 1;
      for (let i = 0, at = from + band; i < weights.length; i++, at += step) sum += data[at] * weights[i];
      out[to] = sum >> BITS;
    }
  }
  return { data: out, width: w, height: h, bands };
}

// Which of `from` pixels each of `to` takes: a sum, as in Pillow, since it rounds otherwise than a product
function positions(from, to) {
  let at = from / to * .5;
  return Array.from({ length: to }, () => {
    const here = Math.trunc(at);
    at += from / to;
    return here;
  });
}

function nearest({ data, width, height, bands }, w, h) {
  const out = new Uint8ClampedArray(w * h * bands), columns = positions(width, w), rows = positions(height, h);
  for (let y = 0, to = 0; y < h; y++) for (let x = 0; x < w; x++) {
    const from = (rows[y] * width + columns[x]) * bands;
    for (let band = 0; band < bands; band++) out[to++] = data[from + band];
  }
  return { data: out, width: w, height: h, bands };
}

const grey = ([r, g, b]) => (19595 * r + 38470 * g + 7471 * b + 0x8000) >> 16;

function toGrey({ data, width, height }) {
  const out = new Uint8ClampedArray(width * height);
  for (let i = 0; i < out.length; i++) out[i] = grey([data[3 * i], data[3 * i + 1], data[3 * i + 2]]);
  return { data: out, width, height, bands: 1 };
}

// Which of `n` pixels stands at `i`, which may be outside; -1 for none
function padded(i, n, pad) {
  if (i >= 0 && i < n) return i;
  if (pad === "edge") return i < 0 ? 0 : n - 1;
  if (pad !== "reflect") return -1;
  if (n === 1) return 0;
  const period = 2 * (n - 1), at = ((i % period) + period) % period;
  return at < n ? at : period - at;
}

// The rectangle of `w` x `h` at `left`, `top`; `pad` says what lies outside: "constant" (black), "edge", "reflect", or a colour
function cropPad({ data, width, height, bands }, w, h, left, top, pad) {
  const x0 = Math.max(left, 0), y0 = Math.max(top, 0); // what lies outside is made from what lies inside
  const inside = [Math.min(left + w, width) - x0, Math.min(top + h, height) - y0];
  const colour = Array.isArray(pad) ? bands === 1 ? [grey(pad)] : pad : [0, 0, 0];
  const columns = Array.from({ length: w }, (_, x) => padded(x + left - x0, inside[0], pad));
  const out = new Uint8ClampedArray(w * h * bands);
  for (let y = 0, to = 0; y < h; y++) {
    const row = padded(y + top - y0, inside[1], pad);
    for (let x = 0; x < w; x++) {
      const from = row < 0 || columns[x] < 0 ? -1 : ((row + y0) * width + columns[x] + x0) * bands;
      for (let band = 0; band < bands; band++) out[to++] = from < 0 ? colour[band] : data[from + band];
    }
  }
  return { data: out, width: w, height: h, bands };
}

function resize(image, [w, h], method, pad, filter) {
  if (method !== "squish") {
    const scales = [image.width / w, image.height / h], scale = method === "pad" ? Math.max(...scales) : Math.min(...scales);
    const size = [Math.trunc(scale * w), Math.trunc(scale * h)];
    image = cropPad(image, ...size, Math.trunc((image.width - size[0]) / 2), Math.trunc((image.height - size[1]) / 2), pad);
  }
  if (filter === 0) return image.width === w && image.height === h ? image : nearest(image, w, h);
  const down = image.height - h, heightFirst = down > 0 && down > 2 * (image.width - w); // as Pillow 13 does it; each step rounds
  for (const horizontal of heightFirst ? [false, true] : [true, false]) {
    const size = horizontal ? w : h;
    if ((horizontal ? image.width : image.height) !== size) image = resample(image, size, filter, horizontal);
  }
  return image;
}

// The matrix that averages `n` numbers to `pooled`, and interpolates these to `m`, as rows of [index, weight]
function interpolation(n, m, pooled) {
  return Array.from({ length: m }, (_, i) => {
    const row = new Map(), at = m > 1 ? i * (pooled - 1) / (m - 1) : 0;
    for (const j of [Math.floor(at), Math.floor(at) + 1]) {
      const weight = 1 - Math.abs(at - j);
      if (j >= pooled || weight <= 0) continue;
      const first = Math.floor(j * n / pooled), end = Math.ceil((j + 1) * n / pooled);
      for (let k = first; k < end; k++) row.set(k, (row.get(k) ?? 0) + weight / (end - first));
    }
    return [...row];
  });
}

// An image of floats from 0 to 1, resized to `size` after average pooling to `pool`, if there is one
function interpolate({ data, width, height, bands }, [w, h], pool) {
  const down = interpolation(height, h, pool ? pool[1] : height), across = interpolation(width, w, pool ? pool[0] : width);
  const lines = new Float32Array(h * width * bands), out = new Float32Array(h * w * bands), row = width * bands;
  down.forEach((parts, y) => {
    for (const [from, weight] of parts) for (let i = 0; i < row; i++) lines[y * row + i] += weight * data[from * row + i];
  });
  for (let y = 0; y < h; y++) across.forEach((parts, x) => {
    for (const [from, weight] of parts) for (let band = 0; band < bands; band++)
      out[(y * w + x) * bands + band] += weight * lines[y * row + from * bands + band];
  });
  return { data: out, width: w, height: h, bands };
}

const toFloats = o => o.data instanceof Float32Array ? o : { ...o, data: Float32Array.from(o.data, v => v / 255) };

// The model's input for an RGB image: Float32Array of (channels, height, width), normalized
export function preprocess(image, meta) {
  if (meta.mode === "L") image = toGrey(image);
  for (const { step, size, method, pad, resample: filter, pool } of meta.preprocess) {
    if (step === "resize") image = resize(image, size, method, pad, filter);
    if (step === "center_crop") {
      image = cropPad(image, ...size, Math.floor((image.width - size[0]) / 2), Math.floor((image.height - size[1]) / 2), pad);
    }
    if (step === "interpolate") image = interpolate(toFloats(image), size, pool);
  }
  const { data, width, height, bands } = image, white = data instanceof Float32Array ? 1 : 255, pixels = width * height;
  const out = new Float32Array(meta.mean.length * pixels);
  meta.mean.forEach((mean, channel) => {
    const factor = 1 / (white * meta.std[channel]), offset = mean / meta.std[channel], band = channel % bands;
    for (let i = 0; i < pixels; i++) out[channel * pixels + i] = data[i * bands + band] * factor - offset;
  });
  return out;
}
