// The app's front end: takes photos by click, camera, drop or paste, shrinks them, asks what they show, and shows it.
// The page that `tellapart serve` draws asks the API, and so does a notebook's widget there; elsewhere the widget asks its kernel.
const SIDE = 640; // pixels of the short side that a photo is shrunk to, as the working copies that models are trained on
const QUALITY = 0.92; // of the JPEG that is sent
const TIMEOUT = 60_000; // milliseconds to wait for an answer
const NO_PHOTO = "This file is no photo that we can read; save it as JPEG or PNG.";

const none = reason => ({ label: null, probability: 0, ranked: [], labels: [], confident: false, either: "", reason, notes: [] });

// --- Photos ---

// Whether the start of a file looks like a photo that may be opened elsewhere though this browser can't: HEIC, or one that was cut short
async function opensElsewhere(file) {
  const start = new TextDecoder("latin1").decode(await file.slice(0, 12).arrayBuffer());
  return start.slice(4, 8) === "ftyp" || /^(\xff\xd8\xff|\x89PNG|GIF8|RIFF....WEBP|BM|II\*\0|MM\0\*|\0\0\0\fjP)/s.test(start);
}

// Whether a file has EXIF or XMP in it, which may say where a photo was taken
async function hasMetadata(file) {
  return /Exif\0\0|eXIf|EXIF|http:\/\/ns\.adobe\.com|XML:com\.adobe/.test(new TextDecoder("latin1").decode(await file.arrayBuffer()));
}

// What is sent for a file: the file itself if it is small and tells nothing else, else its pixels, upright and at most `SIDE` on the
// short side; `null` if this browser can't open it
async function shrink(file) {
  const image = await createImageBitmap(file, { imageOrientation: "from-image" }).catch(() => null);
  if (!image) return null;
  const scale = Math.min(1, SIDE / Math.min(image.width, image.height));
  if (scale === 1 && file.size < 2 ** 21 && !await hasMetadata(file)) return file;
  const size = [image.width, image.height].map(o => Math.max(1, Math.round(o * scale)));
  const canvas = Object.assign(document.createElement("canvas"), { width: size[0], height: size[1] });
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff"; // for transparent photos, as everywhere else
  context.fillRect(0, 0, ...size);
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, ...size);
  image.close();
  return new Promise(resolve => canvas.toBlob(resolve, "image/jpeg", QUALITY));
}

// The photo to send, and the picture to show; or a prediction that says why there is none
async function prepare(file, maxBytes) {
  try { await file.slice(0, 1).arrayBuffer(); }
  catch { return { prediction: none("This couldn't be read; choose a photo, not a folder.") }; }
  const small = await shrink(file);
  if (small) return { photo: small, picture: URL.createObjectURL(small) };
  if (!await opensElsewhere(file)) return { prediction: none(NO_PHOTO) };
  if (file.size <= maxBytes) return { photo: file };
  const megabytes = n => `${Math.round(n / 2 ** 20)} MB`;
  return { prediction: none(`This file has ${megabytes(file.size)}, more than the ${megabytes(maxBytes)} that can be sent; choose a smaller one.`) };
}

// --- Cards ---

const percent = p => `${(100 * p).toFixed(0)}%`;

function element(name, parts, ...children) {
  const node = Object.assign(document.createElement(name), parts);
  node.append(...children);
  return node;
}

function bar([label, p]) {
  const line = element("i");
  line.style.setProperty("--p", (100 * p).toFixed(1));
  return element("li", {}, element("span", { textContent: label }), line, element("b", { textContent: percent(p) }));
}

// Names come from visitors, so they are only ever text
function fill(card, { name, photo, picture, prediction }, notes, explain) {
  const { label, confident, either, probability, ranked, reason } = prediction;
  card.classList.add(label === null ? "ta-bad" : confident ? "ta-confident" : "ta-unsure");
  if (picture) card.firstElementChild.replaceWith(element("img", { src: picture, alt: "" }));
  card.querySelector(".ta-file").textContent = name;
  const heading = card.querySelector("h2");
  heading.textContent = label === null ? "Not classified" : confident ? label : either || "Not sure";
  if (confident) heading.append(" ", element("small", { textContent: percent(probability) }));
  for (const sentence of [reason, ...prediction.notes.map(o => notes[o])].filter(Boolean).reverse())
    heading.after(element("p", { className: "ta-why", textContent: sentence }));
  const bars = card.querySelector("ul");
  if (ranked.length) bars.append(...ranked.slice(0, 3).map(bar));
  else bars.remove();
  if (photo && ranked.length) card.querySelector("ul").after(explainButton(card, name, photo, explain));
}

// Sends the answer to "Was this right?", and the photo if the visitor has agreed, or isn't asked because it stays on this device
function ask(form, result, consent, answer) {
  const { photo, prediction } = result;
  form.addEventListener("change", async event => {
    const said = element("p", { className: "ta-why" });
    said.setAttribute("role", "status");
    event.target.disabled = true;
    form.append(said);
    try {
      const id = await answer(prediction.label, event.target.value, !consent || consent.checked ? photo : null);
      result.said = id?.sentence ?? (id ? `Thank you. The photo is kept as ${id}: name it to whoever runs this app, and it is deleted.` : "Thank you.");
      if (form.isConnected) said.textContent = result.said;
      else showSaid(result); // the photo has been classified again meanwhile
    } catch (error) {
      said.textContent = error.message;
    }
  });
}

function showSaid({ card, said }) { card.querySelector("form").replaceWith(element("p", { className: "ta-why", textContent: said })); }

// A button that shows, in place of the photo, what its prediction rests on, and the photo again
function explainButton(card, name, photo, explain) {
  const button = element("button", { type: "button", className: "ta-explain", textContent: "What it looks at" });
  let other;
  button.setAttribute("aria-pressed", "false");
  button.addEventListener("click", async () => {
    const shown = card.firstElementChild;
    button.disabled = true;
    try {
      other ??= element("img", { src: await explain(name, photo), alt: "The photo, darkened where the prediction doesn't rest on it" });
      shown.replaceWith(other);
      other = shown;
      button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") === "false"));
      button.disabled = false;
    } catch (error) {
      button.replaceWith(element("p", { className: "ta-why", textContent: error.message }));
    }
  });
  return button;
}

function csv(shown) {
  const field = o => `"${String(o ?? "").replaceAll('"', '""').replace(/^[=+\-@\t\r]/, "'$&")}"`; // which spreadsheets would run
  const rows = shown.map(({ name, prediction: o }) => [name, o.label, o.label === null ? "" : o.probability, o.label === null ? "" : o.confident, o.reason]);
  return [["photo", "label", "probability", "confident", "reason"], ...rows].map(row => row.map(field).join(",") + "\r\n").join("");
}

// --- The app ---

// Makes the HTML in `root` work. `classify(name, photo)` returns a prediction, as the API gives it, and `explain` the address of a
// picture of what it rests on; where the HTML asks whether it is right, `answer(label, answer, photo)` sends that, and returns what a photo
// is kept as, or a sentence to say. All throw an `Error` with a sentence where they can't. Returns what else can be done: `take(files)` and
// `again()` classify, `close()` ends it
export function mount(root, { classify, explain, answer }) {
  const find = o => root.querySelector(o);
  const body = find(".ta-page-body"), status = find(".ta-status"), cards = find(".ta-cards"), tools = find(".ta-tools");
  const notes = JSON.parse(body.dataset.notes), maxBytes = Number(body.dataset.maxBytes);
  const inputs = [...root.querySelectorAll("input[type=file]")], filter = find(".ta-filter"), sort = find(".ta-sort"), link = find(".ta-csv");
  const consent = find(".ta-consent");
  const results = []; // those of the files chosen last come first, in their order
  let busy = false;

  function arrange() {
    tools.hidden = results.length < 6;
    if (consent) consent.hidden = !results.length;
    const chosen = results.filter(({ prediction: o }) => !filter.value || (filter.value === "?" ? !o.confident : o.label === filter.value));
    if (sort.value === "label") chosen.sort((a, b) => (a.prediction.label ?? "\uffff").localeCompare(b.prediction.label ?? "\uffff"));
    if (sort.value === "low") chosen.sort((a, b) => a.prediction.probability - b.prediction.probability);
    cards.replaceChildren(...chosen.map(o => o.card));
  }

  function show(result) {
    const { photo, prediction, said } = result;
    result.card = find("template").content.firstElementChild.cloneNode(true);
    fill(result.card, result, notes, explain);
    const form = result.card.querySelector("form");
    if (said) showSaid(result);
    else if (photo && prediction.label !== null && form) ask(form, result, consent?.querySelector("input"), answer);
    else form?.remove();
  }

  // Classifies the photos that are shown again, by a model that has changed
  async function again() {
    for (const o of results) {
      if (!o.photo) continue;
      o.prediction = await classify(o.name, o.photo);
      show(o);
    }
    arrange();
  }

  async function take(files) {
    if (busy || !files.length) return;
    busy = true;
    inputs.forEach(o => o.disabled = true);
    try {
      for (const [i, file] of files.entries()) {
        status.textContent = files.length > 1 ? `Classifying photo ${i + 1} of ${files.length} …` : "Classifying the photo …";
        const { photo, picture, prediction } = await prepare(file, maxBytes);
        const found = prediction ?? await classify(file.name, photo).catch(error => {
          if (error.ofOne) return none(error.message); // the others may fare better
          throw error;
        });
        const result = { name: file.name, photo, picture, prediction: found };
        show(result);
        results.splice(i, 0, result);
        arrange();
      }
      status.textContent = files.length > 1 ? `${files.length} photos are classified.` : "";
    } catch (error) {
      status.textContent = error.message;
    }
    busy = false;
    inputs.forEach(o => { o.disabled = false; o.value = ""; });
  }

  for (const input of inputs) input.addEventListener("change", () => take([...input.files]));
  for (const [i, button] of [...root.querySelectorAll(".ta-samples button")].entries()) button.addEventListener("click", () => {
    const bytes = Uint8Array.from(atob(button.firstElementChild.src.split(",")[1]), o => o.charCodeAt(0));
    take([new File([bytes], `sample ${i + 1}.jpg`, { type: "image/jpeg" })]);
  });
  filter.addEventListener("change", arrange);
  sort.addEventListener("change", arrange);
  link.addEventListener("click", () => {
    link.href = URL.createObjectURL(new Blob(["\ufeff", csv(results)], { type: "text/csv" })); // by its mark, Excel knows that it is UTF-8
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  });
  const field = find(".ta-upload");
  for (const kind of ["dragover", "dragleave", "drop"]) root.addEventListener(kind, event => {
    event.preventDefault();
    field.classList.toggle("ta-over", kind === "dragover");
    if (kind === "drop") take([...event.dataTransfer.files]);
  });
  const paste = event => root.hidden || take([...event.clipboardData.files]);
  document.addEventListener("paste", paste);
  take(inputs.flatMap(o => [...o.files])); // those that were chosen before this script had been loaded
  return { take, again, close: () => document.removeEventListener("paste", paste) };
}

const LOST = "The connection was lost. Reload the page and choose the photos again.";
const pause = seconds => new Promise(resolve => setTimeout(resolve, 1000 * seconds));

const dataURL = photo => new Promise((resolve, reject) => {
  const reader = Object.assign(new FileReader(), { onload: () => resolve(reader.result), onerror: () => reject(new Error(LOST)) });
  reader.readAsDataURL(photo);
});

// Asks the API below `url`, and again where it is busy
export function byAPI(url) {
  async function post(what, body, tries = 5) {
    const request = { method: "POST", body, signal: AbortSignal.timeout(TIMEOUT) };
    const response = await fetch(`${url}/${what}`, request).catch(() => { throw new Error(LOST); });
    if ([429, 503].includes(response.status) && tries > 1) {
      await pause(Number(response.headers.get("Retry-After")) || 2);
      return post(what, body, tries - 1);
    }
    const found = await response.json().catch(() => { throw new Error(LOST); });
    if (!response.ok) throw Object.assign(new Error(found.error), { ofOne: response.status < 500 });
    return found;
  }
  function form(photo) {
    const form = new FormData();
    form.append("photo", photo, "photo"); // whatever its name is, which may tell more than the photo
    return form;
  }
  return {
    classify: async (name, photo) => (await post("classify", form(photo))).predictions[0],
    explain: async (name, photo) => (await post("explain", form(photo))).picture,
    answer: async (label, answer, photo) => (await post("feedback", JSON.stringify({ label, answer, photo: photo && await dataURL(photo) }))).id,
  };
}

// Asks the kernel, with a photo a message: one over the server's limit would close the connection without an error
function byKernel(model) {
  const waiting = new Map();
  let asked = 0;
  model.on("msg:custom", ({ id, ...found }) => waiting.get(id)?.(found));
  async function ask(what, name, photo) {
    const id = asked++;
    const content = await photo.arrayBuffer();
    const found = await new Promise((resolve, reject) => {
      waiting.set(id, resolve);
      setTimeout(() => reject(new Error(LOST)), TIMEOUT);
      model.send({ id, what, name }, undefined, [content]);
    }).finally(() => waiting.delete(id));
    if (found.error) throw new Error(found.error);
    return found;
  }
  return {
    classify: async (name, photo) => (await ask("classify", name, photo)).prediction,
    explain: async (name, photo) => (await ask("explain", name, photo)).picture,
  };
}

export default {
  render({ model, el }) {
    el.innerHTML = model.get("html");
    const api = model.get("api");
    return mount(el, api ? byAPI(api) : byKernel(model)).close;
  },
};
