"use strict";

const byId = (id) => document.getElementById(id);
const STRIP_PX = 60; // height of the strip's frames, about
const DENSE_PX = 38; // where there are many
const MAX_ROWS = 5;
const MAX_DENSE_ROWS = 12;
const TICKS_S = [0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600];

let state = null; // what the server said last
let fast = null; // the fast view: sheet, size and times of its frames
let span = null; // what is chosen: [start_s, end_s]
let isBusy = false;

// ---- talking to the server

async function call(name, values) {
  let response;
  try {
    response = await fetch(name, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ episode: state?.episode, ...values }),
    });
  } catch {
    throw new Error("The server does not answer any more. Start videozoom play again, then load this page.");
  }
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.problem);
  return answer;
}

async function act(name, values) {
  if (isBusy) return;
  isBusy = true;
  document.body.setAttribute("aria-busy", "true");
  try {
    const answer = await call(name, values);
    byId("problem").hidden = true;
    state = answer;
    if (answer.fast_view) {
      fast = { ...answer.fast_view, sheet: await loaded(answer.fast_view.src) };
      span = null;
    }
    show(name);
  } catch (error) {
    byId("problem").textContent = error.message;
    byId("problem").hidden = false;
  } finally {
    isBusy = false;
    document.body.removeAttribute("aria-busy");
  }
}

async function loaded(src) {
  if (!src) return null;
  const image = new Image();
  image.src = src;
  await image.decode();
  return image;
}

const start = (position) => act("start", { position });
const zoom = () => state.can_zoom && span && act("zoom", { start_s: span[0], end_s: span[1] });

// ---- what is shown

function show(cause) {
  byId("place").textContent = `Question ${state.position + 1} of ${state.num_tasks}`;
  byId("score").textContent = state.num_played ? `${state.num_right} of ${state.num_played} right` : "";
  byId("skip").hidden = state.is_over || state.num_tasks === 1;
  byId("play").hidden = state.is_over;
  byId("truth").hidden = !state.is_over;
  if (state.is_over) {
    showTruth();
    return;
  }
  if (cause === "start") {
    byId("question").textContent = state.question;
    const hasOptions = state.options.length > 0;
    byId("options").setAttribute("role", hasOptions ? "radiogroup" : "group");
    byId("options").replaceChildren(...(hasOptions ? state.options.map(optionOf) : [textInput()]));
    byId("answer").disabled = true;
    for (const id of ["start", "end"]) byId(id).value = "";
    byId("question").focus({ preventScroll: true });
    window.scrollTo(0, 0);
  }
  const left = state.max_steps - state.step;
  byId("steps").textContent =
    `Step ${state.step + 1} of ${state.max_steps}: ` +
    (state.can_zoom ? `${left - 1 === 1 ? "one zoom is" : `up to ${left - 1} zooms are`} left, then you must answer.`
      : "you must answer now.");
  byId("zooming").hidden = byId("keys").hidden = !state.can_zoom;
  byId("advice").textContent = "";
  if (cause === "zoom") span = null;
  for (const id of ["start", "end"]) byId(id).max = state.duration_s;
  byId("timeline").setAttribute("aria-label", `Strip of the video, ${seconds(state.duration_s)} s`);
  drawTimeline();
  byId("clips").replaceChildren(...state.turns.map(turnOf).reverse());
  if (cause !== "zoom") return;
  const next = state.can_zoom ? byId("timeline") : byId("options").querySelector("input");
  next.focus({ preventScroll: true });
  byId("clips").firstElementChild.scrollIntoView({ block: "nearest" });
}

function showTruth() {
  const { is_right: isRight, answer, card, evidence } = state.truth;
  const right = state.options.find((option) => option.letter === answer);
  byId("verdict").textContent = state.error
    ? `This video cannot be read: ${state.error}`
    : isRight ? "Right." : `Wrong. The answer is ${right ? `${right.letter}, ${right.text}` : answer}.`;
  byId("verdict").className = isRight ? "good" : "bad";
  byId("card").innerHTML = card; // made by the server, which escapes all text
  byId("evidence").replaceChildren(...evidence.map(evidenceOf));
  const isLast = state.position + 1 === state.num_tasks;
  byId("next").textContent = isLast ? "Start again with the first question" : "Next question";
  byId("next").focus({ preventScroll: true });
  window.scrollTo(0, 0);
}

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function optionOf({ letter, text }) {
  const input = element("input", { type: "radio", name: "option", value: letter });
  return element("label", {}, input, element("b", {}, letter), element("span", {}, text));
}

const WANTED = {
  numerical: "A number",
  transcription: "What is shown or said, word by word",
  open: "A few words",
  temporal_grounding: "When it happens: [start, end] in seconds",
};

function textInput() {
  const input = element("input", { type: "text", name: "text", size: 40, autocomplete: "off", maxlength: 2000 });
  input.setAttribute("placeholder", WANTED[state.kind]);
  input.setAttribute("aria-labelledby", "question");
  return input;
}

function turnOf(turn) {
  const what = turn.span_s ? `zoom into ${seconds(turn.span_s[0])} to ${seconds(turn.span_s[1])} s` : "no zoom";
  const caption = element("figcaption", {}, element("i"), `Step ${turn.step}: ${what}`);
  if (turn.problem) caption.append(`, refused: ${turn.problem}.`);
  return element("figure", { class: "style-you" }, caption, framesOf(turn));
}

function evidenceOf(clip) {
  const words = `What the evidence shows, ${seconds(clip.span_s[0])} to ${seconds(clip.span_s[1])} s`;
  const caption = element("figcaption", {}, element("i"), words);
  return element("figure", { class: "style-evidence" }, caption, framesOf(clip));
}

function framesOf({ frames, is_sharp: isSharp }) {
  const pictures = frames.map(({ src, time_s: time }) =>
    element(
      "div",
      {},
      element("img", { src, alt: `Frame at ${seconds(time)} s`, class: isSharp ? "sharp" : "" }),
      element("p", {}, `${seconds(time)} s`),
    ),
  );
  return element("div", { class: "frames" }, ...pictures);
}

const seconds = (time) => String(Math.round(time * 10) / 10);

// ---- the strip over time, in rows

let rows = []; // of the strip: the time each begins and ends, and its elements
let drawnWidth = 0;

function drawTimeline() {
  const width = (drawnWidth = byId("timeline").clientWidth);
  if (!state || !fast || !width) return;
  const duration = state.duration_s;
  const aspect = fast.sheet ? fast.width / fast.height : 16 / 9;
  const numFrames = Math.max(1, fast.times_s.length);
  const slotsAt = (height) => Math.max(1, Math.round(width / (height * aspect)));
  const large = slotsAt(width < 500 ? 0.75 * STRIP_PX : STRIP_PX);
  const isDense = numFrames > MAX_ROWS * large;
  const fitting = isDense ? slotsAt(DENSE_PX) : large;
  const numRows = Math.min(isDense ? MAX_DENSE_ROWS : MAX_ROWS, Math.ceil(numFrames / fitting));
  // Each frame once, unless there are so few that they would be large.
  const slots = Math.min(fitting, Math.max(Math.ceil(numFrames / numRows), Math.ceil(fitting / 1.6)));
  rows = [];
  for (let index = 0; index < numRows; index += 1) {
    const window_ = { start: (index * duration) / numRows, end: ((index + 1) * duration) / numRows };
    window_.film = element("div", { class: "film" }, stripOf(window_, slots, width, aspect));
    window_.row = element("div", { class: "row" }, window_.film, ...laneOf(window_), axisOf(window_, width));
    rows.push(window_);
  }
  byId("timeline").replaceChildren(...rows.map((it) => it.row), lens);
  lens.hidden = true;
  const numShown = Math.min(numFrames, slots * numRows);
  byId("shown").textContent = numShown < numFrames
    ? `${numShown} of its ${numFrames} frames; the others appear under the pointer and the keys.` : "";
  drawChosen();
}

function stripOf(window_, slots, width, aspect) {
  const ratio = window.devicePixelRatio || 1;
  const height = width / slots / aspect;
  const canvas = element("canvas", { width: Math.round(width * ratio), height: Math.round(height * ratio) });
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = !fast.is_sharp;
  for (let slot = 0; fast.sheet && slot < slots; slot += 1) {
    const time = window_.start + ((slot + 0.5) / slots) * (window_.end - window_.start);
    const left = Math.round((slot * canvas.width) / slots);
    const right = Math.round(((slot + 1) * canvas.width) / slots);
    context.drawImage(fast.sheet, ...placeOf(frameAt(time)), left, 0, right - left, canvas.height);
  }
  return canvas;
}

// The frame nearest to a time.
function frameAt(time) {
  const after = fast.times_s.findIndex((it) => it > time);
  if (after === 0) return 0;
  if (after < 0) return fast.times_s.length - 1;
  return fast.times_s[after] - time < time - fast.times_s[after - 1] ? after : after - 1;
}

function placeOf(frame) {
  const [column, line] = [frame % fast.columns, Math.floor(frame / fast.columns)];
  return [column * fast.width, line * fast.height, fast.width, fast.height];
}

function laneOf(window_) {
  const lanes = [];
  for (const turn of state.turns.filter((it) => it.span_s && it.frames.length)) {
    const band = bandOf(window_, turn.span_s, "band style-you");
    if (!band) continue;
    band.textContent = String(turn.step);
    lanes.push(element("div", { class: "lane" }, band));
  }
  return lanes;
}

function bandOf(window_, [start, end], name) {
  const [from, to] = [Math.max(start, window_.start), Math.min(end, window_.end)];
  if (from >= to) return null;
  const band = element("span", { class: name });
  const share = (time) => (100 * (time - window_.start)) / (window_.end - window_.start);
  band.style.left = `${share(from)}%`;
  band.style.width = `${share(to) - share(from)}%`;
  return band;
}

function axisOf(window_, width) {
  const length = window_.end - window_.start;
  const step = TICKS_S.find((it) => (it / length) * width >= 56) ?? length;
  const ticks = [];
  for (let time = Math.ceil(window_.start / step - 1e-6) * step; time < window_.end - 1e-6; time += step) {
    const share = (time - window_.start) / length;
    if ((1 - share) * width < 34) break; // its text would leave the page
    const tick = element("span", {}, `${seconds(time)} s`);
    tick.style.left = `${100 * share}%`;
    ticks.push(tick);
  }
  return element("div", { class: "axis" }, ...ticks);
}

function drawChosen() {
  for (const window_ of rows) {
    for (const old of window_.film.querySelectorAll(".chosen")) old.remove();
    const band = span && bandOf(window_, span, "chosen");
    if (band) window_.film.append(band);
  }
  byId("zoom").disabled = !span;
}

// ---- choosing a span

const snap = (time) => {
  const grid = state.duration_s < 20 ? 0.1 : 0.5;
  return Math.min(state.duration_s, Math.max(0, Math.round(time / grid) * grid));
};

function choose(from, to, { fromInputs = false } = {}) {
  span = [Math.min(from, to), Math.max(from, to)];
  if (!fromInputs) {
    byId("start").value = seconds(span[0]);
    byId("end").value = seconds(span[1]);
  }
  drawChosen();
  advise();
}

let asked = 0;
async function advise() {
  const number = (asked += 1);
  const length = span[1] - span[0];
  let problem = null;
  try {
    problem = (await call("check", { start_s: span[0], end_s: span[1] })).problem;
  } catch {
    return; // the zoom itself will say it
  }
  if (number !== asked || !span) return;
  byId("advice").textContent = problem ? `${seconds(length)} s: this would cost a step and be refused, ${problem}.`
    : `${seconds(length)} s`;
  byId("advice").className = problem ? "fine bad" : "fine";
}

function timeAt(event) {
  const boxes = rows.map((window_) => window_.film.getBoundingClientRect());
  const distance = (box) => Math.max(box.top - event.clientY, event.clientY - box.bottom, 0);
  const nearest = boxes.reduce((best, box, index) => (distance(box) < distance(boxes[best]) ? index : best), 0);
  const share = Math.min(1, Math.max(0, (event.clientX - boxes[nearest].left) / boxes[nearest].width));
  return rows[nearest].start + share * (rows[nearest].end - rows[nearest].start);
}

const lens = element("div", { id: "lens", "aria-hidden": "true" }, element("canvas"), element("p"));

function showLens(time) {
  if (!fast.sheet) return;
  const [canvas, text] = lens.children;
  const scale = Math.max(1, Math.round(112 / fast.height));
  [canvas.width, canvas.height] = [fast.width * scale, fast.height * scale];
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = !fast.is_sharp;
  context.drawImage(fast.sheet, ...placeOf(frameAt(time)), 0, 0, canvas.width, canvas.height);
  text.textContent = `${seconds(time)} s`;
  lens.hidden = false;
  const box = byId("timeline").getBoundingClientRect();
  const row = rows.findLast((it) => time >= it.start) ?? rows[0];
  const x = ((time - row.start) / (row.end - row.start)) * box.width - lens.offsetWidth / 2;
  lens.style.left = `${Math.max(0, Math.min(x, box.width - lens.offsetWidth))}px`;
  const top = row.film.getBoundingClientRect().top - box.top - lens.offsetHeight - 8;
  // Below the row where there is no room above it.
  lens.style.top = `${box.top + top < 0 ? row.row.getBoundingClientRect().bottom - box.top + 4 : top}px`;
}

let dragged = null; // where a drag began

byId("timeline").addEventListener("pointerdown", (event) => {
  if (!state.can_zoom || event.button !== 0) return;
  byId("timeline").setPointerCapture(event.pointerId);
  dragged = { time: timeAt(event), isMoved: false };
});
byId("timeline").addEventListener("pointermove", (event) => {
  const time = timeAt(event);
  showLens(time);
  if (!dragged) return;
  const [from, to] = [snap(dragged.time), snap(time)];
  if (from !== to) {
    dragged.isMoved = true;
    choose(from, to);
  }
});
byId("timeline").addEventListener("pointerup", (event) => {
  if (!dragged) return;
  if (!dragged.isMoved) centre(timeAt(event));
  dragged = null;
  if (event.pointerType !== "mouse") lens.hidden = true;
});
byId("timeline").addEventListener("pointercancel", () => {
  dragged = null;
  lens.hidden = true;
});
for (const leaving of ["pointerleave", "blur"]) byId("timeline").addEventListener(leaving, () => (lens.hidden = true));

// A click takes a span of the last length around it.
function centre(time) {
  const length = span ? span[1] - span[0] : Math.max(1, Math.min(8, state.duration_s / 8));
  const from = snap(Math.min(Math.max(0, time - length / 2), state.duration_s - length));
  choose(from, Math.min(state.duration_s, from + length));
}

byId("timeline").addEventListener("keydown", (event) => {
  const direction = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!state.can_zoom) return;
  if (event.key === "Enter") {
    event.preventDefault();
    zoom();
  } else if (direction && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    const by = direction * Math.max(0.5, snap(state.duration_s / 128));
    if (!span) centre(0);
    else if (event.shiftKey) choose(span[0], Math.max(span[0] + 0.1, Math.min(state.duration_s, span[1] + by)));
    else if (span[0] + by >= 0 && span[1] + by <= state.duration_s + 1e-6) choose(span[0] + by, span[1] + by);
    showLens(event.shiftKey ? span[1] : span[0]);
  }
});

for (const id of ["start", "end"]) {
  byId(id).addEventListener("input", () => {
    const [from, to] = [byId("start").valueAsNumber, byId("end").valueAsNumber];
    if (Number.isFinite(from) && Number.isFinite(to)) choose(from, to, { fromInputs: true });
  });
}
byId("zooming").addEventListener("submit", (event) => {
  event.preventDefault();
  zoom();
});

// ---- answering, and going on

byId("options").addEventListener("input", (event) => {
  byId("answer").disabled = event.target.type === "text" && !event.target.value.trim();
});
byId("answers").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = byId("options").querySelector("input[type=text]");
  const chosen = byId("options").querySelector(":checked");
  if (text) act("answer", { text: text.value });
  else if (chosen) act("answer", { letter: chosen.value });
});
document.addEventListener("keydown", (event) => {
  if (!state || state.is_over || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input[type=number], input[type=text]")) return;
  const input = [...byId("options").querySelectorAll("input[type=radio]")].find((it) => it.value === event.key.toUpperCase());
  if (!input) return;
  input.checked = true;
  input.focus();
  byId("answer").disabled = false;
});

const goOn = () => {
  const position = (state.position + 1) % state.num_tasks;
  history.replaceState(null, "", `#${position + 1}`);
  start(position);
};
byId("skip").addEventListener("click", goOn);
byId("next").addEventListener("click", goOn);

new ResizeObserver(() => byId("timeline").clientWidth !== drawnWidth && drawTimeline()).observe(byId("timeline"));
const first = Number.parseInt(location.hash.slice(1), 10);
start(Number.isFinite(first) && first > 0 ? first - 1 : 0);
