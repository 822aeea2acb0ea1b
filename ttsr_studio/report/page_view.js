/* What is seen of the sound: spectrograms on one scale, the choices on the timeline, and the words and numbers for them. */

const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const track = (i) => data.tracks[i];
const byRank = [...data.tracks.keys()].sort((a, b) => (track(a).rank ?? Infinity) - (track(b).rank ?? Infinity));

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
  if (!data.crossover_hz) return [];
  const [low, high] = data.crossover_hz.map(percentOf);
  return [["made", 0, high], ["both", high, low], ["kept", low, 100]].map(([name, top, bottom]) => {
    const part = element("i", { className: name });
    Object.assign(part.style, { top: `${top}%`, height: `${bottom - top}%` });
    return part;
  });
}

function refreshPictures() {
  const what = words().replace("the difference: ", "").replace(/, at .*/, "");
  const name = byId("main").querySelector(".title");
  if (kind()) {
    const there = known.get(nameOf("pictures"));
    drawPlot(byId("main"), there ?? EMPTY, what);
    if (!there) setTimeout(() => kind() && ofDifference("pictures", paint) && refreshPictures(), 30); // the sound first
    name.textContent = `${what} (drawn without gain)`;
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

function spanOf(parts) {
  return `${clock(parts[0][0])} to ${clock(parts[parts.length - 1][1])}`;
}

function describeWindow(window) {
  const chosen = window.parts.map(([, , candidates]) => candidates[0]);
  const made = window.count ? `${window.count} candidates, chosen ${[...new Set(chosen)].join(", ")}` : "passed through";
  return `Window ${window.index}, ${window.span}, ${made}: ${window.reason}`;
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
  const trim = (window, i) => ({ ...window, span: spanOf(window.parts), parts: trimmed(window.parts, data.windows[i + 1]) });
  const windows = data.windows.map(trim).filter(({ parts }) => parts.length);
  lane(track(1).label, ...windows.map(windowButton));
  data.tracks.slice(2).forEach(({ label, rank }, i) => {
    if (rank === null) return; // of the random pick no candidates are told
    const parts = windows.flatMap((window) => window.parts);
    const nodes = parts.map(([from, to, all]) => spread(part(all[i + 1], all[0]), place(from), place(to)));
    const differing = parts.filter(([, , all]) => all[i + 1] !== null && all[i + 1] !== all[0]).length;
    const bar = lane(label, ...nodes);
    describe(bar, `${label}: another candidate than the choice in ${differing} of ${parts.length} parts`);
  });
  buildSpread();
  if (data.whole > data.seconds + 0.05) buildWhole();
}

/** Windows overlap where they are cross-faded; shown is each up to the next, in the excerpt. */
function trimmed(parts, next) {
  const stop = Math.min(next ? next.parts[0][0] : Infinity, data.start + data.seconds);
  return parts.map(([from, to, all]) => [from, Math.min(to, stop), all]).filter(([from, to]) => to > Math.max(from, data.start));
}

function buildSpread() {
  if (!data.spread_db.some((value) => value !== null)) return;
  const { threshold_db, regions } = data.uncertainty;
  const digits = innerWidth / data.seconds < 40 ? 0 : 1;
  const cells = data.spread_db.map((value, i) => {
    const unsure = regions.some((region) => region.start_s <= data.start + i && data.start + i < region.stop_s);
    const cell = element("span", { className: `part ${unsure ? "unsure" : ""}` }, number(value, digits));
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
  const bar = lane("Whole", ...doubts, here);
  describe(bar, `The file lasts ${clock(data.whole)}; this page holds ${clock(data.start)} to ${clock(data.start + data.seconds)}`);
}

function buildPictures() {
  buildPlot(byId("main"), false);
  for (const i of byRank) {
    const { label } = track(i);
    const plot = element("div", { className: "plot" });
    buildPlot(plot, true);
    const button = element("button", { type: "button" }, label);
    button.addEventListener("click", () => hear(i));
    const box = element("div", { role: "group", ariaLabel: label }, button, plot);
    box.dataset.track = i;
    byId("all").append(box);
  }
  buildLegend();
}

/** Texts that are as many as there is room for, now and when the page is made wider or narrower. */
function fit() {
  new ResizeObserver(() => {
    drawAxis();
    fitDigits();
  }).observe(byId("axis"));
}

/** Leave out the digits of boxes that are too narrow for them. */
function fitDigits() {
  const parts = [...document.querySelectorAll("#timeline .part")];
  for (const one of parts) one.classList.remove("narrow");
  const narrow = parts.map((one) => one.scrollWidth > one.clientWidth);
  parts.forEach((one, i) => one.classList.toggle("narrow", narrow[i]));
}

function drawAxis() {
  byId("axis").replaceChildren();
  const room = Math.min(12, byId("axis").clientWidth / 76); // of labels, px
  const steps = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10];
  const every = steps.find((s) => data.seconds / s <= room) ?? 20;
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
  const band = (name, text) => byId("bands").append(element("span", {}, element("i", { className: `swatch ${name}` }), text), " ");
  if (data.nothing_made) byId("bands").append(`nothing was generated: ${data.nothing_made}`);
  else {
    const [low, high] = data.crossover_hz.map(kilohertz);
    band("kept", `input, up to ${low}`);
    band("made", `generated, from ${high}`);
  }
  if (data.overlay) band("tint", "where candidates disagree (U)");
  byId("uncertain").hidden = !data.overlay;
}
