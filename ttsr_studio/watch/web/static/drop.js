/* Files that come in: dropped or chosen, uploaded one after the other, and rendered when they are told to be. */

import { change, look, token, upload } from "./api.js";
import { candidatesOf, chosen, describePreset, fillChoices } from "./choices.js";
import { table } from "./tables.js";
import { about, count, id, long, make, maybe, roughly, say, set, show } from "./words.js";

const sending = new Map(); // key -> a file on its way
const queue = [];
let staged = [], known = new Map(), asked = "", number = 0, busy = false;
let told = { done: () => {}, failed: () => {} };

/* What was dropped. */

function within(entry, folder) {
  if (entry.isFile) return new Promise((resolve, reject) => entry.file((file) => resolve([[file, folder]]), reject));
  const reader = entry.createReader(), inside = folder ? `${folder}/${entry.name}` : entry.name;
  const more = () => new Promise((resolve, reject) => reader.readEntries(resolve, reject));
  return (async () => {
    const found = [];
    for (let some = await more(); some.length; some = await more()) for (const each of some) found.push(...(await within(each, inside)));
    return found;
  })();
}

async function dropped({ items, files }) {
  const entries = [...items].filter((item) => item.kind === "file").map((item) => [item.webkitGetAsEntry?.(), item.getAsFile()]);
  const found = await Promise.all(entries.map(([entry, file]) => (entry ? within(entry, "") : file ? [[file, ""]] : [])));
  return entries.length ? found.flat() : [...files].map((file) => [file, ""]);
}

function add(found) {
  const sound = found.filter(([file]) => !file.name.startsWith("."));
  for (const [file, folder] of sound) {
    const key = `sending-${number++}`;
    sending.set(key, { id: key, file: folder ? `${folder}/${file.name}` : file.name, share: 0 });
    queue.push([key, file, folder]);
  }
  drawStaged();
  send();
}

async function send() {
  if (busy) return;
  busy = true;
  while (queue.length) {
    const [key, file, folder] = queue.shift();
    try {
      staged.push(await upload(file, folder, (share) => {
        sending.get(key).share = share;
        drawStaged();
      }));
    } catch (error) {
      refuse(`${file.name}: ${error.message.replace(`${file.name}: `, "")}`);
    }
    sending.delete(key);
    drawStaged();
  }
  busy = false;
  estimate();
}

function refuse(line) {
  const node = id("refused"), before = node.hidden ? "" : `${node.textContent} · `;
  maybe(node, before.includes(line) ? node.textContent : before + line);
}

/* What waits to be rendered. */

function stagedRow() {
  let now_ = null;
  const name = make("span", { class: "name" }), bar = make("progress", { max: "1" }), why = make("span", { class: "small why" });
  const length = make("td", { role: "cell", class: "when", "data-name": "length" });
  const time = make("td", { role: "cell", class: "when", "data-name": "takes about" });
  const remove = make("button", { type: "button" }, "Remove");
  remove.addEventListener("click", async () => {
    try {
      await change(`/api/uploads/${now_.id}`, {}, "DELETE");
      await refreshStaged();
    } catch (error) {
      told.failed(error.message);
    }
  });
  const box = make("td", { role: "cell" }, make("div", { class: "actions" }, remove));
  return [make("tr", { role: "row" }, make("th", { role: "rowheader", scope: "row" }, name, bar, why), length, time, box), (row) => {
    now_ = row;
    const { seconds, channels, reason, render_s } = known.get(row.id) ?? row;
    say(name, row.file);
    show(bar, row.share !== undefined);
    if (row.share !== undefined) set(bar, "value", String(row.share));
    set(bar, "aria-label", `Upload of ${row.file}`);
    maybe(why, reason);
    say(length, row.share !== undefined ? "" : seconds ? `${long(seconds)}${channels > 1 ? `, ${channels} ch` : ""}` : "…");
    say(time, seconds ? roughly(render_s) : "");
    show(remove, row.share === undefined);
    set(remove, "aria-label", `Remove ${row.file}`);
  }];
}
let stagedTable;

function drawStaged() {
  const rows = [...staged, ...sending.values()];
  stagedTable(rows, "", 0);
  show(id("adding"), rows.length > 0);
  id("render").disabled = !staged.length || sending.size > 0;
  say(id("render"), staged.length > 1 ? `Render ${staged.length} files` : "Render");
}

export async function refreshStaged() {
  const found = await look("/api/uploads");
  const before = staged.map((one) => one.id).join();
  staged = found;
  drawStaged();
  if (!asked || before !== staged.map((one) => one.id).join()) estimate();
}

function wanted() {
  const values = chosen("");
  return { ...values, "keep-top": Math.min(Number(id("keep").value), candidatesOf(values)) };
}

/** Say how long it would take, before anything is begun. */
async function estimate() {
  if (!staged.length || sending.size || !token()) return;
  const question = { uploads: staged.map((one) => one.id), values: wanted() };
  const mine = (asked = JSON.stringify(question));
  say(id("time"), "How long this takes is being measured…");
  try {
    const answer = await change("/api/estimate", question);
    if (mine !== asked) return;
    known = new Map(answer.files.map((one) => [one.id, one]));
    const seconds = answer.files.reduce((sum, one) => sum + (one.seconds ?? 0), 0);
    const words = answer.total_s === null ? "how long it takes is not known" : `takes ${about(answer.total_s)} here`;
    say(id("time"), `${count(staged.length, "file")}, ${long(seconds)} of audio: ${words}.`);
    drawStaged();
  } catch (error) {
    if (mine === asked) say(id("time"), error.message);
  }
}

async function render() {
  id("render").disabled = true;
  try {
    const more = id("first").checked ? { priority: told.highest() + 1 } : {};
    const answer = await change("/api/render", { uploads: staged.map((one) => one.id), values: wanted(), ...more });
    for (const { reason } of answer.refused) refuse(reason);
    told.done(`${count(answer.files.length, "file")} to be rendered.`);
    await refreshStaged();
    if (id("adding").hidden) id("running-title").focus({ preventScroll: true });
  } catch (error) {
    told.failed(error.message);
    drawStaged();
  }
}

export async function startDrop(acts) {
  told = acts;
  stagedTable = table("adding", stagedRow);
  const zone = document.documentElement;
  for (const type of ["dragenter", "dragover"]) {
    zone.addEventListener(type, (event) => {
      event.preventDefault();
      id("drop").classList.add("over");
    });
  }
  zone.addEventListener("dragleave", (event) => event.relatedTarget ?? id("drop").classList.remove("over"));
  zone.addEventListener("drop", async (event) => {
    event.preventDefault();
    id("drop").classList.remove("over");
    maybe(id("refused"), "");
    add(await dropped(event.dataTransfer));
  });
  for (const name of ["files", "folder"]) {
    id(`choose-${name}`).addEventListener("click", () => id(name).click());
    id(name).addEventListener("change", ({ target }) => {
      maybe(id("refused"), "");
      add([...target.files].map((file) => [file, file.webkitRelativePath.split("/").slice(0, -1).join("/")]));
      target.value = "";
    });
  }
  for (const name of ["preset", "candidates", "budget", "keep"]) {
    id(name).addEventListener("change", () => {
      describePreset("", id("preset-says"));
      estimate();
    });
  }
  id("render").addEventListener("click", render);
  fillChoices("", await look("/api/presets"), "");
  describePreset("", id("preset-says"));
}
