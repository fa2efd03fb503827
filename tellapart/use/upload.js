// Takes photos by click, camera or drop and sends them to the kernel one at a time, each in a message of its own:
// a message over the server's limit would close the connection without an error.
const TIMEOUT = 60_000; // milliseconds to wait for the kernel's reply to a photo

function element(name, parts, ...children) {
  const node = Object.assign(document.createElement(name), parts);
  node.append(...children);
  return node;
}

function render({ model, el }) {
  const input = element("input", { type: "file", multiple: true, accept: "image/*,.heic,.heif" });
  const status = element("p", { className: "ta-status" });
  status.setAttribute("role", "status");
  const field = element("label", { className: "ta-upload" }, input,
    element("strong", {}, "Choose photos"), element("span", {}, "or drop them here"));
  el.append(field, status);

  let onReply;
  model.on("msg:custom", () => onReply?.());

  const nextReply = () => new Promise((resolve, reject) => {
    const timer = setTimeout(reject, TIMEOUT);
    onReply = () => { clearTimeout(timer); resolve(); };
  });

  async function send(file, index) {
    const fits = file.size <= model.get("max_bytes");
    const content = fits ? await file.arrayBuffer().catch(() => null) : null; // a dropped folder can't be read
    const reply = nextReply();
    model.send({ name: file.name, size: file.size, index }, undefined, content ? [content] : []);
    await reply;
  }

  async function sendAll(files) {
    input.disabled = true;
    try {
      for (const [i, file] of files.entries()) {
        status.textContent = files.length > 1 ? `Classifying photo ${i + 1} of ${files.length} …` : "Classifying the photo …";
        await send(file, i);
      }
      status.textContent = "";
      input.disabled = false;
      input.value = "";
    } catch {
      status.textContent = "The connection was lost. Reload the page and choose the photos again.";
    }
  }

  input.addEventListener("change", () => sendAll([...input.files]));
  for (const kind of ["dragover", "dragleave", "drop"]) field.addEventListener(kind, event => {
    event.preventDefault();
    field.classList.toggle("ta-over", kind === "dragover");
    if (kind === "drop" && !input.disabled) sendAll([...event.dataTransfer.files]);
  });
}

export default { render };
