// Draws photos at their places, and sends the kernel those that somebody draws around or clicks.
const SIDE = 48; // Pixels of a picture in the sprite
const MARGIN = 28; // Pixels around the whole map

const bytes = (model, name) => { // As the kernel's array, which needn't be aligned
  const view = model.get(name);
  return view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength);
};

function inside([x, y], polygon) { // By the number of edges to the right of a point
  let odd = false;
  for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i++) {
    const [[ax, ay], [bx, by]] = [polygon[i], polygon[j]];
    if ((ay > y) !== (by > y) && x < (bx - ax) * (y - ay) / (by - ay) + ax) odd = !odd;
  }
  return odd;
}

function render({ model, el }) {
  const [labels, colours] = [model.get("labels"), model.get("colours")];
  const places = new Float32Array(bytes(model, "places")), n = places.length / 2, pictures = model.get("pictures");
  const sprite = new Image();
  let label, zoom = 1, centre = [.5, .5], lasso = null, panning = null, selected = new Set(), only = null, frame;

  const { send, answered } = commands(model, text => { status.textContent = text; });

  const canvas = element("canvas", { tabIndex: 0, role: "img",
    ariaLabel: `Map of ${n.toLocaleString()} photos, similar ones side by side; the cleaner below shows the same photos as a list` });
  const caption = element("figcaption", {}), status = element("p", { role: "status" });
  const button = (text, title, clicked) => element("button", { type: "button", textContent: text, title, ariaLabel: title, onclick: clicked });
  const legend = labels.map((name, i) => {
    const made = element("button", { type: "button", ariaPressed: false, title: `Show only ${name}` }, element("i", {}), name);
    made.firstChild.style.background = colours[i];
    made.onclick = () => {
      only = only === i ? null : i;
      legend.forEach((o, j) => { o.ariaPressed = only === j; });
      redraw();
    };
    return made;
  });
  const zooms = element("span", {}, button("+", "Zoom in", () => zoomBy(1.5)), button("−", "Zoom out", () => zoomBy(1 / 1.5)), button("⤢", "Whole map", whole));
  el.append(element("div", { className: "ta-map" }, element("div", { className: "ta-bar" }, ...legend, zooms), status,
    element("p", { className: "ta-help", textContent: "Draw around photos to see them in the cleaner below; click one for the photos most like it. " +
      "Zoom by the buttons, + and −, or Ctrl and the wheel; move by the arrows, or drag with Shift." }), element("figure", {}, canvas, caption)));

  const width = () => canvas.clientWidth, height = () => canvas.clientHeight;
  const spread = () => [(width() - 2 * MARGIN) * zoom, (height() - 2 * MARGIN) * zoom]; // Pixels of the whole map
  function at(i) {
    const [w, h] = spread();
    return [(places[2 * i] - centre[0]) * w + width() / 2, (places[2 * i + 1] - centre[1]) * h + height() / 2];
  }
  const size = () => Math.min(96, Math.max(8, .8 * Math.sqrt(width() * height() / Math.max(pictures, 60)) * zoom ** .6));

  function draw() {
    const scale = window.devicePixelRatio || 1, context = canvas.getContext("2d");
    canvas.width = width() * scale;
    canvas.height = height() * scale;
    context.scale(scale, scale);
    const side = size(), columns = model.get("columns");
    for (let i = n - 1; i >= 0; i--) { // Those with pictures on top
      const [x, y] = at(i);
      if (x < -side || y < -side || x > width() + side || y > height() + side) continue;
      const gone = label[i] >= labels.length;
      context.globalAlpha = gone || (only !== null && label[i] !== only) ? .12 : 1;
      context.fillStyle = gone ? "#888" : colours[label[i]];
      if (i >= pictures || !sprite.naturalWidth) {
        context.fillRect(x - 2, y - 2, 4, 4);
        continue;
      }
      const border = selected.has(i) ? 5 : Math.max(1.5, side / 16);
      context.fillRect(x - side / 2 - border, y - side / 2 - border, side + 2 * border, side + 2 * border);
      if (selected.has(i)) {
        context.fillStyle = "#fff";
        context.fillRect(x - side / 2 - 2, y - side / 2 - 2, side + 4, side + 4);
      }
      context.drawImage(sprite, i % columns * SIDE, Math.floor(i / columns) * SIDE, SIDE, SIDE, x - side / 2, y - side / 2, side, side);
    }
    context.globalAlpha = 1;
    if (!lasso) return;
    context.beginPath();
    for (const o of lasso) context.lineTo(...o);
    context.closePath();
    Object.assign(context, { lineWidth: 2, strokeStyle: "#d55e00", fillStyle: "#d55e0022" });
    context.setLineDash([6, 4]);
    context.stroke();
    context.fill();
  }
  const redraw = () => { cancelAnimationFrame(frame); frame = requestAnimationFrame(draw); };

  function zoomBy(by, [x, y] = [width() / 2, height() / 2]) { // What is at x, y stays there
    const before = spread(), limited = Math.min(40, Math.max(1, zoom * by));
    const point = [(x - width() / 2) / before[0] + centre[0], (y - height() / 2) / before[1] + centre[1]];
    zoom = limited;
    const after = spread();
    centre = zoom === 1 ? [.5, .5] : [point[0] - (x - width() / 2) / after[0], point[1] - (y - height() / 2) / after[1]];
    redraw();
  }
  function whole() { [zoom, centre] = [1, [.5, .5]]; redraw(); }
  function move(x, y) { // By so many pixels
    const [w, h] = spread();
    centre = [centre[0] - x / w, centre[1] - y / h].map(o => Math.min(1, Math.max(0, o)));
    redraw();
  }

  function nearest([x, y]) { // The photo at a point, the topmost
    const reach = Math.max(6, size() / 2 + 2);
    for (let i = 0; i < n; i++) {
      const [px, py] = at(i);
      if (Math.abs(px - x) <= reach && Math.abs(py - y) <= reach && label[i] < labels.length) return i;
    }
    return null;
  }

  const point = event => [event.offsetX, event.offsetY];
  canvas.onpointerdown = event => {
    if (event.button > 1) return;
    canvas.setPointerCapture(event.pointerId);
    caption.textContent = "";
    if (event.shiftKey || event.button === 1) panning = point(event);
    else lasso = [point(event)];
  };
  canvas.onpointermove = event => {
    const here = point(event);
    if (panning) {
      move(here[0] - panning[0], here[1] - panning[1]);
      panning = here;
    } else if (lasso) {
      lasso.push(here);
      redraw();
    } else {
      const i = nearest(here), name = i === null ? "" : model.get("names")[i];
      caption.textContent = name && `${name}, ${labels[label[i]]}`;
      Object.assign(caption.style, { left: `${Math.min(here[0] + 14, width() - caption.offsetWidth - 4)}px`, top: `${here[1] + 14}px` });
    }
  };
  canvas.onpointerup = () => {
    const drawn = lasso;
    lasso = panning = null;
    redraw();
    if (!drawn) return;
    const extent = axis => Math.max(...drawn.map(o => o[axis])) - Math.min(...drawn.map(o => o[axis]));
    const i = nearest(drawn[0]);
    if (Math.max(extent(0), extent(1)) < 6) {
      selected = new Set(i === null ? [] : [i]);
      if (i !== null) send("show_neighbours", i);
      return;
    }
    const found = [...Array(n).keys()].filter(o => label[o] < labels.length && (only === null || label[o] === only) && inside(at(o), drawn));
    selected = new Set(found);
    if (found.length) send("select", found);
  };
  canvas.onpointercancel = () => { lasso = panning = null; redraw(); };
  canvas.onpointerleave = () => { caption.textContent = ""; };
  canvas.addEventListener("wheel", event => {
    if (!event.ctrlKey && !event.metaKey) return; // The page scrolls
    event.preventDefault();
    zoomBy(Math.exp(-event.deltaY / 200), point(event));
  }, { passive: false });
  canvas.onkeydown = event => {
    const step = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] }[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (step) move(...step);
    else if (event.key === "+" || event.key === "=") zoomBy(1.5);
    else if (event.key === "-") zoomBy(1 / 1.5);
    else if (event.key === "0") whole();
    else return;
    event.preventDefault();
    event.stopPropagation();
  };

  const showLabels = () => { label = new Uint16Array(bytes(model, "label")); redraw(); };
  const showMessage = () => { status.textContent = model.get("message"); };
  const told = () => { answered(); showMessage(); };
  const listeners = { "change:label": showLabels, "change:message": showMessage, "msg:custom": told };
  const end = listen(model, listeners);
  const resized = new ResizeObserver(redraw), address = URL.createObjectURL(new Blob([bytes(model, "sprite")], { type: "image/jpeg" }));
  resized.observe(canvas);
  sprite.onload = () => { canvas.dataset.ready = true; redraw(); };
  sprite.src = address;
  showLabels();
  showMessage();
  return () => {
    end();
    resized.disconnect();
    cancelAnimationFrame(frame);
    URL.revokeObjectURL(address);
  };
}

export default { render };
