/* The audition page of a render, in a frame: what is chosen there is asked of the queue, and comes back when it is done. */

import { change, reach } from "./api.js";
import { id, say, show } from "./words.js";

let row = null, opener = null, shown = "";

async function load() {
  shown = row.links.audition;
  say(id("listen-title"), `Listen: ${row.file}`);
  id("frame").title = `Audition of ${row.file}`;
  try {
    id("frame").src = await reach(shown);
    say(id("listen-state"), "");
  } catch (error) {
    say(id("listen-state"), error.message);
  }
}

export function openListen(which, from) {
  [row, opener] = [which, from];
  show(id("listen"), true);
  load();
  id("listen-title").focus({ preventScroll: true });
  id("listen").scrollIntoView({ block: "start" });
}

function close() {
  show(id("listen"), false);
  id("frame").removeAttribute("src");
  row = null;
  if (opener?.isConnected) opener.focus();
}

/** Show the new render where one has taken the place of what is heard. */
export function refreshListen(status) {
  if (row === null) return;
  const now = status.done.find((each) => each.id === row.id);
  const under = [...status.running, ...status.pending].find((each) => each.id === row.id);
  const failed = status.failed.find((each) => each.id === row.id);
  if (under) say(id("listen-state"), `Is rendered again: ${under.progress || "waits for its turn"}. What you hear is the render before.`);
  if (failed) say(id("listen-state"), `Could not be rendered again: ${failed.reason}. What you hear is the render before.`);
  if (now && now.links.audition && now.links.audition !== shown) {
    row = now;
    load();
  }
}

export function startListen(acts) {
  id("listen-close").addEventListener("click", close);
  addEventListener("keydown", ({ key }) => {
    if (key === "Escape" && row !== null && !id("again").open) close();
  });
  addEventListener("message", async ({ data, origin, source }) => {
    if (origin !== location.origin || source !== id("frame").contentWindow || row === null) return;
    if (data.ttsr === "height") id("frame").style.height = `${Math.min(20000, Math.ceil(data.height) + 4)}px`;
    if (data.ttsr === "close") close();
    if (data.ttsr !== "again" || data.file !== row.id) return;
    try {
      await change(`/api/files/${row.id}/again`, { values: data.values });
      acts.done(`${row.file} is rendered again with what you chose.`);
    } catch (error) {
      acts.failed(error.message);
    }
  });
}
