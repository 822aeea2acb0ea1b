/* What a render may be asked for: a preset, how many candidates, how long. */

import { id, make, say } from "./words.js";

const COUNTS = [1, 4, 8, 16, 32, 64, 128];
const LIMITS = [["30s", "30 s"], ["60s", "1 min"], ["300s", "5 min"], ["900s", "15 min"], ["3600s", "1 h"]];
export let presets = [];

const option = (value, text) => make("option", { value: String(value) }, text);

/** Fill the three lists whose ids begin so; `kept` stands for what holds without a choice. */
export function fillChoices(prefix, found, kept) {
  presets = found;
  const count = (preset) => (preset.candidates ? `, ${preset.candidates} candidates` : "");
  const usual = kept ? [option("", kept)] : [];
  id(`${prefix}preset`).replaceChildren(...usual, ...found.map((one) => option(one.name, `${one.name}${count(one)}`)));
  if (!kept) id(`${prefix}preset`).value = found.some((one) => one.name === "general") ? "general" : found[0].name;
  id(`${prefix}candidates`).replaceChildren(option("", kept || "as the preset has it"), ...COUNTS.map((n) => option(n, String(n))));
  id(`${prefix}budget`).replaceChildren(option("", kept || "no limit"), ...LIMITS.map(([value, text]) => option(value, text)));
  for (const [one, other] of [["candidates", "budget"], ["budget", "candidates"]]) {
    id(`${prefix}${one}`).addEventListener("change", () => {
      if (id(`${prefix}${one}`).value) id(`${prefix}${other}`).value = "";
    });
  }
}

/** What was chosen, as options by name. */
export function chosen(prefix) {
  const values = {};
  if (id(`${prefix}preset`).value) values.preset = id(`${prefix}preset`).value;
  if (id(`${prefix}candidates`).value) values.candidates = Number(id(`${prefix}candidates`).value);
  if (id(`${prefix}budget`).value) values.budget = id(`${prefix}budget`).value;
  return values;
}

/** How many candidates that makes, as far as it is known. */
export function candidatesOf(values) {
  if (values.candidates) return values.candidates;
  if (values.budget) return Infinity;
  return presets.find((one) => one.name === values.preset)?.candidates ?? Infinity;
}

export function describePreset(prefix, node) {
  say(node, presets.find((one) => one.name === id(`${prefix}preset`).value)?.description ?? "");
}
