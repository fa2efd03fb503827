// A new head in the browser: logistic regression on features, as Python's `fit_head` trains it
import { prediction, softmax } from "./model.js";

const SCALE = 10; // length that features are scaled to
const NEIGHBOURS = 5;

// The minimum of `f`, which returns [value, gradient], from `start`: L-BFGS (Nocedal, 1980) with backtracking
function minimize(f, start, steps = 200, memory = 8) {
  let x = start, [value, gradient] = f(x);
  const past = [], times = (a, b) => { let sum = 0; for (let i = 0; i < a.length; i++) sum += a[i] * b[i]; return sum; };
  for (let step = 0; step < steps; step++) {
    const direction = gradient.map(o => -o), alphas = [];
    for (const { s, y, rho } of past) {
      const alpha = rho * times(s, direction);
      alphas.push(alpha);
      for (let i = 0; i < y.length; i++) direction[i] -= alpha * y[i];
    }
    const latest = past[0], first = latest ? times(latest.s, latest.y) / times(latest.y, latest.y) : 1 / Math.max(1, Math.sqrt(times(gradient, gradient)));
    for (let i = 0; i < direction.length; i++) direction[i] *= first;
    past.toReversed().forEach(({ s, y, rho }, i) => {
      const beta = rho * times(y, direction), alpha = alphas.at(-1 - i);
      for (let j = 0; j < s.length; j++) direction[j] += (alpha - beta) * s[j];
    });
    const slope = times(gradient, direction);
    let length = 1, next, found;
    for (; length > 1e-10; length /= 2) {
      next = x.map((o, i) => o + length * direction[i]);
      found = f(next);
      if (found[0] <= value + 1e-4 * length * slope) break;
    }
    const s = next.map((o, i) => o - x[i]), y = found[1].map((o, i) => o - gradient[i]), sy = times(s, y);
    if (sy > 1e-12) past.unshift({ s, y, rho: 1 / sy });
    if (past.length > memory) past.pop();
    const gain = value - found[0];
    [x, value, gradient] = [next, ...found];
    if (gain < 1e-6 * Math.max(1, Math.abs(value))) break;
  }
  return x;
}

// A head for `vectors`, Float32Arrays of unit length, whose label is `targets[i]`, an index into `labels`
export function fitHead(vectors, targets, n, C) {
  const width = vectors[0].length, row = width + 1, counts = new Array(n).fill(0);
  for (const o of targets) counts[o]++;
  const present = counts.filter(Boolean), unequal = Math.max(...present) > 2 * Math.min(...present); // then labels weigh the same
  const weight = counts.map(o => unequal && o ? targets.length / (present.length * o) : 1);
  const scores = (x, vector) => Array.from({ length: n }, (_, k) => {
    let sum = x[k * row + width];
    for (let i = 0; i < width; i++) sum += SCALE * x[k * row + i] * vector[i];
    return sum;
  });
  const loss = x => {
    const gradient = new Float64Array(x.length);
    let value = 0;
    vectors.forEach((vector, j) => {
      const p = softmax(scores(x, vector)), target = targets[j], factor = C * weight[target];
      value -= factor * Math.log(Math.max(p[target], 1e-300));
      for (let k = 0; k < n; k++) {
        const slope = factor * (p[k] - (k === target));
        for (let i = 0; i < width; i++) gradient[k * row + i] += SCALE * slope * vector[i];
        gradient[k * row + width] += slope;
      }
    });
    for (let k = 0; k < n; k++) for (let i = 0; i < width; i++) {
      value += .5 * x[k * row + i] ** 2;
      gradient[k * row + i] += x[k * row + i];
    }
    return [value, gradient];
  };
  const x = minimize(loss, new Float64Array(n * row));
  return vector => scores(x, vector);
}

// What was learned: from the export's training photos and examples of the person's own, [{ vector, label }]
export class Learned {
  constructor(meta, vectors, examples) {
    const { reference, thresholds } = meta, { training } = reference;
    const width = vectors.length / reference.n, deep = Array.from({ length: reference.n }, (_, i) =>
      vectors.subarray(i * width + reference.n_shallow, (i + 1) * width));
    this.labels = [...new Set([...meta.labels, ...examples.map(o => o.label)])];
    this.vectors = [...deep, ...examples.map(o => o.vector)];
    const targets = [...training.labels, ...examples.map(o => this.labels.indexOf(o.label))];
    this.logits = fitHead(this.vectors, targets, this.labels.length, training.C);
    this.temperature = training.temperature;
    this.threshold = training.nearest;
    this.thresholds = thresholds;
  }

  judge(vector) {
    const cosines = this.vectors.map(o => o.reduce((sum, v, i) => sum + v * vector[i], 0)).sort((a, b) => b - a);
    const near = cosines.slice(0, NEIGHBOURS).reduce((a, b) => a + b, 0) / NEIGHBOURS;
    const p = softmax(this.logits(vector).map(o => o / this.temperature));
    return prediction(p, this.labels, this.thresholds, near < this.threshold);
  }
}
