/* In the app this page is a frame of another: what is chosen here is told to that one, which asks the queue for it. */

function tellApp() {
  document.body.classList.add("framed");
  byId("player").after(byId("use").closest("section"));
  const height = () => document.body.getBoundingClientRect().height;
  const tell = () => parent.postMessage({ ttsr: "height", height: height() }, location.origin);
  new ResizeObserver(tell).observe(document.body);
  addEventListener("keydown", ({ key }) => {
    if (key === "Escape" && !state.test) parent.postMessage({ ttsr: "close" }, location.origin);
  });
}

/** What makes another version, or less of it, the render. */
function choiceInApp(chosen) {
  if (parent === window) return element("p", { className: "small" }, "Open it from the list of files to choose it there.");
  const mix = data.mixable ? { amount: state.amount, tilt: state.tilt } : {};
  const words = data.mixable && (state.amount !== 1 || state.tilt !== 0) ? ` at amount ${state.amount}, tilt ${state.tilt} dB` : "";
  const button = element("button", { type: "button", id: "choose" }, `Make ${chosen.label}${words} the render`);
  button.addEventListener("click", () => {
    parent.postMessage({ ttsr: "again", file: data.app.file, values: { take: chosen.rank, ...mix } }, location.origin);
    byId("copied").textContent = "Asked for: it is rendered again with this choice, and comes back here.";
  });
  return element("p", {}, button);
}
