// The page: classifies, sorts folders and learns, all on the visitor's device
import { mount } from "./app.js";
import { camera } from "./camera.js";
import { identity, safeName, sorter, table, UNSURE } from "./sort.js";
import { Store } from "./store.js";
import { zip } from "./zip.js";

const TEN = 10; // pictures of a new label that the camera takes
const MOST_THREADS = 4; // more gain little, and leave nothing for the page

const find = o => document.querySelector(o);
const element = (name, parts, ...children) => {
  const node = Object.assign(document.createElement(name), parts);
  node.append(...children);
  return node;
};

// A file of the page: its address or, where everything is in one file, its content
async function part(name) {
  const inside = document.getElementById(`part-${name}`);
  if (!inside) return new URL(name, document.baseURI).href;
  const bytes = Uint8Array.fromBase64?.(inside.textContent) ?? Uint8Array.from(atob(inside.textContent), o => o.charCodeAt(0));
  inside.remove();
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

// The model in a worker: `ask(what, given)` asks it
async function openModel({ meta, files, runtime, limits }, threads) {
  const code = await part("worker.js");
  const worker = typeof code === "string" ? new Worker(code, { type: "module" }) // a page from a disk may have no modules in workers
    : new Worker(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
  const waiting = new Map();
  let asked = 0, broken;
  worker.onerror = ({ message }) => {
    broken = new Error(`This browser can't run the model (${message || "its worker didn't start"}): use a newer one.`);
    for (const [, reject] of waiting.values()) reject(broken);
    waiting.clear();
  };
  worker.onmessage = ({ data: { id, found, error } }) => {
    const [resolve, reject] = waiting.get(id) ?? [];
    waiting.delete(id);
    if (error) reject?.(Object.assign(new Error(error), { ofOne: true }));
    else resolve?.(found);
  };
  const ask = (what, given = {}, transfer = []) => new Promise((resolve, reject) => {
    if (broken) throw broken;
    waiting.set(asked, [resolve, reject]);
    worker.postMessage({ id: asked++, what, ...given }, transfer);
  });
  const parts = await Promise.all(files.map(async o => [o, await part(o)])), [module, wasm] = await Promise.all(runtime.map(part));
  const given = { meta, limits, threads, files: Object.fromEntries(parts), ort: { module, wasm } };
  const content = [...parts.map(o => o[1]), module, wasm].filter(o => o instanceof ArrayBuffer);
  const ready = ask("open", given, content);
  return { ask, ready };
}

const hasSimd = () => WebAssembly.validate(Uint8Array.of( // a function with an instruction of SIMD in it
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11));

function tabs(leave) {
  const buttons = [...document.querySelectorAll(".tp-tabs button")];
  const show = name => {
    leave();
    for (const o of buttons) {
      const on = o.dataset.tab === name;
      o.setAttribute("aria-selected", String(on));
      o.tabIndex = on ? 0 : -1;
      document.getElementById(o.dataset.tab).hidden = !on;
    }
  };
  buttons.forEach((o, i) => {
    o.addEventListener("click", () => show(o.dataset.tab));
    o.addEventListener("keydown", event => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = buttons.at((i + step) % buttons.length);
      show(next.dataset.tab);
      next.focus();
    });
  });
}

// What the page learns from the person: examples are kept on this device, and the head is trained with all of them
class Teacher {
  constructor(model, store, changed) { Object.assign(this, { model, store, changed, examples: [], labels: model.meta.labels }); }

  async start() {
    this.examples = await this.store?.examples().catch(() => []) ?? [];
    if (this.examples.length) await this.train();
  }

  async train() {
    this.labels = await this.model.ask("learn", { examples: this.examples.map(({ vector, label }) => ({ vector, label })) });
    await this.changed();
  }

  async add(label, photos) {
    for (const photo of photos) {
      const example = { label, photo, vector: await this.model.ask("features", { source: photo }), time: Date.now() };
      this.examples.push(example);
      await this.store?.addExample(example).catch(() => {}); // without the store it lasts as long as the page
    }
    await this.train();
  }

  // The examples in folders of their labels, with the table by which `tellapart review` takes them for corrected ones
  async *entries(folders) {
    const rows = [];
    for (const [i, { label, photo, time }] of this.examples.entries()) {
      const name = `example ${i + 1}.jpg`;
      rows.push([name, "", "", "", "no", "", `${UNSURE}/${name}`, "copy", "label", ...await identity(photo, time)]);
      yield { name: `${folders[label] ?? safeName(label)}/${name}`, blob: photo, time };
    }
    yield table(rows);
  }

  async forget() {
    this.examples = [];
    await this.store?.forgetExamples();
    await this.train();
  }
}

function teach(root, { teacher, live, folders, say }) {
  const on = o => root.querySelector(o), name = on(".tp-name"), files = on("input[type=file]"), ten = on(".tp-ten");
  const guarded = what => async () => {
    try { await what(); } catch (error) { say(error.message); }
  };
  const label = () => {
    const given = name.value.trim();
    if (!given) say("Name the label first: one of those that there are, or a new one.");
    return given;
  };
  const learn = async (photos, given) => {
    say(`Learning ${given} from ${photos.length} photo${photos.length > 1 ? "s" : ""} …`);
    await teacher.add(given, photos);
    say(`Learned ${given} from ${photos.length} photo${photos.length > 1 ? "s" : ""}. Try it under Classify.`);
  };
  files.addEventListener("change", guarded(async () => {
    const photos = [...files.files], given = label();
    files.value = "";
    if (given && photos.length) await learn(photos, given);
  }));
  ten.addEventListener("click", guarded(async () => {
    const given = label(), photos = [];
    if (!given) return;
    try {
      await live.show(ten);
      for (let i = 0; i < TEN; i++) {
        photos.push(await live.take());
        say(`${i + 1} of ${TEN} pictures taken; turn the thing a little.`);
        await new Promise(resolve => setTimeout(resolve, 600));
      }
    } finally { live.hide(); }
    await learn(photos, given);
  }));
  on(".tp-forget").addEventListener("click", guarded(async () => {
    await teacher.forget();
    say("The model is again as it came.");
  }));
  on(".tp-save").addEventListener("click", guarded(async () => {
    const blob = await zip(teacher.entries(folders));
    const link = element("a", { download: "examples.zip", href: URL.createObjectURL(blob) });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }));
  return () => { // what is shown after each change
    const counts = new Map();
    for (const o of teacher.examples) counts.set(o.label, (counts.get(o.label) ?? 0) + 1);
    on(".tp-learned").replaceChildren(...[...counts].map(([label, n]) => element("li", { textContent: `${label}: ${n}` })));
    on(".tp-keep").hidden = !counts.size;
    find(".tp-changed").hidden = !counts.size;
    on("datalist").replaceChildren(...teacher.labels.map(o => element("option", { value: o })));
  };
}

// New labels become answers to "Was this right?"
function offer(labels) {
  const select = find("#classify template").content.querySelector("select");
  if (!select) return;
  const there = new Set([...select.options].map(o => o.value));
  for (const o of labels) if (!there.has(o)) select.lastElementChild.before(element("option", { value: o, textContent: `no, ${o}` }));
}

// Photos that another app on the phone has shared with this one
async function shared() {
  if (!new URLSearchParams(location.search).has("shared")) return [];
  const cache = await caches.open("shared"), keys = await cache.keys();
  const files = await Promise.all(keys.map(async (key, i) => new File([await (await cache.match(key)).blob()], `shared ${i + 1}.jpg`)));
  await Promise.all(keys.map(o => cache.delete(o)));
  history.replaceState(null, "", location.pathname);
  return files;
}

async function main() {
  let live;
  tabs(() => live?.stop());
  const status = find("#classify .ta-status");
  if (typeof WebAssembly !== "object" || !hasSimd()) {
    status.textContent = "This browser can't run the model (it has no WebAssembly SIMD): use a newer one.";
    return;
  }
  const given = JSON.parse(document.getElementById("model").textContent), { meta } = given;
  const threads = crossOriginIsolated ? Math.min(navigator.hardwareConcurrency, MOST_THREADS) : 1;
  find(".tp-threads").textContent = `${threads === 1 ? "one thread" : `${threads} threads`} of this device` + (crossOriginIsolated ? "" :
    "; the browser allows more only where the page comes with headers that isolate it, or from its second visit on");
  const { ask, ready } = await openModel(given, threads);
  const store = await Store.open(given.id).catch(() => null);
  const classify = source => ask("classify", { source }, source instanceof ImageBitmap ? [source] : []);
  const picture = async source => URL.createObjectURL(await ask("explain", { source }));
  let app, refresh = () => {};
  const teacher = new Teacher({ ask, meta }, store, async () => {
    offer(teacher.labels);
    refresh();
    await app?.again();
  });
  app = mount(find("#classify"), {
    classify: (_, photo) => classify(photo),
    explain: (_, photo) => picture(photo),
    answer: async (label, said, photo) => {
      if (said === "none of these") return { sentence: "It can't learn what is none of these; it learns from photos of its labels." };
      const right = said === "yes" ? label : said;
      await teacher.add(right, [photo]);
      return { sentence: `Learned: this is ${right}. It stays on this device.` };
    },
  });
  live = camera(find("#camera"), { classify });
  sorter(find("#sort"), { classify, labels: () => teacher.labels, folders: given.folders, store });
  if (find("#learn")) {
    refresh = teach(find("#learn"), { teacher, live, folders: given.folders, say: text => { find("#learn .ta-status").textContent = text; } });
  }
  try { await ready; }
  catch (error) {
    status.textContent = `The model couldn't be opened: ${error.message}`;
    return;
  }
  await teacher.start();
  refresh();
  await app.take(await shared());
  await ask("warmUp");
  document.documentElement.dataset.ready = ""; // from here on the first answer comes at once
  if ("serviceWorker" in navigator && location.protocol.startsWith("http") && isSecureContext) await navigator.serviceWorker.register("sw.js");
}

main();
