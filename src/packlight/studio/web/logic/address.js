/** The address of a view: `#/page?key=value`, so that it can be shared and saved. */

export const PAGES = ["overview", "operators", "what-if", "compare", "layers", "diff"];

/** Keys that stay when a person goes from page to page: the one selection. */
export const SHARED = ["model", "v", "o", "m"];

/**
 * Read an address.
 * @param {string} hash from `#` on
 * @returns {Record<string, string>} values by key; `page` is always a page
 */
export function parseAddress(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const values = Object.fromEntries(new URLSearchParams(query));
  return { ...values, page: PAGES.includes(path) ? path : PAGES[0] };
}

/**
 * Write an address, keys in order and empty values left out.
 * @param {Record<string, string | undefined>} values
 */
export function formatAddress(values) {
  const { page = PAGES[0], ...others } = values;
  const entries = Object.entries(others)
    .filter((entry) => entry[1])
    .sort((a, b) => (a[0] < b[0] ? -1 : 1));
  const query = entries.map(([key, value]) => `${key}=${encodeURIComponent(String(value))}`).join("&");
  return `#/${page}${query ? `?${query}` : ""}`;
}

/**
 * The address of another page with the same selection.
 * @param {Record<string, string>} values of the present page
 * @param {string} page
 * @param {Record<string, string>} changes
 */
export function pageAddress(values, page, changes = {}) {
  const kept = Object.fromEntries(SHARED.map((key) => [key, values[key]]));
  return formatAddress({ ...kept, ...changes, page });
}

/**
 * The address of a request: parts of the query in order of their names.
 * @param {string} name
 * @param {Record<string, string | number | undefined>} query
 */
export function requestAddress(name, query = {}) {
  const parts = Object.keys(query)
    .filter((key) => query[key] !== undefined && query[key] !== "")
    .sort()
    .map((key) => `${key}=${encodePart(String(query[key]))}`);
  return `/api/${name}${parts.length ? `?${parts.join("&")}` : ""}`;
}

/** @param {string} text */
function encodePart(text) {
  return encodeURIComponent(text).replace(/[!'()*]/g, (mark) => `%${mark.charCodeAt(0).toString(16).toUpperCase()}`);
}

/**
 * A list in an address.
 * @param {string | undefined} text
 */
export function listOf(text) {
  return text ? text.split("~").filter(Boolean) : [];
}

/** @param {string[]} values */
export function joined(values) {
  return values.join("~");
}
