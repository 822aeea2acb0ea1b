/* Every kind of row: made once, then only what changed is written anew, so that focus and selection stay. */

import { change, reach } from "./api.js";
import { about, id, long, make, maybe, roughly, say, set, show, when } from "./words.js";

const cell = (kind, name, ...children) => {
  const values = { role: kind === "th" ? "rowheader" : "cell" };
  if (kind === "th") values.scope = "row";
  if (name) values["data-name"] = name;
  return make(kind, values, ...children);
};
const rowOf = (...cells) => make("tr", { role: "row" }, ...cells);

/** A button of a row; act is told the row as it is then. */
function button(text, current, act) {
  const node = make("button", { type: "button" }, text);
  node.addEventListener("click", () => act(current(), node));
  return node;
}

function label(node, what, row) {
  set(node, "aria-label", `${what} ${row.file}`);
}

const actions = (...buttons) => make("div", { class: "actions" }, ...buttons);

/** What rows do when they are told to; filled in by the page. */
export const acts = { done: () => {}, listen: () => {}, again: () => {}, failed: () => {} };

async function asked(path, values) {
  try {
    await change(path, values);
    acts.done();
  } catch (error) {
    acts.failed(error.message);
  }
}

export function runningRow() {
  let now_ = null;
  const name = make("span", { class: "name" }), stage = make("span", { class: "small" }), bar = make("progress", { max: "1" });
  const time = cell("td", "for"), left = make("span", { class: "small soft" });
  const cancel = button("Cancel", () => now_, (row) => asked(`/api/files/${row.id}/cancel`));
  time.className = "when";
  return [rowOf(cell("th", "", name), cell("td", "", stage, bar, left), time, cell("td", "", actions(cancel))), (row, now) => {
    now_ = row;
    say(name, row.file);
    say(stage, row.progress || "starting");
    set(bar, "aria-label", row.file);
    if (row.share === null) bar.removeAttribute("value");
    else set(bar, "value", String(row.share));
    maybe(left, row.eta_s !== null && `done in ${about(row.eta_s)}`);
    say(time, row.started_at === null ? "" : long(now - row.started_at));
    label(cancel, "Cancel", row);
  }];
}

export function nextRow() {
  let now_ = null;
  const place = cell("td", "place"), name = make("span", { class: "name" }), time = cell("td", "done in about");
  const first = button("First", () => now_, (row) => asked(`/api/files/${row.id}/priority`, { priority: acts.highest() + 1 }));
  const last = button("Last", () => now_, (row) => asked(`/api/files/${row.id}/priority`, { priority: acts.lowest() - 1 }));
  const cancel = button("Cancel", () => now_, (row) => asked(`/api/files/${row.id}/cancel`));
  for (const node of [place, time]) node.className = "when";
  return [rowOf(place, cell("th", "", name), time, cell("td", "", actions(first, last, cancel))), (row) => {
    now_ = row;
    say(place, row.place === null ? "–" : String(row.place));
    say(name, row.file);
    say(time, roughly(row.eta_s));
    for (const [node, what] of [[first, "First"], [last, "Last"], [cancel, "Cancel"]]) label(node, what, row);
  }];
}

export const reasonRow = (moment, kinds) => () => {
  let now_ = null;
  const name = make("span", { class: "name" }), why = cell("td", ""), time = make("time"), at = cell("td", "", time);
  const retry = button("Retry", () => now_, (row) => asked(`/api/files/${row.id}/retry`));
  const again = button("Again…", () => now_, (row, node) => acts.again(row, node));
  const cancel = button("Cancel", () => now_, (row) => asked(`/api/files/${row.id}/cancel`));
  const all = { Retry: retry, "Again…": again, Cancel: cancel };
  why.className = "why";
  at.className = "when";
  return [rowOf(cell("th", "", name), why, at, cell("td", "", actions(...kinds.map((kind) => all[kind])))), (row, now) => {
    now_ = row;
    say(name, row.file);
    say(why, row.reason || "");
    when(time, row[moment], now);
    for (const kind of kinds) label(all[kind], kind.replace("…", ": render again with other options,"), row);
  }];
};

export function doneRow() {
  let now_ = null;
  const image = make("img", { width: "160", height: "120", loading: "lazy" });
  const picture = make("a", {}, image), report = make("a", { class: "small" }, "report as JSON");
  const name = make("span", { class: "name" }), output = make("span", { class: "small soft" }), same = make("span", { class: "small" });
  const facts = make("dl", { class: "facts" }), time = make("time");
  const took = make("span", { class: "small soft" }), at = cell("td", "finished", time, took);
  const listen = button("Listen", () => now_, (row, node) => acts.listen(row, node));
  const download = make("a", {}, "Download"), others = make("span", { class: "actions" });
  const again = button("Again…", () => now_, (row, node) => acts.again(row, node));
  at.className = "when";
  let told = "", kept = "";
  const node = rowOf(cell("td", "", picture), cell("th", "", name, output, same, report, actions(listen, download, again, others)), cell("td", "", facts), at);
  return [node, (row, now) => {
    const links = row.links;
    now_ = row;
    show(picture, Boolean(links.picture));
    if (links.picture) {
      set(picture, "href", links.picture);
      set(image, "src", links.picture);
    }
    set(image, "alt", `Picture of the report on ${row.file}`);
    say(name, row.file);
    maybe(output, row.output);
    maybe(same, row.same_as ? `same as ${row.same_as}` : row.reason);
    show(report, Boolean(links.report));
    if (links.report) set(report, "href", links.report);
    set(report, "aria-label", `Report on ${row.file} as JSON`);
    show(listen, Boolean(links.audition));
    label(listen, "Listen to", row);
    show(download, Boolean(links.render));
    if (links.render) toBeKept(download, links.render, `Download the render of ${row.file}`);
    label(again, "Render again with other options,", row);
    if (kept !== JSON.stringify(row.others ?? {})) {
      kept = JSON.stringify(row.others ?? {});
      others.replaceChildren(...Object.entries(row.others ?? {}).map(([what, path]) => {
        const words = what === "control" ? "random pick" : `no. ${what.slice(3)}`;
        return toBeKept(make("a", {}, words), path, `Download ${words} of ${row.file}`);
      }));
    }
    if (told !== JSON.stringify(row.facts)) {
      told = JSON.stringify(row.facts);
      facts.replaceChildren(...Object.entries(row.facts).map(([key, text]) => make("div", {}, make("dt", {}, key), make("dd", {}, text))));
    }
    const sure = row.started_at !== null && row.finished_at !== null;
    maybe(took, sure && `took ${long(row.finished_at - row.started_at)}`);
    when(time, row.finished_at, now);
  }];
}

/** A link to a file that is kept; where that takes the token, a ticket is asked for first. */
function toBeKept(node, path, name) {
  set(node, "href", path);
  set(node, "download", "");
  set(node, "aria-label", name);
  node.onclick = async (event) => {
    const address = node.getAttribute("href");
    event.preventDefault();
    try {
      const link = make("a", { href: await reach(address), download: "" });
      link.click();
    } catch (error) {
      acts.failed(error.message);
    }
  };
  return node;
}

export function table(name, makeRow) {
  const section = id(name), body = section.querySelector("tbody"), known = new Map();
  const none = section.querySelector(".none");
  return (rows, caption, now) => {
    const wanted = new Set(rows.map((row) => row.id));
    for (const [key, [node]] of known) {
      if (!wanted.has(key)) {
        node.remove();
        known.delete(key);
      }
    }
    rows.forEach((row, place) => {
      if (!known.has(row.id)) known.set(row.id, makeRow());
      const [node, update] = known.get(row.id);
      if (body.children[place] !== node) body.insertBefore(node, body.children[place] || null);
      update(row, now);
    });
    if (caption) say(section.querySelector("caption"), caption);
    show(none ? section.querySelector("table") : section, rows.length > 0);
    if (none) show(none, rows.length === 0);
  };
}
