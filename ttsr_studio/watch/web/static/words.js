/* Words, numbers and nodes. */

export const id = (name) => document.getElementById(name);

export function make(tag, values = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(values)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function set(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

export function show(node, whether) {
  if (node.hidden === whether) node.hidden = !whether;
}

export function maybe(node, text) {
  say(node, text || "");
  show(node, Boolean(text));
}

export const count = (number, one) => `${number} ${one}${number === 1 ? "" : "s"}`;

const two = (number) => String(number).padStart(2, "0");

export function clock(date) {
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

function day(date) {
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

export function when(node, seconds, now) {
  if (seconds === null) return say(node, "");
  const date = new Date(1000 * seconds), today = day(date) === day(new Date(1000 * now));
  set(node, "datetime", date.toISOString());
  say(node, today ? clock(date) : `${day(date)} ${clock(date)}`);
}

/** A stretch of time, as exact as it is short. */
export function long(seconds) {
  if (seconds < 60) return `${Math.max(0, seconds).toFixed(1)} s`;
  const whole = Math.round(seconds), hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
  return hours ? `${hours} h ${two(minutes)} min` : `${minutes} min ${two(whole % 60)} s`;
}

/** The same with "about" before it, where that goes with it. */
export function about(seconds) {
  return seconds !== null && seconds >= 10 ? `about ${roughly(seconds)}` : roughly(seconds);
}

/** A stretch of time that nobody knows exactly. */
export function roughly(seconds) {
  if (seconds === null || seconds === undefined) return "not known yet";
  if (seconds < 10) return "a few seconds";
  if (seconds < 90) return `${5 * Math.round(seconds / 5)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}
