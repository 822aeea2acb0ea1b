/* What can be done on the page: hear, compare, test blindly, choose. Names reach the page as text only. */

const reduced = matchMedia("(prefers-reduced-motion: reduce)");
const matchable = data.tracks.some(({ level_db }) => level_db !== null);
const unmatched = `No level match: ${track(1).level_unknown} (${data.gain_reason})`;
const LEAST_HEARD = 0.2; // seconds of X before an answer counts
const state = {
  heard: 1,
  matched: matchable,
  difference: false,
  loop: true,
  region: [0, data.seconds],
  scale: "linear",
  uncertain: false,
  keys: true,
  test: null,
  amount: 1,
  tilt: 0,
  results: [],
};
let player = null;
let buffers = [];
const known = new Map(); // what is computed of differences, by what they are of

const levels = () => data.tracks.map(({ level_db }) => amplitude(state.matched || state.test ? level_db ?? 0 : 0));
const ownGains = data.tracks.map(({ gain_db }) => amplitude(gain_db));
const say = (text) => byId("hearing").textContent !== text && (byId("hearing").textContent = text);

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

/** What is heard, or would be. */
function words() {
  if (state.test) return state.test.on;
  const { label } = track(state.heard);
  if (!state.difference) return label;
  const version = track(Math.max(1, state.heard)).label;
  const gain = number(boost(), 1, true).replace(".0", "");
  const asked = Number(byId("boost").value);
  const short = boost() < asked ? ` (${asked} dB would clip)` : "";
  if (kind() === "chosen" && state.heard === 1) return "nothing, the choice is no different from itself";
  const pair = kind() === "chosen" && state.heard > 1 ? `${track(1).label} minus ${label}` : `${version} minus input`;
  return `the difference: ${pair}, at ${gain} dB${short}`;
}

function hear(heard = state.heard) {
  state.heard = heard;
  const mix = mixOf(heard, levels(), ownGains, kind(), kind() ? amplitude(boost()) : 1);
  player.hear(heard && !kind() ? mixOfAmount(mix, heard, ownGains, state.amount) : mix);
  const usable = heard > 1 || state.amount !== 1 || state.tilt !== 0;
  byId("use").value = usable && track(heard).rank ? heard : "";
  refresh();
}

/* How much of what was made is heard, and how it is tilted. */

let mixing = Promise.resolve(); // tilts are computed one after the other

function setMix() {
  state.amount = Number(byId("amount").value);
  const tilt = Number(byId("tilt").value);
  if (tilt !== state.tilt) {
    state.tilt = tilt;
    mixing = mixing.then(() => exchangeTilted(tilt));
  }
  hear();
}

async function exchangeTilted(tilt) {
  if (tilt !== state.tilt) return; // the slider has moved on
  const made = buffers.slice(1).map((one, i) => (tilt ? tilted(buffers[0], one, ownGains[i + 1], data.cutoff_hz, tilt) : one));
  const ready = [buffers[0], ...(await Promise.all(made))];
  if (tilt === state.tilt) player.exchange(ready);
}

function resetMix() {
  byId("amount").value = 1;
  byId("tilt").value = 0;
  setMix();
}

function refreshMix() {
  byId("mix").hidden = !data.mixable || Boolean(state.test);
  byId("amount-value").textContent = number(state.amount, 2);
  byId("tilt-value").textContent = `${number(state.tilt, 1, true)} dB an octave`;
}

function hearNumber(rank) {
  const found = data.tracks.findIndex((one) => one.rank === rank);
  if (found >= 0) hear(found);
}

function toggle(name) {
  if (name === "matched" && !matchable) return say(unmatched);
  state[name] = !state[name];
  hear();
}

async function play() {
  await player.play();
  refresh();
  tick();
}

function playOrPause() {
  if (!player.playing) return play();
  player.pause();
  refresh();
}

function seek(place) {
  player.seek(place);
  refresh();
}

/** To the start of the loop from inside it, of the excerpt from elsewhere. */
function home() {
  const [from, to] = player.loop ?? [0, 0];
  seek(player.place >= from && player.place < to ? from : 0);
}

function setRegion([from, to]) {
  const [start, end] = [Math.max(0, from), Math.min(data.seconds, to)];
  if (end - start < SHORTEST_LOOP) return say(`A loop lasts at least ${SHORTEST_LOOP} s`);
  state.region = [start, end];
  if (player.place < start || player.place >= end - 1 / data.rate) player.seek(start);
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
  for (const id of ["match", "difference", "kind", "boost"]) byId(id).disabled = Boolean(test) || (id === "match" && !matchable);
  press("play", Boolean(player?.playing));
  byId("play").lastElementChild.textContent = player?.playing ? "Pause" : "Play";
  press("loop", state.loop);
  press("match", matchable && (state.matched || test));
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
  if (player) say(`${player.sounding ? "Hearing" : place > 0 ? "Paused" : "Ready"}: ${words()}`);
}

function showLevels() {
  const { label, lufs, level_db, level_unknown } = track(state.heard);
  const parts = [];
  if (!matchable) parts.push(unmatched);
  else if (!state.test && !kind()) {
    const known = level_db === null ? `${level_unknown}: no offset` : `${number(lufs, 2)} LUFS-I, offset ${number(level_db, 2, true)} dB`;
    parts.push(`${label}: ${known}${state.matched ? "" : " (not applied)"}`);
  }
  if (data.gain_db < 0) parts.push(`everything is ${number(-data.gain_db, 2)} dB lower so that nothing clips`);
  const rate = player?.contextRate;
  const played = rate ? `played at ${rate} Hz${rate === data.rate ? "" : ": the browser resamples"}` : "not played yet";
  parts.push(`${data.rate} Hz, ${played}`);
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

/* Blind test. */

function startTest() {
  resetMix();
  const [a, b] = ["abx-a", "abx-b"].map((id) => Number(byId(id).value));
  if (a === b) return (byId("abx-result").textContent = "A and B are the same: choose two.");
  state.test = { a, b, count: Number(byId("abx-count").value), tell: byId("abx-tell").checked, answers: [] };
  state.test.before = { heard: state.heard, difference: state.difference, playing: player.playing };
  state.difference = false;
  const focused = byId("setup").contains(document.activeElement);
  byId("abx-result").textContent = "";
  nextTrial();
  byId("trial-text").scrollIntoView({ block: "nearest" });
  if (focused) byId("hear-x").focus({ preventScroll: true });
}

function nextTrial() {
  Object.assign(state.test, { x: toss(), on: null, heard: 0 });
  hearBlind("X");
}

function hearBlind(which) {
  const { a, b, x } = state.test;
  Object.assign(state.test, { heard: heardX(), on: which, since: player.sounded });
  player.hear(mixOf({ A: a, B: b, X: x ? b : a }[which], levels(), ownGains));
  refresh();
  play();
}

/** Seconds of X in this trial. */
function heardX() {
  const { heard, on, since } = state.test;
  return heard + (on === "X" ? player.sounded - since : 0);
}

function answer(isB) {
  const { test } = state;
  if (heardX() < LEAST_HEARD) return (byId("abx-result").textContent = "Hear X before you answer.");
  const right = isB === Boolean(test.x);
  test.answers.push({ x: test.x ? "B" : "A", said: isB ? "B" : "A", right });
  const told = right ? "Right." : `Wrong: X was ${test.x ? "B" : "A"}.`;
  byId("abx-result").textContent = test.tell ? told : "";
  if (test.answers.length >= test.count) return finishTest();
  nextTrial();
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
  if (!test.before.playing) player.pause();
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
  byId("trial-text").textContent = `Trial ${test.answers.length + 1} of ${test.count}: is X the same as A (${track(test.a).label}) or as B (${track(test.b).label})?`;
  for (const which of ["A", "B", "X"]) byId(`hear-${which.toLowerCase()}`).setAttribute("aria-pressed", String(test.on === which));
}

/* Tables and commands. */

function buildScores() {
  const versions = data.tracks.slice(1);
  const labels = versions.map(({ label }) => label.replace("number ", "number\u00a0"));
  const heads = ["Verifier", "Role", "Input", "First draw", "Mean", ...labels, "Gain", "Worse than"];
  const words = (text) => (["Role", "Worse than"].includes(text) ? "words" : "");
  const head = element("tr", {}, ...heads.map((text) => element("th", { scope: "col", className: words(text) }, term(text))));
  const body = element("tbody", {}, ...data.scores.map(scoreRow));
  if (versions.some(({ score }) => score !== null)) {
    const scores = versions.map(({ score }, i) => element("td", { className: i ? "" : "chosen" }, number(score, 3)));
    const name = element("th", { scope: "row" }, "Combined", element("span", {}, "all search verifiers together"));
    body.append(element("tr", {}, name, ...["", "", "", ""].map(() => element("td")), ...scores, element("td"), element("td")));
  }
  byId("scores").append(element("thead", {}, head), body);
  if (!body.children.length) byId("scores").replaceChildren(element("caption", {}, "Nothing was scored."));
}

/** A term that says what it means: on hover, with the focus, and to those who hear the page. */
function term(text) {
  const meaning = data.terms[text[0].toUpperCase() + text.slice(1)];
  if (!meaning) return text;
  const node = element("abbr", { title: meaning, tabIndex: 0 }, text);
  const show = () => (byId("explained").textContent = `${text}: ${meaning}`);
  node.addEventListener("mouseenter", show);
  node.addEventListener("focus", show);
  return node;
}

function scoreRow({ name, unit, role, scope, input, first, mean, versions, gain_sd, harm }) {
  const title = element("th", { scope: "row" }, name, element("span", {}, `${unit}, ${scope === "clip" ? "whole renders" : "windows"}`));
  const cells = [input, first, mean].map((value) => element("td", {}, number(value, 3)));
  const own = versions.map((value, i) => element("td", { className: i ? "" : "chosen" }, number(value, 3)));
  const harmed = element("td", { className: harm.length ? "words harm" : "words" }, harm.length ? harm.map((text) => text.replace("below ", "")).join(", ") : "none");
  return element("tr", {}, title, element("td", { className: "words" }, role), ...cells, ...own, element("td", {}, gain_sd === null ? "–" : `${number(gain_sd, 1, true)} σ`), harmed);
}

function refreshUse() {
  refreshMix();
  const value = byId("use").value;
  const box = byId("commands");
  const shown = [value, state.amount, state.tilt].join();
  if (box.dataset.shown === shown) return;
  box.dataset.shown = shown;
  const chosen = track(Number(value || 1));
  const whole = state.amount === 1 && state.tilt === 0;
  const score = chosen.score === null ? "" : `, with score ${number(chosen.score, 3)}`;
  byId("use-file").textContent = value ? `This render is ${chosen.name}${score}.` : `You have ${chosen.name}.`;
  box.replaceChildren();
  if (!value || (whole && chosen === track(1))) return;
  if (data.app) return box.append(choiceInApp(chosen));
  if (!chosen.commands) return;
  box.append(element("p", { className: "small" }, "To render again with this choice, run in the folder of this page:"));
  const filled = (line) => line.replace("AMOUNT", state.amount).replace("TILT", state.tilt);
  Object.entries(whole ? chosen.commands : chosen.mixed).forEach(([shell, text], i) => {
    const line = whole ? text : filled(text);
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
  ["1 … 9", "hear a version by its number", [..."123456789"], (key) => hearNumber(Number(key))],
  ["C", "hear the random pick (--control)", ["c"], () => hearNumber(null)],
  ["D", "difference on or off", ["d"], () => toggle("difference")],
  ["M", "level match on or off", ["m"], () => toggle("matched")],
  ["L", "loop on or off", ["l"], () => setLoop(!state.loop)],
  ["[", "loop from here", ["["], () => setRegion([player.place, player.place < state.region[1] ? state.region[1] : data.seconds])],
  ["]", "loop to here", ["]"], () => setRegion([player.place > state.region[0] ? state.region[0] : 0, player.place])],
  ["← →", "1 s back or on, with Shift 0.1 s", ["ArrowLeft", "ArrowRight"], step],
  ["Home", "to the start, in a loop to its own", ["Home"], home],
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
  byId("use").append(element("option", { value: "" }, "choose one"));
  for (const i of byRank) {
    const { label, rank, lufs, level_db, level_unknown } = track(i);
    const offset = level_db === null ? "" : `, ${number(level_db, 2, true)} dB`;
    const level = level_unknown ?? `${number(lufs, 1)} LUFS${offset}`;
    const button = element("button", { type: "button", ariaPressed: "false" });
    button.dataset.track = i;
    const key = rank === null ? "C" : rank < 10 ? String(rank) : null;
    button.append(...(key ? [element("kbd", {}, key), " "] : []), label, element("span", { className: "soft" }, level));
    button.addEventListener("click", () => hear(i));
    byId("versions").append(button);
    for (const id of ["abx-a", "abx-b"]) byId(id).append(element("option", { value: i }, label));
    if (rank) byId("use").append(element("option", { value: i }, i === 1 ? `${label}: what you have` : label));
  }
  byId("abx-b").value = 1;
  byId("match").title = matchable ? "" : unmatched;
  if (data.tracks.length < 3) byId("kind").lastElementChild.remove();
}

function pairs(list, entries) {
  for (const [name, text] of entries) list.append(element("div", {}, element("dt", {}, name), element("dd", {}, text)));
}

function buildTexts() {
  document.title = `${data.title} – TTSR audition`;
  byId("title").textContent = data.title;
  const stretch = `${clock(data.start)} to ${clock(data.start + data.seconds)} of ${clock(data.whole)}`;
  const channels = data.channels > 2 ? `, channels 1 and 2 of ${data.channels}` : "";
  byId("about").textContent = `Audition: ${stretch}, ${why()}${channels}`;
  byId("how").textContent = data.how;
  byId("stopped").hidden = !data.stopped;
  byId("stopped").textContent = data.stopped ?? "";
  pairs(byId("terms"), Object.entries(data.terms));
  pairs(byId("facts"), data.facts);
  pairs(byId("help"), KEYS.map(([keys, meaning]) => [element("kbd", {}, keys), meaning]));
  byId("warnings").hidden = !data.warnings.length;
  byId("warnings").append(...data.warnings.map((text) => element("li", {}, text)));
}

/** Why the page holds this stretch. */
function why() {
  const { region, uncertainty, seconds, whole } = data;
  if (whole <= seconds) return "the whole file";
  if (region) return `taken for its most uncertain stretch, ${clock(region.start_s)} to ${clock(region.stop_s)}`;
  return uncertainty.mean_db === null ? "taken where most of it sounds" : "taken where candidates differ and choices change most";
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
  for (const id of ["amount", "tilt"]) on(id, setMix, "input");
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
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((node) => (node.open = true)));
}

async function start() {
  buildTexts();
  buildVersions();
  buildPictures();
  buildTimeline();
  fit();
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
}

const ready = start();
if (data.app) ready.then(tellApp);
