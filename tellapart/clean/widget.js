// What the widgets share: it stands before the script of each.
const TIMEOUT = 10_000; // Milliseconds until the page says that the kernel doesn't answer

function element(name, parts, ...children) {
  const made = Object.assign(document.createElement(name), parts);
  made.dataset.lmSuppressShortcuts = true; // Else JupyterLab takes keys for its own, such as d for deleting a cell
  made.append(...children);
  return made;
}

function commands(model, say) { // Sends commands to the kernel; `say` tells if it doesn't answer
  const lost = "The kernel doesn't answer. It is busy, or was restarted: then run this cell again; what is shown is stored.";
  let timer;
  const answered = () => clearTimeout(timer);
  const send = (command, ...args) => {
    answered();
    timer = setTimeout(() => say(lost), TIMEOUT);
    model.send({ do: command, args });
  };
  return { send, answered };
}

function listen(model, listeners) { // The function that it returns ends it
  for (const [events, listener] of Object.entries(listeners)) model.on(events, listener);
  return () => { for (const [events, listener] of Object.entries(listeners)) model.off(events, listener); };
}

