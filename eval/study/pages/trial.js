// One session of a participant. A pair is shown for a number of milliseconds counted by frames, after
// both images are decoded and drawn; then the answer may take any time.
"use strict";

const session = document.getElementById("session");
const at = (id) => document.getElementById(id);
const PRACTICE = Number(session.dataset.practice);
const TOTAL = Number(session.dataset.total);
const SHOWN_MS = Number(session.dataset.shownMs);
const MOST_FRAME_MS = 50;
const PAUSE_MS = 500; // between an answer and the next pair
const canvases = [at("pictureA"), at("pictureB")];
const choices = { A: at("choiceA"), B: at("choiceB") };

const frame = () => new Promise(requestAnimationFrame);
const wait = (ms) => new Promise((done) => setTimeout(done, ms));

// The server may be restarting: try again until it answers. An answer that arrives twice counts once.
async function call(path, options) {
  for (let pause = 300; ; pause = Math.min(2 * pause, 5000)) {
    try {
      const response = await fetch(path, { cache: "no-store", ...options });
      if (response.status === 401 || response.status === 409) {
        location.reload(); // another tab went on, or the study was started anew
        await new Promise(() => {});
      }
      if (response.ok) return response;
    } catch (error) {
      // offline, or the server is away
    }
    at("question").textContent = "Connection lost. Trying again…";
    await wait(pause);
  }
}

// Waits for a click or a key; `options` is {value: [button, keys]}.
function pick(options) {
  const over = new AbortController();
  return new Promise((done) => {
    const end = (value) => {
      over.abort();
      done(value);
    };
    for (const [value, [button, keys]] of Object.entries(options)) {
      button.addEventListener("click", () => end(value), { signal: over.signal });
      const key = (event) => {
        if (event.repeat || !keys.includes(event.key)) return;
        event.preventDefault();
        end(value);
      };
      document.addEventListener("keydown", key, { signal: over.signal });
    }
  });
}

async function card(heading, message, label, tone = "") {
  at("heading").textContent = heading;
  at("heading").className = tone;
  at("message").textContent = message;
  at("next").textContent = label;
  at("next").hidden = !label;
  at("question").textContent = "";
  at("card").hidden = false;
  if (!label) return;
  at("next").focus({ preventScroll: true });
  await pick({ next: [at("next"), ["Enter"]] });
  at("card").hidden = true;
}

function where(trial) {
  const practice = trial < PRACTICE;
  at("where").textContent = practice
    ? `Practice ${trial + 1} of ${PRACTICE}`
    : `Trial ${trial - PRACTICE + 1} of ${TOTAL - PRACTICE}`;
  at("progress").value = trial;
}

async function load(trial) {
  const response = await call(`pair/${trial}`);
  const pair = await createImageBitmap(await response.blob());
  canvases.forEach((canvas, side) => {
    const { width, height } = canvas;
    canvas.getContext("2d").drawImage(pair, side * width, 0, width, height, 0, 0, width, height);
  });
  pair.close();
}

// Returns for how long the pair was on the screen, by the times of the frames, in milliseconds; null
// if a frame at its beginning or end took so long that nobody can say.
async function show() {
  await frame();
  const begin = await frame();
  at("pictures").classList.add("shown");
  let now = await frame();
  let last = now;
  let half = 8;
  const first = now - begin;
  while (now - begin < SHOWN_MS - half) {
    now = await frame();
    half = Math.min(now - last, 40) / 2;
    last = now;
  }
  at("pictures").classList.remove("shown");
  const after = (await frame()) - now;
  return Math.max(first, after) > MOST_FRAME_MS ? null : now - begin;
}

async function choose() {
  for (const button of Object.values(choices)) button.disabled = false;
  at("question").textContent = "Which image was generated?";
  const chosen = await pick({
    A: [choices.A, ["a", "A", "ArrowLeft", "ArrowUp"]],
    B: [choices.B, ["b", "B", "ArrowRight", "ArrowDown"]],
  });
  for (const button of Object.values(choices)) button.disabled = true;
  return chosen;
}

async function trial(number) {
  where(number);
  at("question").textContent = "Look…";
  await Promise.all([load(number), wait(PAUSE_MS)]);
  const shown = await show();
  const begin = performance.now();
  const choice = await choose();
  const answer = { trial: number, choice, shown_ms: shown, answer_ms: performance.now() - begin };
  const response = await call("answer", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(answer),
  });
  return { ...(await response.json()), choice };
}

async function run() {
  let state = await (await call("state")).json();
  let greeted = false;
  while (!state.done) {
    const number = state.trial;
    where(number);
    if (number === PRACTICE) {
      await card("The practice is over", `Now ${TOTAL - PRACTICE} trials without feedback.`, "Go on");
    } else if (!greeted) {
      const intro = `Each pair is shown for ${SHOWN_MS / 1000} second, so look closely. One image was generated by a program. Say which.`;
      await card(number ? "Welcome back" : "Ready?", intro, number ? "Go on" : "Start");
    }
    greeted = true;
    state = await trial(number);
    if ("correct" in state) {
      const [word, tone] = state.correct ? ["Right", "good"] : ["Wrong", "bad"];
      const other = state.choice === "A" ? "B" : "A";
      const fake = state.correct ? state.choice : other;
      await card(word, `${fake} was generated.`, "Next", tone);
    }
  }
  at("progress").value = TOTAL;
  at("where").textContent = "Done";
  at("choices").hidden = true;
  at("hint").hidden = true;
  await card("Thank you", "All your answers are saved. You can close this page. Your completion code:", "");
  at("code").textContent = state.code;
  at("code").hidden = false;
}

run();
