/* A render once more, in another way. */

import { change } from "./api.js";
import { chosen, fillChoices } from "./choices.js";
import { about, id, maybe, say } from "./words.js";

const FIELDS = ["preset", "candidates", "budget", "take", "amount", "tilt"];
let row = null, opener = null, asked = "";

function values() {
  const found = chosen("again-");
  for (const name of ["take", "amount", "tilt"]) {
    if (id(`again-${name}`).value !== "") found[name] = Number(id(`again-${name}`).value);
  }
  return found;
}

async function estimate() {
  const question = { files: [row.id], values: values() };
  const mine = (asked = JSON.stringify(question));
  maybe(id("again-refused"), "");
  say(id("again-time"), "How long this takes is being measured…");
  try {
    const { total_s } = await change("/api/estimate", question);
    if (mine === asked) say(id("again-time"), total_s === null ? "How long it takes is not known." : `Takes ${about(total_s)} here.`);
  } catch (error) {
    if (mine !== asked) return;
    say(id("again-time"), "");
    maybe(id("again-refused"), error.message);
  }
}

export function openAgain(which, from) {
  [row, opener] = [which, from];
  say(id("again-title"), `Render again: ${row.file}`);
  for (const name of FIELDS) id(`again-${name}`).value = "";
  id("again").showModal();
  estimate();
}

export function startAgain(presets, acts) {
  fillChoices("again-", presets, "as it was");
  for (const name of FIELDS) id(`again-${name}`).addEventListener("change", estimate);
  id("again").addEventListener("close", () => opener?.isConnected && opener.focus());
  id("again-go").addEventListener("click", async () => {
    try {
      await change(`/api/files/${row.id}/again`, { values: values() });
      id("again").close();
      acts.done(`${row.file} is rendered again.`);
    } catch (error) {
      maybe(id("again-refused"), error.message);
    }
  });
}
