/** State that all pages share: the address, the answers of the server, jobs and looks. */
import { batch, signal } from "@preact/signals";
import { formatAddress, parseAddress, requestAddress } from "../logic/address.js";

/** @typedef {import("../records").Frame} Frame */

const inlined = document.getElementById("answers");
/** @type {Record<string, unknown> | null} answers of an offline file */
const answers = inlined ? JSON.parse(inlined.textContent ?? "{}") : null;

export const isOffline = answers !== null;
export const address = signal(parseAddress(location.hash));
/** @type {import("@preact/signals").Signal<import("../records").JobPage[]>} */
export const jobs = signal([]);
export const isConnected = signal(true);
export const message = signal("");
export const isHelpOpen = signal(false);

/**
 * Change the address; an empty value leaves its key out.
 * @param {Record<string, string | undefined>} changes
 * @param {{replace?: boolean}} options `replace` leaves no step for the back button
 */
export function go(changes, { replace = false } = {}) {
  const next = formatAddress({ ...address.value, ...changes });
  goTo(next, { replace });
}

/** @param {string} text an address from `#` on */
export function goTo(text, { replace = false } = {}) {
  const before = address.value.page;
  try {
    if (replace) history.replaceState(null, "", text);
    else history.pushState(null, "", text);
  } catch {
    // a frame in a notebook has no address of its own; the view changes all the same
  }
  batch(() => {
    address.value = parseAddress(text);
    message.value = "";
  });
  if (before !== address.value.page) forgetOthers();
}

function followBrowser() {
  address.value = parseAddress(location.hash);
}
window.addEventListener("popstate", followBrowser);
window.addEventListener("hashchange", followBrowser);

/** @typedef {{value: any, error: string, isLoading: boolean}} Answer */

/** @type {Map<string, {signal: import("@preact/signals").Signal<Answer>, page: string}>} */
const cache = new Map();

/**
 * The answer of the server to a request, asked once and again when the project changes.
 * @param {string} name
 * @param {Record<string, string | number | undefined>} query
 * @returns {Answer}
 */
export function answer(name, query = {}) {
  const url = requestAddress(name, query);
  let entry = cache.get(url);
  if (!entry) {
    entry = { signal: signal({ value: null, error: "", isLoading: true }), page: address.peek().page };
    cache.set(url, entry);
    load(url);
  }
  entry.page = address.peek().page;
  return entry.signal.value;
}

/** @param {string} url */
async function load(url) {
  const entry = cache.get(url);
  if (!entry) return;
  const before = entry.signal.peek();
  try {
    const value = await get(url);
    entry.signal.value = { value, error: "", isLoading: false };
  } catch (error) {
    entry.signal.value = { value: before.value, error: String(error instanceof Error ? error.message : error), isLoading: false };
  }
}

/** @param {string} url */
async function get(url) {
  if (answers) {
    if (url in answers) return answers[url];
    throw new Error("This is not in the offline file. Open the project with packlight studio to see it.");
  }
  const response = await fetch(url);
  return contentOf(response);
}

/** @param {Response} response */
async function contentOf(response) {
  const type = response.headers.get("content-type") ?? "";
  if (!type.startsWith("application/json")) {
    throw new Error(response.status === 401 ? "The token is missing. Open the address that packlight studio printed." : `The server answered ${response.status}.`);
  }
  const content = await response.json();
  if (!response.ok) throw new Error(content.error ?? `The server answered ${response.status}.`);
  return content;
}

/**
 * Send a request that changes something or predicts.
 * @param {string} name
 * @param {Record<string, unknown>} content
 * @param {AbortSignal | undefined} stop
 */
export async function send(name, content, stop = undefined) {
  if (answers) throw new Error("This is an offline file. Open the project with packlight studio to do this.");
  const response = await fetch(`/api/${name}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(content),
    signal: stop,
  });
  return contentOf(response);
}

/** Ask again for everything that the present page shows. */
export function refresh() {
  forgetOthers();
  for (const url of cache.keys()) load(url);
}

/** Ask again for one kind of answer. @param {string} name */
export function refreshAnswers(name) {
  for (const url of cache.keys()) if (url === `/api/${name}` || url.startsWith(`/api/${name}?`)) load(url);
}

function forgetOthers() {
  const page = address.peek().page;
  for (const [url, entry] of cache) {
    if (entry.page !== page && url !== "/api/frame" && cache.size > 24) cache.delete(url);
  }
}

/** Follow the project and its jobs as they change. */
export function followServer() {
  if (answers) return;
  const source = new EventSource("/api/events");
  let isFirst = true;
  source.onopen = () => {
    isConnected.value = true;
  };
  source.onmessage = (event) => {
    const news = JSON.parse(event.data);
    jobs.value = news.jobs;
    if (news.project && !isFirst) refresh();
    isFirst = false;
  };
  source.onerror = () => {
    isConnected.value = false;
  };
}

/** Looks: `light`, `dark`, or empty for those of the system. */
export const theme = signal(storedTheme());

function storedTheme() {
  try {
    return localStorage.getItem("packlight-theme") ?? "";
  } catch {
    return ""; // storage is off in a sandboxed frame
  }
}

export function toggleTheme() {
  const isDark = theme.value ? theme.value === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  theme.value = isDark ? "light" : "dark";
  try {
    localStorage.setItem("packlight-theme", theme.value);
  } catch {
    // the choice holds until the page is closed
  }
}
