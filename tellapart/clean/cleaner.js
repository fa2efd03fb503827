// Shows a page of photos as cards, and sends marks to the kernel. A mark is shown when the kernel has stored it.
const DELETE = "<Delete>", KEEP = "<Keep>"; // fastai's words, which no label can be

function render({ model, el }) {
  const labels = model.get("labels");
  let cards = [], current = 0;

  const { send, answered } = commands(model, text => { status.textContent = text; });
  const show = (view, page) => send("show", view, page);
  const turn = pages => show(model.get("view"), model.get("page") + pages);
  const button = (text, clicked) => element("button", { type: "button", textContent: text, onclick: clicked });

  const view = element("select", { onchange: () => show(view.value, 0) });
  const [back, on] = [button("‹", () => turn(-1)), button("›", () => turn(1))];
  back.ariaLabel = "Previous page";
  on.ariaLabel = "Next page";
  const position = element("span", {});
  const options = all => [...all, DELETE].map(o => element("option", { value: o, textContent: o === DELETE ? "set aside" : o }));
  const whole = element("select", { ariaLabel: "Mark the whole page", onchange: () => {
    send("mark_page", whole.value === KEEP ? null : whole.value);
    whole.value = "";
  } }, element("option", { value: "", textContent: "Whole page: …" }), ...options(labels), element("option", { value: KEEP, textContent: "keep as it is" }));
  const finish = command => { send(command); focus(current); }; // The button will be disabled, and the focus would go to JupyterLab
  const [apply, undo] = [button("", () => finish("apply")), button("Undo", () => finish("undo"))];
  const status = element("p", { role: "status" });
  const grid = element("div", { className: "ta-cards", onkeydown: pressed });
  const more = button("Next page", () => turn(1));
  const below = element("div", {}, grid, more);
  const keys = labels.slice(0, 9).map((label, i) => `${i + 1} ${label}`).join(", ");
  const help = element("p", { className: "ta-help", textContent:
    "Below each photo: its label, the model's prediction with its probability, and the label it should have. " +
    `Keys: arrows, Page Up and Page Down; ${keys}, or a label's first letter; Delete to set aside, Space to keep; = for the photos most like it.` });
  el.append(element("div", { className: "ta-clean" },
    element("div", { className: "ta-bar" }, element("label", {}, "Show ", view), back, position, on, whole, apply, undo), status, help, below));

  function mark(card, what) { send("mark", card.file, what === card.label ? null : what); }

  function card(photo, i) {
    const { file, label, predicted, confidence, split, why, similar, picture } = photo;
    const all = labels.includes(label) ? labels : [label, ...labels];
    const choice = element("select", { tabIndex: -1, ariaLabel: "Label it should have", onchange: () => choose(choice.value) }, ...options(all));
    const choose = what => { mark(photo, what); focus(i); };
    const guess = button(`${predicted}${predicted === label ? "" : "?"} ${confidence}`, () => choose(predicted));
    const aside = button("✕", () => choose(model.get("marks")[file] === DELETE ? label : DELETE));
    const neighbours = button("≈", () => send("show_neighbours", file));
    for (const o of [guess, aside, neighbours]) o.tabIndex = -1; // They have keys, and two dozen cards would take many tabs
    guess.title = "The model's prediction, with its probability";
    aside.title = aside.ariaLabel = "Set aside";
    neighbours.title = neighbours.ariaLabel = "Show the photos most like it";
    guess.hidden = !predicted;
    const alike = similar.length ? [element("p", { className: "ta-similar", textContent: `looks like ${similar.join(", ")}` })] : [];
    const reason = why ? [element("p", { className: "ta-why", textContent: why })] : [];
    const badge = element("b", {});
    const photograph = picture ? element("img", { src: picture, alt: "", draggable: false }) : element("div", { className: "ta-none", textContent: "no picture" });
    const node = element("div", { role: "group", tabIndex: -1, title: file, onfocus: () => { current = i; rove(); } }, element("figure", {}, photograph, badge),
      element("p", {}, element("strong", { textContent: label }), ` ${split}`), ...alike, ...reason, element("div", {}, guess, aside, neighbours, choice));
    node.classList.toggle("ta-mismatch", predicted && predicted !== label);
    node.onclick = event => { if (event.target !== choice) focus(i); };

    function update(what) { // Its mark, or its label
      const marked = what !== label;
      choice.value = what;
      badge.textContent = !marked ? "" : what === DELETE ? "set aside" : `→ ${what}`;
      node.classList.toggle("ta-marked", marked);
      node.classList.toggle("ta-aside", what === DELETE);
      guess.ariaPressed = what === predicted;
      aside.ariaPressed = what === DELETE;
      node.ariaLabel = [`${file}, labelled ${label}`, predicted && `the model says ${predicted}, ${confidence}`, split, why,
        similar.length && alike[0].textContent, marked && `marked: ${what === DELETE ? "set aside" : what}`].filter(Boolean).join("; ");
    }
    return Object.assign(photo, { node, update });
  }

  const rove = () => cards.forEach((o, i) => { o.node.tabIndex = i === current ? 0 : -1; });
  const focus = i => cards[Math.max(0, Math.min(i, cards.length - 1))]?.node.focus();
  const marked = o => model.get("marks")[o.file] ?? o.label;

  function pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return;
    const { key } = event, card = cards[current], top = cards[0].node.offsetTop;
    const columns = cards.filter(o => o.node.offsetTop === top).length;
    const move = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[key];
    const pages = { PageUp: -1, PageDown: 1 }[key];
    const starting = key.length === 1 ? labels.filter(o => o.toLowerCase().startsWith(key.toLowerCase())) : [];
    const label = labels[key - 1] ?? starting[(starting.indexOf(marked(card)) + 1) % starting.length];
    if (move) focus(current + move);
    else if (pages) turn(pages);
    else if (key === "Delete" || key === "Backspace") mark(card, DELETE);
    else if (key === "Enter" || key === "Escape" || key === " ") mark(card, null);
    else if (key === "=") send("show_neighbours", card.file);
    else if (label) mark(card, label);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  function showMarks() {
    const n = Object.keys(model.get("marks")).length;
    apply.textContent = n ? `Apply ${n} mark${n > 1 ? "s" : ""}` : "Apply marks";
    apply.disabled = !n;
    for (const o of cards) o.update(marked(o));
  }

  function showCards() {
    const focused = below.matches(":focus-within");
    cards = model.get("cards").map((o, i) => card({ ...o }, i));
    grid.replaceChildren(...cards.length ? cards.map(o => o.node) : ["Nothing to show here."]);
    view.replaceChildren(...model.get("views").map(o => element("option", { value: o, textContent: o })));
    view.value = model.get("view");
    const [n, page, pages] = ["n", "page", "pages"].map(o => model.get(o));
    position.textContent = `page ${page + 1} of ${pages}, ${n.toLocaleString()} photo${n === 1 ? "" : "s"}`;
    back.disabled = page === 0;
    on.disabled = more.hidden = page === pages - 1;
    current = 0;
    rove();
    showMarks();
    if (focused) focus(0);
  }

  const showMessage = () => { status.textContent = model.get("message"); undo.disabled = !model.get("undoable"); };
  const told = () => { answered(); showMessage(); };
  const listeners = { "change:cards": showCards, "change:marks": showMarks, "change:message change:undoable": showMessage, "msg:custom": told };
  const end = listen(model, listeners);
  showCards();
  showMessage();
  return end;
}

export default { render };
