// A model and its thresholds: from a photo's pixels to a prediction, as Python's `Classifier` makes it
import { preprocess } from "./preprocess.js";

const NEIGHBOURS = 5; // that deep features are compared with

const POWERS = Array.from({ length: 32 }, (_, exponent) => 2 ** (exponent - 15)); // computed for each number, they took eight times as long

// float32 from float16, which not every browser has an array of
export function fromFloat16(buffer) {
  const halves = new Uint16Array(buffer), out = new Float32Array(halves.length);
  for (let i = 0; i < halves.length; i++) {
    const sign = halves[i] & 0x8000 ? -1 : 1, exponent = halves[i] >> 10 & 31, fraction = halves[i] & 1023;
    out[i] = sign * (exponent ? POWERS[exponent] * (1 + fraction / 1024) : 2 ** -24 * fraction);
  }
  return out;
}

// A layer's weights in 32 bits, as Python's `decode_weights` reads them
function decodeWeights(buffer, dtype, n, group) {
  if (dtype === "float32") return buffer;
  if (dtype === "float16") return fromFloat16(buffer).buffer;
  const end = 2 * Math.ceil(n / group), scales = fromFloat16(buffer.slice(0, end)), levels = new Int8Array(buffer, end), out = new Float32Array(n);
  for (let i = 0; i < n; i++) out[i] = levels[i] * scales[i / group | 0];
  return out.buffer;
}

export function softmax(logits) {
  const highest = Math.max(...logits), powers = Array.from(logits, o => Math.exp(o - highest)), sum = powers.reduce((a, b) => a + b, 0);
  return powers.map(o => o / sum);
}

const energy = logits => {
  const highest = Math.max(...logits);
  return highest + Math.log(Array.from(logits, o => Math.exp(o - highest)).reduce((a, b) => a + b, 0));
};

const percent = (p, digits = 0) => `${(100 * p).toFixed(digits)}%`;

function distinctPercents(a, b) {
  for (let digits = 0; ; digits++) {
    const texts = [percent(a, digits), percent(b, digits)];
    if (texts[0] !== texts[1] || digits === 8) return texts;
  }
}

export function unit(vector) {
  const length = Math.hypot(...vector) || 1e-9;
  return vector.map(o => o / length);
}

const dot = (a, b, offset) => {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[offset + i];
  return sum;
};

// Scores photos by their distance to training photos in two feature spaces; `arrays` are normalized already
class Detector {
  constructor({ n, n_shallow, mean, scale, loo_mean, loo_std }, vectors) {
    Object.assign(this, { n, nShallow: n_shallow, mean, scale, looMean: loo_mean, looStd: loo_std, vectors });
    this.width = vectors.length / n;
  }

  similarities(features) {
    const shallow = features.slice(0, this.nShallow).map((o, i) => (o - this.mean[i]) / this.scale[i]);
    const deep = unit(features.slice(this.nShallow)), cosines = [];
    let nearest = Infinity;
    for (let i = 0, at = 0; i < this.n; i++, at += this.width) {
      let distance = 0;
      for (let j = 0; j < shallow.length; j++) distance += (shallow[j] - this.vectors[at + j]) ** 2;
      nearest = Math.min(nearest, distance);
      cosines.push(dot(deep, this.vectors, at + this.nShallow));
    }
    cosines.sort((a, b) => b - a);
    return [-Math.sqrt(nearest), cosines.slice(0, NEIGHBOURS).reduce((a, b) => a + b, 0) / NEIGHBOURS, cosines[0]]
      .map((o, i) => (o - this.looMean[i]) / this.looStd[i]);
  }
}

const FORMER_NAMES = { images: "photos", logits: "outputs", features: "described", feature_map: "map" }; // in older exports' graphs
const named = (names, name) => names.includes(name) ? name : FORMER_NAMES[name];

export class Model {
  // `files`: what `meta.files` names, as ArrayBuffers
  static async open(ort, meta, files) {
    const model = new Model();
    const { file, group } = meta.weights;
    const session = async name => {
      const { graph, weights } = meta.graphs[name];
      const externalData = weights.map(({ path, dtype, n, offset, length }) => // by the name that it has in the export's graph
        ({ path, data: new Uint8Array(decodeWeights(files[file].slice(offset, offset + length), dtype, n, group)) }));
      return ort.InferenceSession.create(new Uint8Array(files[graph]), { externalData });
    };
    Object.assign(model, { ort, meta, session: await session("body"), openHead: () => session("head"), learned: null });
    if (meta.reference) model.detector = new Detector(meta.reference, fromFloat16(files[meta.reference.file]));
    return model;
  }

  // What the network gives for preprocessed pixels: logits, features, feature map
  async outputs(input) {
    const { ort, session, meta } = this, [width, height] = meta.size;
    const images = new ort.Tensor("float32", input, [1, meta.mean.length, height, width]);
    const found = await session.run({ [named(session.inputNames, "images")]: images });
    const get = name => found[named(session.outputNames, name)];
    return { logits: [...get("logits").data], features: get("features") && [...get("features").data], map: get("feature_map") };
  }

  async predict(image) { return this.judge(await this.outputs(preprocess(image, this.meta))); }

  // The prediction for a network's outputs
  judge({ logits, features }) {
    if (!logits.every(Number.isFinite)) throw new Error("The model gave no numbers for this photo.");
    const { thresholds, reference } = this.meta, { ood } = thresholds;
    if (this.learned) return this.learned.judge(unit(features.slice(reference.n_shallow)));
    let score = 0;
    if (ood) {
      const similar = this.detector?.similarities(features);
      score = ood.score === "energy" ? energy(logits) : ood.score === "knn" ? similar[0] + similar[1]
        : similar[2] + energy(logits) / ood.energy_std;
    }
    return prediction(softmax(logits), this.meta.labels, thresholds, Boolean(ood) && score < ood.threshold);
  }

  // How much of a prediction rests on each cell of the last feature map: { rows, columns, share }
  async occlusion(image) {
    const { logits, map } = await this.outputs(preprocess(image, this.meta));
    if (!map || !this.meta.graphs.head) throw new Error("This model can't show what it looks at: its network has no feature map.");
    this.head ??= await this.openHead();
    const [, channels, rows, columns] = map.dims, cells = rows * columns, label = logits.indexOf(Math.max(...logits));
    const margin = o => o[label] - Math.max(...o.filter((_, i) => i !== label));
    const batch = new Float32Array(cells * map.data.length);
    for (let cell = 0; cell < cells; cell++) {
      batch.set(map.data, cell * map.data.length);
      for (let channel = 0; channel < channels; channel++) batch[cell * map.data.length + channel * cells + cell] = 0;
    }
    const input = new this.ort.Tensor("float32", batch, [cells, channels, rows, columns]);
    const found = await this.head.run({ [named(this.head.inputNames, "feature_map")]: input });
    const all = found[named(this.head.outputNames, "logits")].data, n = logits.length;
    const lost = Array.from({ length: cells }, (_, cell) => Math.max(0, margin(logits) - margin([...all.slice(cell * n, (cell + 1) * n)])));
    const sum = lost.reduce((a, b) => a + b, 0) || 1e-9;
    return { rows, columns, share: lost.map(o => o / sum) };
  }
}

// What probabilities mean, in the words of Python's `Prediction`
export function prediction(probabilities, labels, thresholds, ood) {
  const ranked = labels.map((label, i) => [label, probabilities[i]]).sort((a, b) => b[1] - a[1]), [label, p] = ranked[0];
  const minimum = thresholds.set_probability, set = ranked.filter((o, i) => i === 0 || minimum !== null && o[1] >= minimum).map(o => o[0]);
  let reason = "";
  if (ood) reason = `It may be none of these: it is most like ${label} (${percent(p)}), but unlike the training photos.`;
  else if (p < thresholds.probability) {
    const [now, needed] = distinctPercents(p, thresholds.probability);
    reason = `It is most like ${label} (${now}); the model is confident from ${needed}.`;
  }
  const few = reason && !ood && set.length > 1 && set.length <= 3 && set.length < ranked.length;
  return { label, probability: p, ranked, labels: set, confident: !reason, reason, notes: [],
           either: few ? `${set.slice(0, -1).join(", ")} or ${set.at(-1)}` : "" };
}
