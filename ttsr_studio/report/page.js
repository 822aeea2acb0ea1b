/* What is seen: the page of one render, from the data that it carries. Names reach it as text only. */

const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const reduced = matchMedia("(prefers-reduced-motion: reduce)");
const state = {
  heard: 1,
  matched: true,
  difference: false,
  loop: true,
  region: [0, data.seconds],
  scale: "linear",
  uncertain: false,
  keys: true,
  test: null,
  results: [],
};
let player = null;
let buffers = [];
const known = new Map(); // what is computed of differences, by what they are of

/* Words and numbers. */

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "role") made.setAttribute(key, value);
    else if (key.startsWith("aria")) made.setAttribute(key.replace("aria", "aria-").toLowerCase(), value);
    else made[key] = value;
  }
  made.append(...children);
  return made;
}

/** Make a picture of a node, for those who hear the page. */
function describe(node, text) {
  node.setAttribute("role", "img");
  node.setAttribute("aria-label", text);
}

function number(value, digits, sign = false) {
  if (value === null || value === undefined) return "–";
  const text = Math.abs(value).toFixed(digits);
  const minus = value < 0 && Number(text) !== 0;
  return (minus ? "−" : sign ? "+" : "") + text;
}

function clock(seconds) {
  const tenths = Math.floor(seconds * 10 + 1e-6);
  const [minutes, rest] = [Math.floor(tenths / 600), (tenths % 600) / 10];
  return `${minutes}:${rest.toFixed(1).padStart(4, "0")}`;
}

function kilohertz(hz) {
  return `${(hz / 1000).toFixed(1)} kHz`;
}

const track = (i) => data.tracks[i];
const levels = () => data.tracks.map(({ level_db }) => amplitude(state.matched || state.test ? level_db ?? 0 : 0));
const ownGains = data.tracks.map(({ gain_db }) => amplitude(gain_db));
const say = (text) => (byId("hearing").textContent = text);

/* What is heard. */

function kind() {
  return state.difference && !state.test ? byId("kind").value : "";
}

const nameOf = (what) => [what, state.heard, kind(), state.matched].join();

/** Something computed of the samples of the difference, once. */
function ofDifference(what, compute) {
  const name = nameOf(what);
  if (!known.has(name)) known.set(name, compute(mixDown(buffers, mixOf(state.heard, levels(), ownGains, kind()))));
  return known.get(name);
}

/** The gain of the difference: as asked for, or as much as does not clip. */
function boost() {
  const peak = ofDifference("peak", peakOf);
  const most = peak > 0 ? -20 * Math.log10(peak) : Infinity;
  return Math.min(Number(byId("boost").value), Math.max(0, most));
}

function words() {
  const { label } = track(state.heard);
  if (!state.difference) return `Hearing: ${label}`;
  const version = track(Math.max(1, state.heard)).label;
  const gain = number(boost(), 1, true).replace(".0", "");
  const asked = Number(byId("boost").value);
  const short = boost() < asked ? ` (${asked} dB would clip)` : "";
  if (kind() === "chosen" && state.heard === 1) return "Hearing: nothing, the choice is no different from itself";
  const pair = kind() === "chosen" && state.heard > 1 ? `${track(1).label} minus ${label}` : `${version} minus input`;
  return `Hearing the difference: ${pair}, at ${gain} dB${short}`;
}

function hear(heard = state.heard) {
  state.heard = heard;
  player.hear(mixOf(heard, levels(), ownGains, kind(), kind() ? amplitude(boost()) : 1));
  say(words());
  if (heard > 0) byId("use").value = heard;
  refresh();
}

function toggle(name) {
  state[name] = !state[name];
  hear();
}

async function playOrPause() {
  if (player.playing) player.pause();
  else await player.play();
  refresh();
  tick();
}

function seek(place) {
  if (state.loop && (place < state.region[0] || place >= state.region[1])) setRegion([0, data.seconds]);
  player.seek(place);
  refresh();
}

function setRegion([from, to]) {
  const [start, end] = [Math.max(0, from), Math.min(data.seconds, to)];
  if (end - start < SHORTEST_LOOP) return say(`A loop lasts at least ${SHORTEST_LOOP} s`);
  state.region = [start, end];
  setLoop(true);
}

function setLoop(on) {
  state.loop = on;
  player.setLoop(on ? state.region : null);
  refresh();
}

/* What is shown. */

function refresh() {
  const [test, place] = [state.test, player ? player.place : 0];
  const press = (id, on) => byId(id).setAttribute("aria-pressed", String(on));
  for (const button of byId("versions").children) {
    button.setAttribute("aria-pressed", String(!test && Number(button.dataset.track) === state.heard));
    button.disabled = Boolean(test);
  }
  for (const id of ["match", "difference", "kind", "boost"]) byId(id).disabled = Boolean(test);
  press("play", Boolean(player?.playing));
  byId("play").lastElementChild.textContent = player?.playing ? "Pause" : "Play";
  press("loop", state.loop);
  press("match", state.matched || test);
  press("difference", state.difference && !test);
  for (const scale of ["linear", "log"]) press(scale, state.scale === scale);
  press("uncertain", state.uncertain);
  press("keys", state.keys);
  byId("region").textContent = state.region.map((s) => clock(data.start + s)).join(" to ");
  byId("covered").hidden = !test;
  byId("pictures").hidden = Boolean(test);
  if (!test) refreshPictures();
  refreshTrial();
  refreshUse();
  showPlace(place);
  byId("seek").setAttribute("aria-valuetext", clock(data.start + place)); // not while it moves: it would be read out
  showLevels();
}

function showLevels() {
  const { label, lufs, level_db } = track(state.heard);
  const parts = [];
  if (!state.test && !kind()) {
    const known = level_db === null ? "its loudness is not known: no offset" : `${number(lufs, 2)} LUFS-I, offset ${number(level_db, 2, true)} dB`;
    parts.push(`${label}: ${known}${state.matched ? "" : " (not applied)"}`);
  }
  if (data.gain_db < 0) parts.push(`everything is ${number(-data.gain_db, 2)} dB lower so that nothing clips`);
  const rate = player?.contextRate;
  const resampled = rate && rate !== data.rate ? ": the browser resamples" : "";
  parts.push(`files ${data.rate} Hz, playing at ${rate ? `${rate} Hz${resampled}` : "(not started)"}`);
  byId("levels").textContent = parts.join("  ·  ");
}

function showPlace(place) {
  byId("clock").textContent = `${clock(data.start + place)} / ${clock(data.start + data.seconds)}`;
  byId("seek").value = place;
  const percent = `${(100 * place) / data.seconds}%`;
  byId("head").style.left = percent;
  for (const line of document.querySelectorAll("#all .thin")) line.style.left = percent;
  const [from, to] = state.region.map((s) => (100 * s) / data.seconds);
  Object.assign(byId("loopmark").style, { left: `${from}%`, width: `${to - from}%` });
  byId("loopmark").hidden = !state.loop || to - from > 99.99;
}

let ticking = false;
function tick() {
  if (ticking || !player.playing) return;
  ticking = true;
  const again = () => {
    ticking = false;
    if (!player.playing) return;
    showPlace(player.place);
    tick();
  };
  if (reduced.matches) setTimeout(again, 250);
  else requestAnimationFrame(again);
}

/* Pictures. */

const urls = ({ linear, log }) => ({ linear: `data:image/png;base64,${linear}`, log: `data:image/png;base64,${log}` });
const pictures = data.tracks.map((one) => urls(one.pictures));
const overlay = data.overlay && urls(data.overlay);

const EMPTY = { linear: "data:image/gif;base64,R0lGODlhAQABAIAAAAAABAAAACwAAAAAAQABAAACAkQBADs=" };
EMPTY.log = EMPTY.linear;

/** Set a picture, unless it is there: to set it again would make it flicker. */
function show(image, url) {
  if (image.shown !== url) image.src = image.shown = url;
}

function percentOf(hz) {
  const edges = data.scale.rows[state.scale];
  const [low, high] = [edges[0], edges[edges.length - 1]];
  const share = state.scale === "linear" ? (hz - low) / (high - low) : Math.log(hz / low) / Math.log(high / low);
  return 100 - 100 * Math.min(1, Math.max(0, share));
}

/** A screen with its frequency axis and the strip that says what was made. */
function buildPlot(plot, small) {
  const screen = element("div", { className: "screen" });
  const picture = element("img", { decoding: "sync", draggable: false });
  const tint = element("img", { alt: "", decoding: "sync", draggable: false });
  screen.append(picture, tint, element("div", { className: "marks" }));
  screen.append(element("span", { className: small ? "thin" : "name title" }));
  plot.append(element("div", { className: "ticks", ariaHidden: "true" }), screen, element("div", { className: "strip", ariaHidden: "true" }));
  dragOn(screen);
}

function drawPlot(plot, of, what, small) {
  const [picture, tint] = plot.querySelectorAll("img");
  const axis = state.scale === "linear" ? "linear" : "logarithmic";
  show(picture, of[state.scale]);
  picture.alt = `Spectrogram of ${what}, ${axis} frequency axis up to ${kilohertz(data.rate / 2)}`;
  tint.hidden = !(state.uncertain && overlay);
  if (overlay) show(tint, overlay[state.scale]);
  const all = state.scale === "linear" ? [0, 4, 8, 12, 16, 20, 24] : [50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000];
  const few = state.scale === "linear" ? [0, 8, 16, 24] : [100, 1000, 10000];
  const hertz = (small ? few : all).map((f) => (state.scale === "linear" ? 1000 * f : f)).filter((hz) => hz <= data.rate / 2);
  const ticks = hertz.map((hz) => at(element("span", {}, hz < 1000 && hz ? `${hz} Hz` : `${hz / 1000} kHz`), hz));
  plot.querySelector(".ticks").replaceChildren(...ticks);
  plot.querySelector(".marks").replaceChildren(...(small ? marks().slice(0, 1) : marks()));
  plot.querySelector(".strip").replaceChildren(...strip());
}

function at(node, hz) {
  const percent = percentOf(hz);
  node.style.top = `clamp(0.5rem, ${percent}%, 100% - 0.5rem)`;
  return node;
}

function marks() {
  if (data.cutoff_hz === null) return [];
  const line = (hz, name) => {
    const mark = element("div", { className: `line ${name}` });
    mark.style.top = `${percentOf(hz)}%`;
    return mark;
  };
  const name = element("span", { className: "name" }, `cutoff ${kilohertz(data.cutoff_hz)}`);
  name.style.top = `calc(${percentOf(data.cutoff_hz)}% ${percentOf(data.cutoff_hz) > 12 ? "- 1.5rem" : "+ 0.3rem"})`;
  return [line(data.cutoff_hz, ""), name, line(data.crossover_hz[0], "cross")];
}

function strip() {
  const [low, high] = data.crossover_hz.map(percentOf);
  return [["made", 0, high], ["both", high, low], ["kept", low, 100]].map(([name, top, bottom]) => {
    const part = element("i", { className: name });
    Object.assign(part.style, { top: `${top}%`, height: `${bottom - top}%` });
    return part;
  });
}

function refreshPictures() {
  const what = words().replace("Hearing: ", "").replace(/, at .*/, "");
  const name = byId("main").querySelector(".title");
  if (kind()) {
    const there = known.get(nameOf("pictures"));
    drawPlot(byId("main"), there ?? EMPTY, what);
    if (!there) setTimeout(() => kind() && ofDifference("pictures", paint) && refreshPictures(), 30); // the sound first
    name.textContent = `${what.replace("Hearing the difference: ", "")} (drawn without gain)`;
  } else {
    drawPlot(byId("main"), pictures[state.heard], track(state.heard).label);
    name.textContent = track(state.heard).label;
  }
  for (const plot of byId("all").children) {
    const i = Number(plot.dataset.track);
    drawPlot(plot.querySelector(".plot"), pictures[i], track(i).label, true);
    plot.classList.toggle("heard", i === state.heard && !state.difference);
    plot.querySelector("button").setAttribute("aria-pressed", String(i === state.heard));
  }
}

/** Draw what is in no file, on the scale of what is. */
function paint(channels) {
  const { bins, columns, rows, colours } = data.scale;
  const levels = levelsOf(channels, bins, columns);
  const palette = colours.match(/.{6}/g).map((hex) => parseInt(hex, 16));
  const drawn = (edges) => paintRows(byRow(levels, edges, data.rate / 2 / bins), palette);
  return { linear: drawn(rows.linear), log: drawn(rows.log) };
}

function paintRows(rows, palette) {
  const { columns, top_db, range_db } = data.scale;
  const canvas = element("canvas", { width: columns, height: rows.length });
  const image = canvas.getContext("2d").createImageData(columns, rows.length);
  const last = palette.length - 1;
  rows.reverse().forEach((levels, y) => {
    levels.forEach((db, x) => {
      const share = (db - data.gain_db - top_db) / range_db + 1;
      const colour = palette[Math.min(last, Math.max(0, Math.round(last * share)))];
      const pixel = 4 * (y * columns + x);
      for (let i = 0; i < 3; i++) image.data[pixel + i] = (colour >> (16 - 8 * i)) & 255;
      image.data[pixel + 3] = 255;
    });
  });
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas.toDataURL();
}

/** Click to go there, drag to loop there. */
function dragOn(screen) {
  let from = null;
  const share = (event) => {
    const box = screen.getBoundingClientRect();
    return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)) * data.seconds;
  };
  screen.addEventListener("pointerdown", (event) => (from = event.button === 0 ? [event.clientX, share(event)] : null));
  addEventListener("pointerup", (event) => {
    if (from === null || !player) return;
    const [x, start] = from;
    from = null;
    if (Math.abs(event.clientX - x) < 5) seek(start);
    else setRegion([start, share(event)].sort((a, b) => a - b));
  });
  screen.addEventListener("pointercancel", () => (from = null));
}

/* The timeline. */

const place = (second) => Math.min(100, Math.max(0, (100 * (second - data.start)) / data.seconds));

function spread(node, from, to, [left, right] = [0, 100]) {
  const scale = (percent) => (100 * (percent - left)) / (right - left || 1);
  Object.assign(node.style, { left: `${scale(from)}%`, width: `${scale(to) - scale(from)}%` });
  return node;
}

function part(candidate, chosen) {
  const known = candidate !== null;
  const same = known && chosen !== undefined && candidate === chosen;
  const node = element("span", { className: `part ${known ? "" : "none"} ${same ? "same" : ""}` }, known ? String(candidate) : "–");
  if (known && !same) node.style.background = `hsl(${(candidate * 137.5 + 200) % 360} 62% 74%)`;
  return node;
}

function describeWindow(window) {
  const [first, last] = [window.parts[0], window.parts[window.parts.length - 1]];
  const span = `${clock(first[0])} to ${clock(last[1])}`;
  const chosen = window.parts.map(([, , candidates]) => candidates[0]);
  const made = window.count ? `${window.count} candidates, chosen ${[...new Set(chosen)].join(", ")}` : "passed through";
  return `Window ${window.index}, ${span}, ${made}: ${window.reason}`;
}

function windowButton(window) {
  const edges = [place(window.parts[0][0]), place(window.parts[window.parts.length - 1][1])];
  const button = element("button", { type: "button", ariaLabel: describeWindow(window) });
  for (const [from, to, candidates] of window.parts) button.append(spread(part(candidates[0]), place(from), place(to), edges));
  const show = () => (byId("detail").textContent = describeWindow(window));
  button.addEventListener("mouseenter", show);
  button.addEventListener("focus", show);
  button.addEventListener("click", () => seek(Math.max(0, window.parts[0][0] - data.start)));
  return spread(button, ...edges);
}

function lane(name, ...children) {
  const bar = element("div", { className: "bar" }, ...children);
  byId("timeline").append(element("div", { className: "track" }, element("span", { title: name }, name), bar));
  return bar;
}

function buildTimeline() {
  const windows = data.windows.map((window, i) => ({ ...window, parts: trimmed(window.parts, data.windows[i + 1]) }));
  lane(track(1).label, ...windows.map(windowButton));
  data.tracks.slice(2).forEach(({ label }, i) => {
    const parts = windows.flatMap((window) => window.parts);
    const nodes = parts.map(([from, to, all]) => spread(part(all[i + 1], all[0]), place(from), place(to)));
    const differing = parts.filter(([, , all]) => all[i + 1] !== null && all[i + 1] !== all[0]).length;
    const bar = lane(label, ...nodes);
    describe(bar, `${label}: another candidate than the choice in ${differing} of ${parts.length} parts`);
  });
  buildSpread();
  if (data.whole > data.seconds + 0.05) buildWhole();
}

/** Windows overlap where they are cross-faded; shown is each up to the next. */
function trimmed(parts, next) {
  const stop = next ? next.parts[0][0] : Infinity;
  return parts.map(([from, to, all]) => [from, Math.min(to, stop), all]);
}

function buildSpread() {
  if (!data.spread_db.some((value) => value !== null)) return;
  const { threshold_db, regions } = data.uncertainty;
  const cells = data.spread_db.map((value, i) => {
    const unsure = regions.some((region) => region.start_s <= data.start + i && data.start + i < region.stop_s);
    const cell = element("span", { className: `part ${unsure ? "unsure" : ""}` }, number(value, 1));
    const share = Math.min(1, (value ?? 0) / Math.max(12, threshold_db ?? 0));
    cell.style.background = `hsl(188 ${Math.round(20 + 80 * share)}% ${Math.round(88 - 22 * share)}%)`;
    return spread(cell, place(data.start + i), place(data.start + i + 1));
  });
  const bar = lane("Differ, dB", ...cells);
  const found = regions.map((r) => `${clock(r.start_s)} to ${clock(r.stop_s)}, ${number(r.mean_db, 1)} dB`);
  const limit = threshold_db === null ? "" : ` Uncertain (above ${threshold_db} dB): ${found.join("; ") || "nowhere"}.`;
  describe(bar, `How far candidates differ, by second: ${data.spread_db.map((v) => number(v, 1)).join(", ")} dB.${limit}`);
  byId("detail").textContent = limit.trim();
}

function buildWhole() {
  const share = (second) => (100 * second) / data.whole;
  const here = spread(element("i", { className: "here" }), share(data.start), share(data.start + data.seconds));
  const doubts = data.uncertainty.regions.map((r) => spread(element("i", { className: "doubt" }), share(r.start_s), share(r.stop_s)));
  const bar = lane("Whole file", ...doubts, here);
  describe(bar, `The file lasts ${clock(data.whole)}; this page holds ${clock(data.start)} to ${clock(data.start + data.seconds)}`);
}

/* Blind test. */

function startTest() {
  const [a, b] = ["abx-a", "abx-b"].map((id) => Number(byId(id).value));
  if (a === b) return (byId("abx-result").textContent = "A and B are the same: choose two.");
  state.test = { a, b, count: Number(byId("abx-count").value), tell: byId("abx-tell").checked, answers: [], x: toss(), on: "X" };
  state.test.before = { heard: state.heard, difference: state.difference };
  state.difference = false;
  const focused = byId("setup").contains(document.activeElement);
  byId("abx-result").textContent = "";
  hearBlind("X");
  byId("trial-text").scrollIntoView({ block: "nearest" });
  if (focused) byId("hear-x").focus({ preventScroll: true });
}

function hearBlind(which) {
  const { a, b, x } = state.test;
  state.test.on = which;
  player.hear(mixOf({ A: a, B: b, X: x ? b : a }[which], levels(), ownGains));
  say(`Hearing ${which}`);
  refresh();
}

function answer(isB) {
  const { test } = state;
  const right = isB === Boolean(test.x);
  test.answers.push({ x: test.x ? "B" : "A", said: isB ? "B" : "A", right });
  if (test.tell) byId("abx-result").textContent = right ? "Right." : `Wrong: X was ${test.x ? "B" : "A"}.`;
  if (test.answers.length >= test.count) return finishTest();
  test.x = toss();
  hearBlind("X");
}

function finishTest() {
  const { test } = state;
  state.test = null;
  state.difference = test.before.difference;
  if (test.answers.length) state.results.push(resultOf(test));
  byId("abx-result").textContent = test.answers.length ? state.results.at(-1).split("\n")[1] : "No answers: nothing to count.";
  byId("abx-text").textContent = state.results.join("\n\n");
  byId("abx-history").hidden = !state.results.length;
  const focused = byId("trial").contains(document.activeElement);
  hear(test.before.heard);
  if (focused) byId("abx-start").focus({ preventScroll: true });
}

function resultOf({ a, b, count, tell, answers }) {
  const right = answers.filter((given) => given.right).length;
  const early = answers.length < count ? `, stopped after ${answers.length} of ${count} trials` : "";
  const chance = chanceOf(right, answers.length);
  const p = chance < 0.001 ? chance.toExponential(1) : chance.toFixed(3);
  return [
    `ABX of ${data.title}: A = ${track(a).label}, B = ${track(b).label}`,
    `${right} of ${answers.length} right, p = ${p} (one-sided binomial, guessing = 0.5)${early}${tell ? ", with feedback" : ""}`,
    `X was:    ${answers.map(({ x }) => x).join(" ")}`,
    `answered: ${answers.map(({ said }) => said).join(" ")}`,
  ].join("\n");
}

function refreshTrial() {
  const { test } = state;
  byId("setup").hidden = Boolean(test);
  byId("trial").hidden = !test;
  if (!test) return;
  byId("trial-text").textContent = `Trial ${test.answers.length + 1} of ${test.count}: is X the same as A or as B?`;
  for (const which of ["A", "B", "X"]) byId(`hear-${which.toLowerCase()}`).setAttribute("aria-pressed", String(test.on === which));
}

/* Tables and commands. */

function buildScores() {
  const versions = data.tracks.slice(1);
  const heads = ["Judge", "Role", "Input", "First draw", "Mean", ...versions.map(({ label }) => label), "Gain, sd", "Harm"];
  const head = element("tr", {}, ...heads.map((text) => element("th", { scope: "col", className: ["Role", "Harm"].includes(text) ? "words" : "" }, text)));
  const body = element("tbody", {}, ...data.judges.map(judgeRow));
  if (versions.some(({ score }) => score !== null)) {
    const scores = versions.map(({ score }, i) => element("td", { className: i ? "" : "chosen" }, number(score, 3)));
    const name = element("th", { scope: "row" }, "Combined", element("span", {}, "all search judges together"));
    body.append(element("tr", {}, name, ...["", "", "", ""].map(() => element("td")), ...scores, element("td"), element("td")));
  }
  byId("scores").append(element("thead", {}, head), body);
  if (!body.children.length) byId("scores").replaceChildren(element("caption", {}, "Nothing was judged."));
}

function judgeRow({ name, unit, role, scope, input, first, mean, versions, gain_sd, harm }) {
  const title = element("th", { scope: "row" }, name, element("span", {}, `${unit}, ${scope === "clip" ? "whole renders" : "windows"}`));
  const cells = [input, first, mean].map((value) => element("td", {}, number(value, 3)));
  const own = versions.map((value, i) => element("td", { className: i ? "" : "chosen" }, number(value, 3)));
  const harmed = element("td", { className: harm.length ? "words harm" : "words" }, harm.length ? `Harm: ${harm.join(", ")}` : "none");
  return element("tr", {}, title, element("td", { className: "words" }, role), ...cells, ...own, element("td", {}, number(gain_sd, 2, true)), harmed);
}

function refreshUse() {
  const chosen = track(Number(byId("use").value));
  const box = byId("commands");
  if (box.dataset.rank === String(chosen.rank)) return;
  box.dataset.rank = chosen.rank;
  byId("use-file").textContent = `This render is ${chosen.name}, with score ${number(chosen.score, 3)}.`;
  if (chosen.score === null) byId("use-file").textContent = `This render is ${chosen.name}.`;
  box.replaceChildren();
  if (!chosen.commands) return;
  box.append(element("p", { className: "small" }, "To render again with this choice, run in the folder of this page:"));
  Object.entries(chosen.commands).forEach(([shell, line], i) => {
    const copy = element("button", { type: "button", ariaLabel: `Copy the command for ${shell}` }, "Copy");
    copy.dataset.copy = `command-${i}`;
    box.append(element("div", { className: "command" }, element("span", {}, shell), element("pre", { id: `command-${i}` }, line), copy));
  });
}

async function copy(text) {
  let done = false;
  try {
    await navigator.clipboard.writeText(text);
    done = true;
  } catch {
    const area = element("textarea", { value: text, className: "hidden" });
    const focused = document.activeElement;
    document.body.append(area);
    area.select();
    done = document.execCommand("copy");
    area.remove();
    focused.focus({ preventScroll: true });
  }
  byId("copied").textContent = done ? "Copied." : "The browser does not let this page copy: select the text.";
}

/* Keys. */

const KEYS = [
  ["Space", "play or pause", [" "], playOrPause],
  ["0", "hear the input", ["0"], () => hear(0)],
  ["1 … 9", "hear a version, the choice first", [..."123456789"], (key) => Number(key) < data.tracks.length && hear(Number(key))],
  ["D", "difference on or off", ["d"], () => toggle("difference")],
  ["M", "level match on or off", ["m"], () => toggle("matched")],
  ["L", "loop on or off", ["l"], () => setLoop(!state.loop)],
  ["[", "loop from here", ["["], () => setRegion([player.place, player.place < state.region[1] ? state.region[1] : data.seconds])],
  ["]", "loop to here", ["]"], () => setRegion([player.place > state.region[0] ? state.region[0] : 0, player.place])],
  ["← →", "1 s back or on, with Shift 0.1 s", ["ArrowLeft", "ArrowRight"], step],
  ["Home", "to the start", ["Home"], () => seek(state.loop ? state.region[0] : 0)],
  ["U", "uncertainty on or off", ["u"], () => flip("uncertain")],
  ["F", "linear or logarithmic frequency", ["f"], () => setScale(state.scale === "linear" ? "log" : "linear")],
  ["X", "start the blind test; then hear X", ["x"], () => (state.test ? hearBlind("X") : startTest())],
  ["A, B", "blind test: hear A or B; with Shift, answer", ["a", "b"], blind],
  ["Esc", "blind test: finish", ["Escape"], () => state.test && finishTest()],
];
const OPEN = ["Space", "L", "[", "]", "← →", "Home", "X", "A, B", "Esc"]; // in a blind test

function step(key, shifted) {
  seek(player.place + (key === "ArrowLeft" ? -1 : 1) * (shifted ? 0.1 : 1));
}

function blind(key, shifted) {
  if (!state.test) return;
  if (shifted) answer(key === "b");
  else hearBlind(key.toUpperCase());
}

function flip(name) {
  state[name] = !state[name];
  refresh();
}

function setScale(scale) {
  state.scale = scale;
  refresh();
}

/** Whether a control that has the focus wants the key for itself. */
function wanted(event, byPointer) {
  const { target, key } = event;
  if (target.matches("select, textarea, input:not([type=checkbox])")) return true;
  if (key === " ") return !byPointer && target.matches("button, summary, input, a");
  return key.startsWith("Arrow") && target.matches(".scroll");
}

function listenToKeys() {
  let byPointer = false; // a button that was clicked does not keep the space bar
  addEventListener("pointerdown", () => (byPointer = true), true);
  addEventListener("keydown", (event) => {
    if (event.key === "Tab") byPointer = false;
    if (!state.keys || event.ctrlKey || event.altKey || event.metaKey || wanted(event, byPointer)) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const found = KEYS.find(([, , keys]) => keys.includes(key));
    if (!found || (event.repeat && !key.startsWith("Arrow"))) return;
    event.preventDefault();
    if (!state.test || OPEN.includes(found[0])) found[3](key, event.shiftKey);
    else say("The blind test goes on: A, B, X; Esc to finish");
  });
  addEventListener("keyup", (event) => {
    if (event.key === " " && byPointer && event.target.matches("button, summary")) event.preventDefault();
  });
}

/* From the data to a page. */

function buildVersions() {
  data.tracks.forEach(({ label, rank, lufs, level_db }, i) => {
    const level = level_db === null ? "level not known" : `${number(lufs, 1)} LUFS, ${number(level_db, 2, true)} dB`;
    const button = element("button", { type: "button", ariaPressed: "false" });
    button.dataset.track = i;
    button.append(...(i < 10 ? [element("kbd", {}, String(i)), " "] : []), label, element("span", { className: "soft" }, level));
    button.addEventListener("click", () => hear(i));
    byId("versions").append(button);
    for (const id of ["abx-a", "abx-b"]) byId(id).append(element("option", { value: i }, label));
    if (rank) byId("use").append(element("option", { value: i }, label));
  });
  byId("abx-b").value = 1;
  if (data.tracks.length < 3) byId("kind").lastElementChild.remove();
}

function buildPictures() {
  buildPlot(byId("main"), false);
  data.tracks.forEach(({ label }, i) => {
    const plot = element("div", { className: "plot" });
    buildPlot(plot, true);
    const button = element("button", { type: "button" }, label);
    button.addEventListener("click", () => hear(i));
    const box = element("div", { role: "group", ariaLabel: label }, button, plot);
    box.dataset.track = i;
    byId("all").append(box);
  });
  buildAxis();
  buildLegend();
}

function buildAxis() {
  const steps = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10];
  const every = steps.find((s) => data.seconds / s <= (innerWidth < 700 ? 5 : 12)) ?? 20;
  for (let i = Math.ceil(data.start / every); i * every <= data.start + data.seconds + 1e-9; i++) {
    const percent = place(i * every);
    const label = element("span", { className: percent < 1 ? "first" : percent > 97 ? "last" : "" }, every < 0.1 ? `${(i * every).toFixed(2)} s` : clock(i * every));
    label.style.left = `${percent}%`;
    byId("axis").append(label);
  }
}

function buildLegend() {
  const canvas = byId("colours");
  describe(canvas, `Colours from 0 dB, the loudest, to ${-data.scale.range_db} dB`);
  const colours = data.scale.colours.match(/.{6}/g);
  canvas.width = colours.length;
  colours.reverse().forEach((hex, i) => {
    canvas.getContext("2d").fillStyle = `#${hex}`;
    canvas.getContext("2d").fillRect(i, 0, 1, 1);
  });
  byId("lowest").textContent = `${number(-data.scale.range_db, 0)} dB re loudest`;
  const [low, high] = data.crossover_hz.map(kilohertz);
  const swatch = (name) => element("i", { className: `swatch ${name}` });
  byId("bands").append(swatch("kept"), `input, up to ${low}`, swatch("made"), `generated, from ${high}`);
  if (data.overlay) byId("bands").append(swatch("tint"), "where candidates disagree (U)");
  byId("uncertain").hidden = !data.overlay;
}

function pairs(list, entries) {
  for (const [name, text] of entries) list.append(element("div", {}, element("dt", {}, name), element("dd", {}, text)));
}

function buildTexts() {
  document.title = `${data.title} – TTSR audition`;
  byId("title").textContent = data.title;
  const stretch = `${clock(data.start)} to ${clock(data.start + data.seconds)} of ${clock(data.whole)}`;
  const channels = data.channels > 2 ? `, channels 1 and 2 of ${data.channels}` : "";
  byId("about").textContent = `Audition: ${stretch}${channels}`;
  byId("render").open = innerWidth >= 800;
  pairs(byId("facts"), data.facts);
  pairs(byId("help"), KEYS.map(([keys, meaning]) => [element("kbd", {}, keys), meaning]));
  byId("warnings").hidden = !data.warnings.length;
  byId("warnings").append(...data.warnings.map((text) => element("li", {}, text)));
}

function listen() {
  const on = (id, act, type = "click") => byId(id).addEventListener(type, act);
  on("play", playOrPause);
  on("seek", (event) => seek(Number(event.target.value)), "input");
  on("loop", () => setLoop(!state.loop));
  for (const [id, key] of [["from", "["], ["to", "]"]]) on(id, KEYS.find(([name]) => name === key)[3]);
  on("match", () => toggle("matched"));
  on("difference", () => toggle("difference"));
  for (const id of ["kind", "boost"]) on(id, () => hear(), "change");
  for (const scale of ["linear", "log"]) on(scale, () => setScale(scale));
  on("uncertain", () => flip("uncertain"));
  on("keys", () => flip("keys"));
  on("use", refreshUse, "change");
  on("setup", (event) => { event.preventDefault(); startTest(); }, "submit");
  for (const which of ["a", "b", "x"]) on(`hear-${which}`, () => hearBlind(which.toUpperCase()));
  on("is-a", () => answer(false));
  on("is-b", () => answer(true));
  on("abx-finish", finishTest);
  addEventListener("click", ({ target }) => {
    const button = target.closest("[data-copy]");
    if (button) copy(byId(button.dataset.copy).textContent);
  });
  listenToKeys();
}

async function start() {
  buildTexts();
  buildVersions();
  buildPictures();
  buildTimeline();
  buildScores();
  byId("seek").max = data.seconds;
  try {
    buffers = await decodeAll(data.tracks.map(({ audio }) => audio), data.rate);
  } catch (error) {
    byId("trouble").hidden = false;
    byId("trouble").textContent = `This browser cannot play what the page holds (${error.message}).`;
    return;
  }
  player = new Player(buffers, data.rate, refresh);
  listen();
  setLoop(true);
  hear(1);
  say("Ready");
}

const ready = start();
