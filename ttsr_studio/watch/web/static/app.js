/* The page: what goes on in a watched root, and what its people want. */

import { change, keepToken, look, setOpen, takeToken, token, whenRefused } from "./api.js";
import { openAgain, startAgain } from "./again.js";
import { presets } from "./choices.js";
import { refreshStaged, startDrop } from "./drop.js";
import { openListen, refreshListen, startListen } from "./listen.js";
import { acts, doneRow, nextRow, reasonRow, runningRow, table } from "./tables.js";
import { about, clock, count, id, make, maybe, say, set, show } from "./words.js";

const EVERY = 1500;
let heardAt = new Date(), holding = false, timer = 0, last = null;

const running = table("running", runningRow), next = table("next", nextRow), done = table("done", doneRow);
const failed = table("failed", reasonRow("finished_at", ["Retry", "Again…"]));
const held = table("held", reasonRow("queued_at", ["Retry", "Again…", "Cancel"]));

function newest(shown, all, what) {
  return shown < all ? `The newest ${shown} of ${count(all, what)}` : `${count(all, what)}, the newest first`;
}

function countsOf(counts) {
  const list = id("counts");
  for (const [state, number] of Object.entries(counts)) {
    let box = list.querySelector(`.${state}`);
    if (!box) {
      const link = make("a", { href: state === "pending" ? "#next" : `#${state}` }, state);
      list.append(box = make("div", { class: state }, make("dt", {}, link), make("dd")));
    }
    say(box.querySelector("dd"), String(number));
    box.classList.toggle("some", number > 0);
  }
}

function draw(status) {
  const { counts, services } = status, now = status.at, focus = document.activeElement;
  const part = focus.closest && focus.closest("section"), place = part && focus.getBoundingClientRect().top;
  last = status;
  setOpen(status.open);
  maybe(id("root"), status.root);
  say(id("services"), services.length ? `${count(services.length, "service")} running` : "no service is running");
  countsOf(counts);
  say(id("pause"), status.paused ? "Go on with the queue" : "Pause the queue");
  maybe(id("paused"), status.paused && `Paused: ${status.paused}`);
  maybe(id("waiting"), status.waiting && `Waiting: ${status.waiting}`);
  const ready = status.pending.filter((row) => !row.reason), waiting = status.waiting_files.length;
  running(status.running, `${count(status.running.length, "file")} being rendered now`, now);
  const rest = status.left_s ? `; ${about(status.left_s)} for all` : "";
  next(ready, `${count(status.next_count, "file")} in the order in which they are taken${rest}`, now);
  failed(status.failed, newest(status.failed.length, counts.failed, "file"), now);
  held(status.waiting_files, `${waiting < status.many ? "" : "The first "}${count(waiting, "pending file")} not begun yet, and why`, now);
  const skipped = status.skipped ? ` (${status.skipped} skipped: nothing to add)` : "";
  done(status.done, newest(status.done.length, counts.done, status.skipped ? "file" : "render") + skipped, now);
  refreshListen(status);
  document.title = `${counts.running} running, ${counts.pending} pending – TTSR Studio`;
  if (document.activeElement !== focus) {
    const still = focus.isConnected && focus.checkVisibility && focus.checkVisibility();
    const title = part && !part.hidden ? part.querySelector("h2") : document.querySelector("h1");
    (still ? focus : title).focus({ preventScroll: true });
  }
  keepPlace(part && focus.isConnected && focus, place);
}

/* What has the focus and is in view stays where it was, whatever came or went above it. */
function keepPlace(focus, place) {
  if (!focus || place < 0 || place > innerHeight || (focus.checkVisibility && !focus.checkVisibility())) return;
  const moved = focus.getBoundingClientRect().top - place;
  if (moved) scrollBy({ top: moved, behavior: "instant" });
}

/* Refreshing. */

export async function refresh() {
  clearTimeout(timer);
  try {
    draw(await look("/status.json"));
    if (last.open || token()) await refreshStaged();
    heardAt = new Date();
    say(id("updated"), clock(heardAt));
    set(id("updated"), "datetime", heardAt.toISOString());
    say(id("link"), "");
  } catch (error) {
    const why = error.message.startsWith("cannot be read") ? `what goes on ${error.message}` : "no connection";
    say(id("services"), "as it was then:");
    say(id("link"), `${why}, since ${clock(heardAt)}`.replace("connection, since", "connection since"));
  }
  clearTimeout(timer);
  if (!holding) timer = setTimeout(refresh, document.hidden ? 10 * EVERY : EVERY);
}

/* What people want. */

function priorities() {
  return (last?.pending ?? []).map((row) => row.priority);
}

Object.assign(acts, {
  done: (line = "") => {
    say(id("said"), line);
    refresh();
  },
  failed: (line) => say(id("said"), line),
  listen: openListen,
  again: openAgain,
  highest: () => Math.max(0, ...priorities()),
  lowest: () => Math.min(0, ...priorities()),
});

async function ask(path) {
  try {
    await change(path);
    acts.done();
  } catch (error) {
    acts.failed(error.message);
  }
}

function needToken() {
  show(id("access"), true);
  id("token").focus();
}

async function start() {
  takeToken();
  whenRefused(needToken);
  if (!token()) show(id("access"), true);
  id("access").addEventListener("submit", (event) => {
    event.preventDefault();
    keepToken(id("token").value);
    id("token").value = "";
    show(id("access"), false);
    acts.done("The token is kept in this browser.");
  });
  id("hold").addEventListener("click", () => {
    holding = !holding;
    say(id("hold"), holding ? "Refresh again" : "Stop refreshing");
    if (holding) clearTimeout(timer);
    else refresh();
  });
  id("pause").addEventListener("click", () => ask(last?.paused ? "/api/resume" : "/api/pause"));
  id("retry-all").addEventListener("click", () => ask("/api/retry"));
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && !holding) refresh();
  });
  addEventListener("hashchange", takeToken);
  startListen(acts);
  try {
    await startDrop(acts);
    startAgain(presets, acts);
  } catch (error) {
    acts.failed(error.message);
  }
  refresh();
}

start();
