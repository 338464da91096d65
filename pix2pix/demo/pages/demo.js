// A drawing as an array of values (class positions, or greys), drawn with a mouse, fingers or keys, and sent to the
// server after every change; at most one request is under way, and the newest drawing is sent next.
"use strict";

const at = (id) => document.getElementById(id);
const WIDTH = Number(document.body.dataset.width);
const HEIGHT = Number(document.body.dataset.height);
const MOST_UNDO = 60;
const TITLE = 18; // pixels above each image of a saved sheet
const IGNORED = 255;

const canvas = at("canvas");
const context = canvas.getContext("2d");
const swatches = [...document.querySelectorAll("#palette button")];
const values = swatches.map((button) => Number(button.dataset.class));
const colours = JSON.parse(document.body.dataset.colours); // by value
const models = [...document.querySelectorAll(".model")];

let labels = new Uint8Array(WIDTH * HEIGHT);
let tool = "brush";
let chosen = 0; // value
let history = [];
let corner = null; // of a rectangle that is being drawn, and the newest point
let last = null; // the newest point of a stroke
let cursor = null; // of the keyboard
let noise = 0;
let changed = false;
let busy = false;

function paint() {
  const image = context.createImageData(WIDTH, HEIGHT);
  labels.forEach((label, i) => {
    const [r, g, b] = label === IGNORED ? [0, 0, 0] : colours[label];
    image.data.set([r, g, b, 255], 4 * i);
  });
  context.putImageData(image, 0, 0);
  const point = corner ? last || cursor : null;
  if (point) {
    const [x, y, w, h] = box(corner, point);
    context.fillStyle = `rgb(${colours[chosen].join()})`;
    context.fillRect(x, y, w, h);
  }
  if (cursor && document.activeElement === canvas) {
    const radius = tool === "brush" ? Math.max(2, at("size").value / 2) : 3;
    for (const [style, width] of [["#000", 2], ["#fff", 1]]) {
      context.strokeStyle = style;
      context.lineWidth = width;
      context.beginPath();
      context.arc(cursor.x + 0.5, cursor.y + 0.5, radius, 0, 7);
      context.stroke();
    }
  }
}

function box(a, b) {
  const x = Math.max(0, Math.min(a.x, b.x));
  const y = Math.max(0, Math.min(a.y, b.y));
  return [x, y, Math.min(WIDTH - 1, Math.max(a.x, b.x)) - x + 1, Math.min(HEIGHT - 1, Math.max(a.y, b.y)) - y + 1];
}

function remember() {
  history.push(labels.slice());
  history = history.slice(-MOST_UNDO);
  at("undo").disabled = false;
}

function disc(x, y) {
  const radius = at("size").value / 2;
  for (let row = Math.ceil(y - radius); row <= y + radius; row++) {
    if (row < 0 || row >= HEIGHT) continue;
    const half = Math.sqrt(Math.max(0, radius * radius - (row - y) ** 2));
    const from = Math.max(0, Math.round(x - half));
    const to = Math.min(WIDTH - 1, Math.round(x + half));
    if (to >= from) labels.fill(chosen, row * WIDTH + from, row * WIDTH + to + 1);
  }
}

function stroke(from, to) {
  const steps = Math.max(1, Math.ceil(Math.hypot(to.x - from.x, to.y - from.y)));
  for (let i = 0; i <= steps; i++) {
    disc(from.x + ((to.x - from.x) * i) / steps, from.y + ((to.y - from.y) * i) / steps);
  }
}

function flood(point) {
  const start = point.y * WIDTH + point.x;
  const old = labels[start];
  if (old === chosen) return;
  const waiting = [start];
  while (waiting.length) {
    const i = waiting.pop();
    if (labels[i] !== old) continue;
    labels[i] = chosen;
    const x = i % WIDTH;
    if (x > 0) waiting.push(i - 1);
    if (x < WIDTH - 1) waiting.push(i + 1);
    if (i >= WIDTH) waiting.push(i - WIDTH);
    if (i < WIDTH * (HEIGHT - 1)) waiting.push(i + WIDTH);
  }
}

function rectangle(a, b) {
  const [x, y, w, h] = box(a, b);
  for (let row = y; row < y + h; row++) labels.fill(chosen, row * WIDTH + x, row * WIDTH + x + w);
}

// --- what the user does ---

function point(event) {
  const area = canvas.getBoundingClientRect();
  return {
    x: Math.floor(((event.clientX - area.left) / area.width) * WIDTH),
    y: Math.floor(((event.clientY - area.top) / area.height) * HEIGHT),
  };
}

function inside({ x, y }) {
  return { x: Math.max(0, Math.min(WIDTH - 1, x)), y: Math.max(0, Math.min(HEIGHT - 1, y)) };
}

canvas.addEventListener("pointerdown", (event) => {
  if (event.button !== 0 || last) return;
  canvas.setPointerCapture(event.pointerId);
  remember();
  cursor = null;
  const here = point(event);
  last = here;
  if (tool === "rectangle") corner = inside(here);
  else if (tool === "fill") flood(inside(here));
  else stroke(here, here);
  update(tool !== "rectangle");
});
canvas.addEventListener("pointermove", (event) => {
  if (!last) return;
  const here = point(event);
  if (tool === "brush") stroke(last, here);
  last = here;
  update(tool === "brush");
});
function release() {
  if (!last) return;
  const pending = corner;
  if (pending) rectangle(pending, last);
  corner = last = null;
  update(Boolean(pending));
}
canvas.addEventListener("pointerup", release);
canvas.addEventListener("pointercancel", release);

const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
canvas.addEventListener("keydown", (event) => {
  const move = MOVES[event.key];
  if (move || event.key === " ") {
    event.preventDefault();
    cursor = cursor || { x: WIDTH >> 1, y: HEIGHT >> 1 };
  }
  if (move) {
    const step = event.shiftKey ? 1 : Math.max(1, Math.round(WIDTH / 32));
    cursor = inside({ x: cursor.x + step * move[0], y: cursor.y + step * move[1] });
    update(false);
  } else if (event.key === " ") {
    if (tool === "rectangle" && !corner) {
      corner = cursor;
      update(false);
      return;
    }
    remember();
    if (tool === "fill") flood(cursor);
    else if (corner) rectangle(corner, cursor);
    else disc(cursor.x, cursor.y);
    corner = null;
    update(true);
  } else if (event.key === "Escape") {
    corner = cursor = null;
    update(false);
  }
});
canvas.addEventListener("blur", () => update(false));

function choose(name) {
  tool = name;
  corner = null;
  for (const one of ["brush", "fill", "rectangle"]) at(one).setAttribute("aria-pressed", one === name);
  update(false);
}
for (const name of ["brush", "fill", "rectangle"]) at(name).addEventListener("click", () => choose(name));

function pick(position) {
  chosen = values[position];
  swatches.forEach((button, i) => button.setAttribute("aria-checked", i === position));
}
swatches.forEach((button, i) => {
  const swatch = button.querySelector("canvas").getContext("2d");
  swatch.fillStyle = `rgb(${colours[values[i]].join()})`;
  swatch.fillRect(0, 0, 1, 1);
  button.addEventListener("click", () => pick(i));
});

at("undo").addEventListener("click", () => {
  if (!history.length) return;
  labels = history.pop();
  at("undo").disabled = !history.length;
  update(true);
});
at("clear").addEventListener("click", () => {
  remember();
  labels.fill(0);
  update(true);
});
at("noise").addEventListener("click", () => {
  noise = (noise + Number(at("draws").value)) % 1000000;
  update(true);
});
at("draws").addEventListener("change", () => {
  layout();
  update(true);
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || /SELECT|INPUT/.test(event.target.tagName)) return;
  const size = at("size");
  const actions = {
    b: () => choose("brush"),
    f: () => choose("fill"),
    r: () => choose("rectangle"),
    z: () => at("undo").click(),
    n: () => at("noise").click(),
    "[": () => (size.value = Number(size.value) - 1),
    "]": () => (size.value = Number(size.value) + 1),
  };
  const digit = "1234567890".indexOf(event.key);
  if (digit >= 0 && digit < swatches.length) pick(digit);
  else if (event.key in actions) actions[event.key]();
});

async function load(response) {
  const content = await response;
  if (!content.ok) {
    const reason = await content.json().catch(() => ({ error: "the server refused it" }));
    say(reason.error, true);
    return;
  }
  remember();
  labels = new Uint8Array(await content.arrayBuffer());
  update(true);
}
if (at("example")) {
  at("example").addEventListener("change", (event) => {
    if (event.target.value !== "") load(fetch(`examples/${event.target.value}`)).catch(away);
  });
}
at("upload").addEventListener("change", (event) => {
  const [file] = event.target.files;
  if (file) load(fetch("drawing", { method: "POST", body: file })).catch(away);
  event.target.value = "";
});

// --- the translations ---

function layout() {
  const draws = Number(at("draws").value);
  for (const model of models) {
    const images = model.querySelector(".images");
    images.classList.toggle("several", draws > 1);
    const name = model.querySelector("h2").textContent;
    images.replaceChildren(
      ...Array.from({ length: draws }, (_, i) => {
        const image = document.createElement("canvas");
        [image.width, image.height] = [WIDTH, HEIGHT];
        image.setAttribute("role", "img");
        image.setAttribute("aria-label", `Translation by ${name}, draw ${i + 1}`);
        return image;
      }),
    );
  }
}

function say(text, bad = false) {
  at("status").textContent = text;
  at("status").classList.toggle("bad", bad);
}
const away = () => say("The server does not answer.", true);

async function translate() {
  busy = true;
  while (changed) {
    changed = false;
    const sent = labels.slice();
    const began = performance.now();
    try {
      for (const model of models) {
        for (const [i, image] of [...model.querySelectorAll(".images canvas")].entries()) {
          const path = `translate/${model.dataset.model}/${noise + i}`;
          const response = await fetch(path, { method: "POST", body: sent });
          if (!response.ok) throw new Error((await response.json()).error);
          const bitmap = await createImageBitmap(await response.blob());
          image.getContext("2d").drawImage(bitmap, 0, 0);
          bitmap.close();
        }
      }
      say(`${Math.round(performance.now() - began)} ms`);
    } catch (error) {
      if (error instanceof TypeError) away();
      else say(error.message, true);
    }
  }
  busy = false;
  at("rows").setAttribute("aria-busy", false);
}

let framed = false;
function update(drawn) {
  changed = changed || drawn;
  if (drawn) at("rows").setAttribute("aria-busy", true);
  if (framed) return;
  framed = true;
  requestAnimationFrame(() => {
    framed = false;
    paint();
    if (changed && !busy) translate();
  });
}

at("save").addEventListener("click", async () => {
  const images = models.flatMap((model) =>
    [...model.querySelectorAll("canvas")].map((image) => [image, model.querySelector("h2").innerText])
  );
  const sheet = document.createElement("canvas");
  [sheet.width, sheet.height] = [WIDTH * (1 + images.length), TITLE + HEIGHT];
  const onto = sheet.getContext("2d");
  onto.fillStyle = "white";
  onto.fillRect(0, 0, sheet.width, TITLE);
  onto.fillStyle = "black";
  onto.font = `${TITLE - 5}px sans-serif`;
  corner = cursor = null;
  paint();
  [[canvas, "drawing"], ...images].forEach(([image, title], i) => {
    onto.drawImage(image, i * WIDTH, TITLE);
    onto.fillText(title, i * WIDTH + 2, TITLE - 4, WIDTH - 4);
  });
  const blob = await new Promise((done) => sheet.toBlob(done, "image/png"));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = "drawing-and-translations.png";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
});

pick(Math.min(1, swatches.length - 1));
layout();
update(true);
