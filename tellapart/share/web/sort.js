// Sorts a folder of photos: a label for each, corrections by hand, and then a folder for each label
import { zip } from "./zip.js";

const PAGE = 60; // photos of a label that are drawn at first, and with each "Show more"
const AT_ONCE = 3; // photos under way: while one is computed, the next are read and decoded
const KEPT = 50; // predictions between two writes to this device's store
const THUMBNAIL = 160; // pixels
export const UNSURE = "unsure"; // the folder of photos that it isn't sure of
const UNOPENED = "can't be opened"; // a group that has no folder
const IMAGE = /\.(jpe?g|jfif|png|webp|gif|bmp|avif|heic|heif|tiff?)$/i;
const COLUMNS = ["path", "label", "probability", "second", "confident", "reason", "to", "how", "layout", "sha256", "size", "mtime"]; // as `tellapart sort` has them

const number = n => n.toLocaleString("en");
const hex = bytes => Array.from(new Uint8Array(bytes), o => o.toString(16).padStart(2, "0")).join("");
const element = (name, parts, ...children) => {
  const node = Object.assign(document.createElement(name), parts);
  node.append(...children);
  return node;
};

// A name that every system accepts
export function safeName(name, mark = "") {
  name = name.replace(/[\x00-\x1f\x7f<>:"/\\|?*]/g, "_").replace(/^[ .]+|[ .]+$/g, "");
  const dot = name.lastIndexOf("."), at = dot > 0 && name.length - dot <= 16 ? dot : name.length;
  const device = /^(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[1-9¹²³]) *(\.|$)/i.test(name) ? "_" : "";
  return device + name.slice(0, Math.min(at, 200)) + mark + name.slice(at) || "_";
}

const csvField = o => { // without what a spreadsheet would run, and quoted where it must be
  const text = /^'*[=+\-@＝＋－＠\t\r\n]/.test(o) ? `'${o}` : String(o);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};
const csvLine = row => row.map(csvField).join(",") + "\r\n";

// `sorted.csv`, as `tellapart sort` writes it, from rows like `COLUMNS`
export const table = rows => ({ name: "sorted.csv", blob: new Blob(["\ufeff", ...[COLUMNS, ...rows].map(csvLine)]) });

// What a row says of a file's content; no hash where the browser has none for pages without https
export async function identity(blob, time) {
  const sha256 = crypto.subtle ? hex(await crypto.subtle.digest("SHA-256", await blob.arrayBuffer())) : "";
  return [sha256, blob.size, `${time}000000`];
}

// Names in the folders of the labels, none twice
class Plan {
  constructor(layout, folderOf) { Object.assign(this, { layout, folderOf, taken: new Set() }); }

  // Where a photo goes as one of `group`
  path({ tree, file }, group) {
    const label = this.folderOf(group), folders = tree.map(o => safeName(o));
    const folder = { label: [label], "label/tree": [label, ...folders], "tree/label": [...folders, label] }[this.layout].join("/");
    for (let n = 0; ; n++) {
      const path = `${folder}/${safeName(file.name, n ? `-${n}` : "")}`, key = path.normalize("NFC").toLowerCase();
      if (this.taken.has(key)) continue;
      this.taken.add(key);
      return path;
    }
  }
}

class Sorter {
  constructor(root, { classify, labels, folders, store }) {
    const find = o => root.querySelector(o);
    Object.assign(this, { root, find, classify, labels, folders, store, photos: [], groups: new Map(), chosen: new Set(), done: 0 });
    this.input = find("input[type=file]");
    this.input.addEventListener("change", () => this.take([...this.input.files]).catch(error => this.say(error.message)));
    find(".tp-stop").addEventListener("click", () => this.running ? this.stopped = true : this.run());
    find(".tp-move").addEventListener("change", event => { this.move(event.target.value); event.target.value = ""; });
    root.addEventListener("keydown", event => this.key(event));
    find(".tp-zip").addEventListener("click", () => this.write(o => this.saveZip(o)));
    const intoFolder = find(".tp-folder");
    intoFolder.hidden = !window.showDirectoryPicker;
    intoFolder.addEventListener("click", async () => {
      const to = await window.showDirectoryPicker({ mode: "readwrite", id: "sorted" }).catch(() => null); // it was closed
      if (to) this.write(o => this.saveInto(to, o));
    });
    this.seen = new IntersectionObserver(entries => entries.forEach(({ target, isIntersecting }) => this.draw(target, isIntersecting)),
                                         { rootMargin: "300px" });
  }

  say(text) { this.find(".ta-status").textContent = text; }

  // --- Classify ---

  async take(files) {
    const photos = files.filter(o => IMAGE.test(o.name) && !o.webkitRelativePath.split("/").some(part => part.startsWith(".")));
    this.input.value = "";
    if (!photos.length) return this.say("There are no photos in this folder; choose another one.");
    this.reset(photos);
    const known = await this.store?.predictions(this.folder).catch(() => null);
    for (const photo of this.photos) {
      const prediction = known?.get(photo.key);
      if (prediction) this.place(photo, prediction);
    }
    if (this.done) this.say(`${number(this.done)} of ${number(photos.length)} photos were classified before.`);
    return this.run();
  }

  reset(files) {
    this.folder = files[0].webkitRelativePath.split("/")[0];
    this.photos = files.map(file => {
      const path = file.webkitRelativePath || file.name;
      return { file, path, tree: path.split("/").slice(1, -1), key: `${path}|${file.size}|${file.lastModified}` };
    });
    Object.assign(this, { done: 0, stopped: false });
    this.photos.sort((a, b) => a.path.localeCompare(b.path, "en", { numeric: true }));
    this.chosen.clear();
    this.seen.disconnect();
    this.groups = new Map([...this.labels(), UNSURE, UNOPENED].map(o => [o, this.group(o)]));
    this.find(".tp-groups").replaceChildren(...[...this.groups.values()].map(o => o.node));
    this.find(".tp-move").replaceChildren(element("option", { value: "", textContent: "Move the chosen photos to …" }),
      ...[...this.labels(), UNSURE].map((o, i) => element("option", { value: o, textContent: i < 9 ? `${o} (key ${i + 1})` : o })));
    for (const o of [".tp-progress", ".tp-write"]) this.find(o).hidden = false;
  }

  async run() {
    const left = this.photos.filter(o => !o.prediction), start = Date.now(), rows = [];
    let n = 0;
    Object.assign(this, { running: true, stopped: false });
    this.find(".tp-stop").textContent = "Stop";
    this.enable(false);
    const keep = async () => this.store?.keep(this.folder, rows.splice(0)).catch(() => {}); // without it a sort can't be taken up again
    const one = async () => {
      for (let photo; !this.stopped && (photo = left.shift());) {
        const found = await this.classify(photo.file).catch(error => ({ label: null, reason: error.message }));
        const { label, probability, ranked, confident, reason } = found;
        const prediction = { label, probability, second: ranked?.[1]?.[0] ?? "", confident, reason };
        this.place(photo, prediction);
        rows.push([photo.key, prediction]);
        if (rows.length >= KEPT) await keep();
        this.progress(++n / ((Date.now() - start) / 1000), left.length);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, one));
    await keep();
    this.running = false;
    this.find(".tp-stop").textContent = "Go on";
    this.find(".tp-stop").hidden = !left.length;
    const unsure = this.groups.get(UNSURE).photos.length, bad = this.groups.get(UNOPENED).photos.length;
    this.say(left.length ? `Stopped at ${number(this.done)} of ${number(this.photos.length)} photos; what is done is kept.`
      : `${number(this.done)} photos are classified: ${number(unsure)} unsure${bad ? `, ${number(bad)} that can't be opened` : ""}. Put right what is wrong, then save.`);
    this.enable(true);
  }

  progress(rate, left) {
    const bar = this.find("progress");
    Object.assign(bar, { max: this.photos.length, value: this.done });
    const seconds = Math.ceil(left / rate), time = seconds > 90 ? `${Math.round(seconds / 60)} minutes` : `${seconds} s`;
    this.find(".tp-stop").hidden = false;
    this.say(`${number(this.done)} of ${number(this.photos.length)}, ${rate.toFixed(0)} photos a second, ${time} left`);
  }

  enable(yes) { for (const o of this.root.querySelectorAll(".tp-write button, .tp-write select")) o.disabled = !yes; }

  // --- Show, and put right ---

  group(name) {
    const count = element("small"), tiles = element("div", { className: "tp-tiles" });
    const more = element("button", { type: "button", className: "tp-more", textContent: "Show more", hidden: true });
    const node = element("section", { className: "tp-group", hidden: true }, element("h2", {}, name, " ", count), tiles, more);
    const group = { name, node, tiles, count, more, photos: [], shown: PAGE };
    more.addEventListener("click", () => { group.shown += PAGE; this.arrange(group); });
    if (name !== UNOPENED) {
      node.addEventListener("dragover", event => { event.preventDefault(); node.classList.add("tp-over"); });
      node.addEventListener("dragleave", () => node.classList.remove("tp-over"));
      node.addEventListener("drop", event => {
        event.preventDefault();
        node.classList.remove("tp-over");
        this.move(name);
      });
    }
    return group;
  }

  // Puts a photo where its prediction says
  place(photo, prediction) {
    photo.prediction = prediction;
    photo.group = prediction.label === null ? UNOPENED : prediction.confident ? prediction.label : UNSURE;
    if (!this.groups.has(photo.group)) photo.group = UNSURE; // a label that has been forgotten
    this.done++;
    const group = this.groups.get(photo.group);
    group.photos.push(photo);
    if (group.photos.length <= group.shown) group.tiles.append(this.tile(photo));
    this.count(group);
  }

  count(group) {
    group.node.hidden = !group.photos.length && group.name === UNOPENED;
    group.count.textContent = number(group.photos.length);
    group.more.hidden = group.photos.length <= group.shown;
  }

  arrange(group) {
    for (const o of group.tiles.children) this.seen.unobserve(o);
    group.tiles.replaceChildren(...group.photos.slice(0, group.shown).map(o => this.tile(o)));
    this.count(group);
  }

  tile(photo) {
    const { label, probability, reason } = photo.prediction, told = label === null ? reason : `${label} ${(100 * probability).toFixed(0)}%`;
    const node = element("button", { type: "button", className: "tp-tile", title: `${photo.path}: ${told}`, draggable: true, photo },
                         element("canvas", { width: 0, height: 0 }), element("span", { textContent: photo.file.name }));
    node.setAttribute("aria-pressed", String(this.chosen.has(photo)));
    node.addEventListener("click", event => this.choose(node, event.shiftKey));
    node.addEventListener("dragstart", () => { if (!this.chosen.has(photo)) this.choose(node); });
    this.seen.observe(node);
    return node;
  }

  // Draws a photo that has come into view, and forgets one that has left it
  async draw(node, visible) {
    const canvas = node.firstElementChild;
    if (!visible || canvas.width) {
      if (!visible) canvas.width = canvas.height = 0;
      return;
    }
    const image = await createImageBitmap(node.photo.file, { resizeWidth: THUMBNAIL, resizeQuality: "low" }).catch(() => null);
    if (!image) return;
    Object.assign(canvas, { width: image.width, height: image.height });
    canvas.getContext("2d").drawImage(image, 0, 0);
    image.close();
  }

  choose(node, range = false) {
    const tiles = [...node.parentElement.children], at = tiles.indexOf(node), last = tiles.indexOf(this.lastChosen);
    const some = range && last >= 0 ? tiles.slice(Math.min(at, last), Math.max(at, last) + 1) : [node];
    const add = range || !this.chosen.has(node.photo);
    for (const o of some) {
      if (add) this.chosen.add(o.photo);
      else this.chosen.delete(o.photo);
      o.setAttribute("aria-pressed", String(add));
    }
    this.lastChosen = node;
  }

  move(name) {
    if (!this.groups.has(name) || name === UNOPENED || !this.chosen.size) return;
    const changed = new Set([name]);
    for (const photo of this.chosen) {
      changed.add(photo.group);
      const from = this.groups.get(photo.group);
      from.photos.splice(from.photos.indexOf(photo), 1);
      this.groups.get(photo.group = name).photos.unshift(photo);
    }
    this.say(`${number(this.chosen.size)} moved to ${name}.`);
    this.chosen.clear();
    for (const o of changed) this.arrange(this.groups.get(o));
  }

  key(event) {
    if (event.target.closest("select, input, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
    const name = [...this.labels(), UNSURE][Number(event.key) - 1];
    if (name) this.move(name);
    if (event.key === "Escape") {
      this.chosen.clear();
      for (const o of this.root.querySelectorAll("[aria-pressed=true]")) o.setAttribute("aria-pressed", "false");
    }
  }

  // --- Save ---

  // Each photo that can be opened with its path in the sorted folder, and last the table of all
  async *entries() {
    const layout = this.find(".tp-layout").value, folderOf = o => this.folders[o] ?? safeName(o), plan = new Plan(layout, folderOf);
    const rows = [];
    for (const photo of this.photos) {
      const { file, path, group, prediction: o } = photo;
      const row = [path, o?.label ?? "", o?.label ? o.probability.toFixed(4) : "", o?.second ?? "", o?.label ? o.confident ? "yes" : "no" : "", o?.reason ?? ""];
      if (!o || group === UNOPENED) {
        rows.push([...row, "", "", "", "", file.size, `${file.lastModified}000000`]);
        continue;
      }
      const predicted = o.confident ? o.label : UNSURE, to = plan.path(photo, predicted);
      const name = group === predicted ? to : plan.path(photo, group); // where it lies; the table says where the model put it
      rows.push([...row, to, "copy", layout, ...await identity(file, file.lastModified)]);
      yield { name, blob: file, time: file.lastModified };
    }
    yield table(rows);
  }

  async write(how) {
    this.enable(false);
    try { await how(n => { if (n % 20 === 0) this.say(`${number(n)} of ${number(this.photos.length)} photos are written …`); }); }
    catch (error) { this.say(`It couldn't be written: ${error.message} Nothing of yours was changed; make room, or choose another place.`); }
    this.enable(true);
  }

  async saveZip(progress) {
    const link = element("a", { download: `${this.folder || "photos"} sorted.zip`, href: URL.createObjectURL(await zip(this.entries(), progress)) });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 600_000); // a large one is saved for minutes
    this.say("The zip is in your downloads.");
  }

  async saveInto(parent, progress) {
    let n = 0, to;
    for (let i = 1; !to; i++) { // a new folder, so that nothing is replaced
      const name = safeName(`${this.folder || "photos"} sorted`, i > 1 ? ` ${i}` : "");
      if (await parent.getDirectoryHandle(name).catch(() => null)) continue;
      to = await parent.getDirectoryHandle(name, { create: true });
    }
    for await (const { name, blob } of this.entries()) {
      const parts = name.split("/"), file = parts.pop();
      let folder = to;
      for (const o of parts) folder = await folder.getDirectoryHandle(o, { create: true });
      const out = await (await folder.getFileHandle(file, { create: true })).createWritable();
      await blob.stream().pipeTo(out); // which closes it
      progress(++n);
    }
    this.say(`${number(n - 1)} photos and sorted.csv are in ${parent.name}/${to.name}.`);
  }
}

// Makes the section work. `labels()` are those of now, and `folders` the names of their folders
export const sorter = (root, given) => new Sorter(root, given);
