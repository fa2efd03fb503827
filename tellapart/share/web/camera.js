// A live camera whose answer stays steady: probabilities are averaged over a second or so, and another label must lead clearly

const SMOOTHING = .3; // weight of the newest frame
const LEAD = .15; // by which another label must be ahead, on average, before it replaces the one that is shown

// The steady answer to predictions that come one after the other
export class Steady {
  constructor() { this.average = new Map(); this.label = null; }

  add({ ranked, confident }) {
    for (const [label, p] of ranked) this.average.set(label, (1 - SMOOTHING) * (this.average.get(label) ?? p) + SMOOTHING * p);
    this.sure = (1 - SMOOTHING) * (this.sure ?? Number(confident)) + SMOOTHING * Number(confident);
    const [[label, p]] = [...this.average].sort((a, b) => b[1] - a[1]);
    if (this.label === null || p > (this.average.get(this.label) ?? 0) + LEAD) this.label = label;
    this.known = this.known ? this.sure > .4 : this.sure > .6; // it takes more to change than to stay
    return { label: this.label, probability: this.average.get(this.label), confident: this.known };
  }
}

// Makes the section work; `classify(image)` returns a prediction. What it returns also takes pictures elsewhere in the page
export function camera(root, { classify }) {
  const find = o => root.querySelector(o), video = find("video"), button = find(".tp-start"), said = find(".tp-live");
  let stream, steady;

  async function watch() {
    while (stream) {
      if (video.readyState >= 2 && !document.hidden) {
        const { label, probability, confident } = steady.add(await classify(await createImageBitmap(video)));
        if (!stream) break;
        said.textContent = confident ? `${label} ${(100 * probability).toFixed(0)}%` : `Not sure; most like ${label}`;
        said.classList.toggle("tp-unsure", !confident);
      }
      await new Promise(resolve => setTimeout(resolve, 100));
    }
  }

  function stop() {
    stream?.getTracks().forEach(o => o.stop());
    stream = video.srcObject = null;
    video.hidden = true;
    said.textContent = "";
    button.textContent = "Start the camera";
  }

  async function open() {
    try { stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } }); }
    catch (error) {
      throw new Error(error.name === "NotAllowedError" ? "The camera isn't allowed here: allow it in the browser's settings for this page."
        : "No camera was found: connect one, or choose photos instead.");
    }
    Object.assign(video, { srcObject: stream, hidden: false });
    await video.play();
  }

  async function start() {
    try { await open(); }
    catch (error) {
      said.textContent = error.message;
      return;
    }
    steady = new Steady();
    button.textContent = "Stop the camera";
    watch().catch(error => { stop(); said.textContent = error.message; });
  }

  button.addEventListener("click", () => stream ? stop() : start());
  if (!navigator.mediaDevices?.getUserMedia) {
    button.disabled = true;
    said.textContent = "Browsers let a page use the camera live only over https, or from this computer: choose photos instead.";
  }
  const here = video.parentElement;
  return {
    stop,
    async show(node) { // the camera's picture after `node`
      stop();
      node.after(video);
      await open();
      await new Promise(resolve => setTimeout(resolve, 1000)); // cameras adjust to the light
    },
    hide() {
      stop();
      here.append(video);
    },
    async take() { // the picture that is shown, as a JPEG
      const canvas = Object.assign(document.createElement("canvas"), { width: video.videoWidth, height: video.videoHeight });
      canvas.getContext("2d").drawImage(video, 0, 0);
      return new Promise(resolve => canvas.toBlob(resolve, "image/jpeg", .92));
    },
  };
}
