/* What the page asks its service for. The token came with the address, behind "#", or was typed in; it goes with what
   changes something, in a header that no other site's page can send. */

const KEPT = "ttsr-token", PATIENCE = 10000;
let onRefused = () => {};
let open = true;

export function whenRefused(act) {
  onRefused = act;
}

/** Whether sound may be asked for without the token, as on this machine. */
export function setOpen(whether) {
  open = whether;
}

export const token = () => localStorage.getItem(KEPT);

export function keepToken(text) {
  localStorage.setItem(KEPT, text.trim());
}

/** Take the token out of the address, where it is there. */
export function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!given) return;
  keepToken(given);
  history.replaceState(null, "", location.pathname);
}

const headers = () => (token() ? { Authorization: `Bearer ${token()}` } : {});

async function read(answer) {
  const values = await answer.json().catch(() => ({ error: `the service said ${answer.status}` }));
  if (answer.status === 401 || answer.status === 429) onRefused(values.error);
  if (!answer.ok) throw new Error(values.error);
  return values;
}

export async function look(path) {
  const known = open ? {} : headers();
  return read(await fetch(path, { cache: "no-store", headers: known, signal: AbortSignal.timeout(PATIENCE) }));
}

export async function change(path, values = {}, method = "POST") {
  const body = method === "DELETE" ? undefined : JSON.stringify(values);
  return read(await fetch(path, { method, headers: { ...headers(), "Content-Type": "application/json" }, body }));
}

/** Send a file; onProgress is told what share of it has gone. */
export function upload(file, folder, onProgress) {
  return new Promise((resolve, reject) => {
    const asked = new XMLHttpRequest();
    asked.open("PUT", `/api/uploads?${new URLSearchParams({ name: file.name, folder })}`);
    for (const [name, value] of Object.entries(headers())) asked.setRequestHeader(name, value);
    asked.setRequestHeader("Content-Type", "application/octet-stream");
    asked.upload.onprogress = ({ loaded, total }) => onProgress(total ? loaded / total : 0);
    asked.onload = () => {
      const values = JSON.parse(asked.responseText || "{}");
      if (asked.status === 401 || asked.status === 429) onRefused(values.error);
      if (asked.status === 201) resolve(values);
      else reject(new Error(values.error ?? `the service said ${asked.status}`));
    };
    asked.onerror = () => reject(new Error("no connection"));
    asked.send(file);
  });
}

/** The address of something to hear, as a frame or a link can ask for it. */
export async function reach(path) {
  if (open) return path;
  const [plain, query] = path.split("?");
  const { ticket } = await change("/api/ticket", { path: plain });
  return `${plain}?${query ? `${query}&` : ""}ticket=${ticket}`;
}
