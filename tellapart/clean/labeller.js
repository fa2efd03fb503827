// Shows rows of photos, and sends what was decided of a row to the kernel. A row goes when the kernel has stored it.
function render({ model, el }) {
  const labels = model.get("labels");
  let rows = [], current; // The current row has the keys

  const { send, answered } = commands(model, text => { status.textContent = text; });

  const progress = element("progress", {}), count = element("span", {});
  const undo = element("button", { type: "button", textContent: "Undo", onclick: () => send("undo") });
  const status = element("p", { role: "status" });
  const keys = labels.slice(0, 9).map((label, i) => `${i + 1} ${label}`).join(", ");
  const help = element("p", { className: "ta-help", textContent:
    `Click the photos that don't belong to a row, then label the others: Enter for the proposed label; ${keys}; 0 for none of these. Arrows: another row.` });
  const list = element("div", { className: "ta-rows", onkeydown: pressed });
  el.append(element("div", { className: "ta-label" }, element("div", { className: "ta-bar" }, progress, count, undo), status, help, list));

  function decide(row, label) {
    if (row.sent) return;
    row.sent = true;
    row.node.classList.add("ta-sent");
    send("decide", row.id, label, [...row.wrong]);
    const at = rows.indexOf(row);
    focus(rows[at + 1] ?? rows[at - 1]);
  }

  function row({ id, label, photos }, i) {
    const made = { id, label, wrong: new Set() };
    const pictures = photos.map(({ id, file, picture }) => {
      const photo = element("button", { type: "button", title: file, ariaPressed: false, tabIndex: -1 },
        picture ? element("img", { src: picture, alt: file, draggable: false }) : file);
      photo.onclick = () => {
        made.wrong.has(id) ? made.wrong.delete(id) : made.wrong.add(id);
        photo.ariaPressed = made.wrong.has(id);
        focus(made);
      };
      return photo;
    });
    const choices = labels.map((o, n) => element("button", { type: "button", tabIndex: -1, textContent: n < 9 ? `${n + 1} ${o}` : o,
      className: o === label ? "ta-proposed" : "", onclick: () => decide(made, o) }));
    const none = element("button", { type: "button", tabIndex: -1, textContent: "0 none", onclick: () => decide(made, "") });
    made.node = element("section", { tabIndex: -1, ariaLabel: label ? `Row ${i + 1}: ${label}?` : `Row ${i + 1}`,
      onfocus: () => { current = made; rove(); } },
      element("header", {}, element("strong", { textContent: label ? `${label}?` : "Which label?" }), ...choices, none),
      element("div", {}, ...pictures));
    return made;
  }

  const rove = () => rows.forEach(o => { o.node.tabIndex = o === current ? 0 : -1; });
  const focus = row => row?.node.focus();

  function pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { key } = event, at = rows.indexOf(current);
    if (key === "ArrowUp") focus(rows[at - 1]);
    else if (key === "ArrowDown") focus(rows[at + 1]);
    else if (key === "Enter" && current.label) decide(current, current.label);
    else if (key === "0") decide(current, "");
    else if (labels[key - 1]) decide(current, labels[key - 1]);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  function showRows() {
    const focused = list.matches(":focus-within"), before = new Map(rows.map(o => [o.id, o]));
    const fresh = model.get("rows");
    const same = fresh.length < rows.length && fresh.every(o => before.has(o.id) && before.get(o.id).photos === o.photos.map(p => p.id).join());
    if (same) { // Rows have gone: the others keep what was clicked in them
      const ids = new Set(fresh.map(o => o.id));
      rows.filter(o => !ids.has(o.id)).forEach(o => o.node.remove());
      rows = rows.filter(o => ids.has(o.id));
    } else {
      rows = fresh.map((o, i) => Object.assign(row(o, i), { photos: o.photos.map(p => p.id).join() }));
      list.replaceChildren(...rows.map(o => o.node));
    }
    if (!rows.includes(current)) current = rows[0];
    rove();
    if (focused || document.activeElement === document.body) focus(current);
  }

  function showCounts() {
    const [done, total] = [model.get("done"), model.get("total")];
    Object.assign(progress, { max: total, value: done });
    count.textContent = `${done.toLocaleString()} of ${total.toLocaleString()} photos labelled`;
    undo.disabled = !model.get("undoable");
  }

  const showMessage = () => { status.textContent = model.get("message"); };
  const told = () => { answered(); showMessage(); };
  const listeners = { "change:rows": showRows, "change:done change:undoable": showCounts, "change:message": showMessage, "msg:custom": told };
  const end = listen(model, listeners);
  showRows();
  showCounts();
  showMessage();
  return end;
}

export default { render };
