// The work of the page, beside its window: opens the model, decodes photos, classifies them, and learns
import { Learned } from "./learn.js";
import { Model, unit } from "./model.js";
import { preprocess } from "./preprocess.js";

const NO_PHOTO = "This file is no photo that this browser can read; save it as JPEG or PNG.";
let model, bounds;

// The photo's pixels, upright and on white: { data, width, height, bands }. `source` is a file, or an image already
async function decode(source, full = false) {
  const bitmap = source instanceof Blob ? await createImageBitmap(source, { imageOrientation: "from-image", colorSpaceConversion: "none" })
    .catch(() => { throw new Error(NO_PHOTO); }) : source;
  const [short, long] = [Math.min(bitmap.width, bitmap.height), Math.max(bitmap.width, bitmap.height)];
  if (short < bounds.min_side) throw new Error(`This image has only ${bitmap.width} x ${bitmap.height} pixels, too few to show anything.`);
  if (long > bounds.max_ratio * short) throw new Error(`This image is ${bitmap.width} x ${bitmap.height} pixels, too narrow for a photo.`);
  const most = 4 * Math.max(...model.meta.size); // browsers shrink large photos faster, and nearly as we do
  const scale = short > most && !full ? most / 2 / short : 1;
  const width = Math.round(bitmap.width * scale), height = Math.round(bitmap.height * scale);
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  const rgba = context.getImageData(0, 0, width, height).data, data = new Uint8ClampedArray(width * height * 3);
  for (let i = 0, to = 0; i < rgba.length; i += 4) {
    data[to++] = rgba[i];
    data[to++] = rgba[i + 1];
    data[to++] = rgba[i + 2];
  }
  return { data, width, height, bands: 3 };
}

const tasks = {
  // Opens the model; `ort` is the runtime's module and WebAssembly, each an address or its content
  async open({ meta, files, ort: { module, wasm }, threads, limits }) {
    bounds = limits;
    const address = typeof module === "string" ? module : URL.createObjectURL(new Blob([module], { type: "text/javascript" }));
    const fetching = Promise.all(Object.entries(files).map(async ([name, o]) =>
      [name, typeof o === "string" ? await (await fetch(o)).arrayBuffer() : o]));
    const ort = await import(address); // while the files come
    Object.assign(ort.env.wasm, typeof wasm === "string" ? { wasmPaths: { wasm } } : { wasmBinary: wasm }, { numThreads: threads });
    model = await Model.open(ort, meta, Object.fromEntries(await fetching));
  },

  // The first run takes longer than others, so where nobody waits for an answer yet, it is done with nothing
  async warmUp() { await model.outputs(new Float32Array(model.meta.mean.length * model.meta.size[0] * model.meta.size[1])); },

  async classify({ source }) { return model.predict(await decode(source)); },

  async explain({ source }) {
    const image = await decode(source), { rows, columns, share } = await model.occlusion(image), highest = Math.max(...share) || 1;
    const canvas = new OffscreenCanvas(image.width, image.height), context = canvas.getContext("2d");
    const mask = new OffscreenCanvas(columns, rows), alpha = new ImageData(columns, rows);
    share.forEach((o, i) => { alpha.data[4 * i + 3] = 255 * o / highest; });
    mask.getContext("2d").putImageData(alpha, 0, 0);
    const light = new ImageData(image.width, image.height), dark = new ImageData(image.width, image.height);
    for (let i = 0, from = 0; i < light.data.length; i += 4) {
      for (let band = 0; band < 3; band++, from++) {
        light.data[i + band] = image.data[from];
        dark.data[i + band] = image.data[from] >> 2;
      }
      light.data[i + 3] = dark.data[i + 3] = 255;
    }
    context.putImageData(light, 0, 0);
    context.globalCompositeOperation = "destination-in"; // only where the prediction rests
    context.imageSmoothingQuality = "high";
    context.drawImage(mask, 0, 0, image.width, image.height);
    context.globalCompositeOperation = "destination-over";
    const below = new OffscreenCanvas(image.width, image.height);
    below.getContext("2d").putImageData(dark, 0, 0);
    context.drawImage(below, 0, 0);
    return canvas.convertToBlob({ type: "image/jpeg", quality: .85 });
  },

  // Features of a photo for `learn`
  async features({ source }) {
    const { features } = await model.outputs(preprocess(await decode(source), model.meta));
    return Float32Array.from(unit(features.slice(model.meta.reference.n_shallow)));
  },

  // Trains the head again with examples [{ vector, label }]; none makes it the export's again
  learn({ examples }) {
    model.learned = examples.length ? new Learned(model.meta, model.detector.vectors, examples) : null;
    return model.learned?.labels ?? model.meta.labels;
  },

  // Probabilities of preprocessed photos, and what preprocessing gives, to compare with Python's
  async probe({ source }) {
    const input = preprocess(await decode(source, true), model.meta), { logits } = await model.outputs(input);
    return { input, logits };
  },
};

let opened; // everything else waits for it; photos are decoded beside each other, and computed one after the other
self.onmessage = async ({ data: { id, what, ...given } }) => {
  try {
    if (what === "open") opened = tasks.open(given);
    else await opened;
    self.postMessage({ id, found: what === "open" ? await opened : await tasks[what](given) });
  } catch (error) { self.postMessage({ id, error: error.message || String(error) }); }
};
