/** Rows of a table: search, sort, filter, fold, totals, histograms and CSV. All pure. */

/** @typedef {{words: string[], limits: {column: string, sense: string, value: number}[]}} Search */
/** @typedef {{kind: "group", module: string, rows: number[], depth: number} | {kind: "row", row: number, depth: number}} Line */

const UNITS = { k: 1e3, M: 1e6, G: 1e9, kB: 1e3, MB: 1e6, GB: 1e9, B: 1, ms: 1e-3, us: 1e-6, s: 1, "%": 0.01, "": 1 };
const LIMIT = /^([a-z_]+)(<=|>=|<|>|=)([0-9.e+-]+)([a-zA-Z%]*)$/;

/**
 * Words, and limits as `macs>1M`, of a search.
 * @param {string} text
 * @returns {Search}
 */
export function parseSearch(text) {
  const words = [];
  const limits = [];
  for (const part of text.trim().split(/\s+/).filter(Boolean)) {
    const match = LIMIT.exec(part);
    const value = match ? Number(match[3]) * (UNITS[match[4]] ?? NaN) : NaN;
    if (match && Number.isFinite(value)) limits.push({ column: match[1], sense: match[2], value });
    else words.push(part.toLowerCase());
  }
  return { words, limits };
}

/**
 * Rows that hold every word and keep every limit and range.
 * @param {string[]} texts lower-case text of each row
 * @param {Record<string, (number | null)[]>} numbers by column
 * @param {Search} search
 * @param {Record<string, [number, number]>} ranges by column
 */
export function filterRows(texts, numbers, search, ranges) {
  const limits = search.limits.filter((limit) => numbers[limit.column]);
  const bounds = Object.entries(ranges).filter(([column]) => numbers[column]);
  const rows = [];
  for (let row = 0; row < texts.length; row++) {
    if (!search.words.every((word) => texts[row].includes(word))) continue;
    if (!limits.every((limit) => keeps(numbers[limit.column][row], limit.sense, limit.value))) continue;
    if (!bounds.every(([column, [low, high]]) => isWithin(numbers[column][row], low, high))) continue;
    rows.push(row);
  }
  return rows;
}

function keeps(number, sense, value) {
  if (number === null || number === undefined) return false;
  if (sense === "<=") return number <= value;
  if (sense === ">=") return number >= value;
  if (sense === "<") return number < value;
  if (sense === ">") return number > value;
  return number === value;
}

function isWithin(number, low, high) {
  return number !== null && number !== undefined && number >= low && number <= high;
}

/**
 * Rows in the order of a column; unknown numbers last, ties in the order they run.
 * @param {number[]} rows
 * @param {(number | string | null)[]} column
 * @param {boolean} isDescending
 */
export function sortRows(rows, column, isDescending) {
  const sign = isDescending ? -1 : 1;
  return [...rows].sort((a, b) => {
    const first = column[a];
    const second = column[b];
    if (first === second) return a - b;
    if (first === null || first === undefined) return 1;
    if (second === null || second === undefined) return -1;
    return (first < second ? -1 : 1) * sign;
  });
}

/**
 * Lines of a table that folds by module: a line for each module, and those of its operators below it.
 * @param {number[]} rows in the order they run
 * @param {string[]} modules of all rows
 * @param {Set<string>} unfolded
 * @returns {Line[]}
 */
export function foldRows(rows, modules, unfolded) {
  /** @type {Map<string, number[]>} */
  const members = new Map();
  for (const row of rows) {
    for (const module of pathsOf(modules[row])) {
      const known = members.get(module);
      if (known) known.push(row);
      else members.set(module, [row]);
    }
  }
  /** @type {Line[]} */
  const lines = [];
  const shown = new Set();
  for (const row of rows) {
    const paths = pathsOf(modules[row]).filter((module) => (members.get(module)?.length ?? 0) > 1);
    let hidden = false;
    let depth = 0;
    for (const module of paths) {
      if (!shown.has(module)) {
        shown.add(module);
        lines.push({ kind: "group", module, rows: members.get(module) ?? [], depth });
      }
      depth += 1;
      if (!unfolded.has(module)) {
        hidden = true;
        break;
      }
    }
    if (!hidden) lines.push({ kind: "row", row, depth });
  }
  return lines;
}

/**
 * Paths of a module from the outermost to itself.
 * @param {string} module
 */
export function pathsOf(module) {
  if (!module) return [];
  const pieces = module.split(".");
  return pieces.map((_, index) => pieces.slice(0, index + 1).join("."));
}

/**
 * Lines that a window of a table shows.
 * @param {number} top scrolled pixels
 * @param {number} height of the window
 * @param {number} rowHeight
 * @param {number} count of lines
 */
export function visibleRange(top, height, rowHeight, count) {
  const margin = 6;
  const first = Math.max(0, Math.floor(top / rowHeight) - margin);
  const last = Math.min(count, Math.ceil((top + height) / rowHeight) + margin);
  return [first, last];
}

/**
 * Sum of a column over rows; unknown numbers count nothing.
 * @param {(number | null)[]} column
 * @param {number[]} rows
 */
export function total(column, rows) {
  let sum = 0;
  for (const row of rows) sum += column[row] ?? 0;
  return sum;
}

/**
 * Counts of numbers in equal bins, of their logarithms where they span much.
 * @param {(number | null)[]} column
 * @param {number} bins
 * @returns {{edges: number[], counts: number[]}} bins + 1 edges; empty without two different numbers
 */
export function histogram(column, bins = 16) {
  const values = column.filter((value) => value !== null && Number.isFinite(value));
  const low = values.reduce((least, value) => Math.min(least, value), Infinity);
  const high = values.reduce((most, value) => Math.max(most, value), -Infinity);
  if (!(high > low)) return { edges: [], counts: [] };
  const least = values.reduce((small, value) => (value > 0 ? Math.min(small, value) : small), Infinity);
  const isLog = low >= 0 && high / least > 100;
  const from = isLog ? Math.log10(least) : low;
  const to = isLog ? Math.log10(high) : high;
  const edges = Array.from({ length: bins + 1 }, (_, index) => {
    const place = from + ((to - from) * index) / bins;
    return isLog ? 10 ** place : place;
  });
  edges[0] = low;
  edges[bins] = high;
  const counts = new Array(bins).fill(0);
  for (const value of values) {
    const place = isLog ? (value > 0 ? Math.log10(value) : from) : value;
    counts[Math.min(bins - 1, Math.max(0, Math.floor(((place - from) / (to - from)) * bins)))] += 1;
  }
  return { edges, counts };
}

/**
 * Ranges of an address, as `macs:1000:2000~bits:4:8`.
 * @param {string | undefined} text
 * @returns {Record<string, [number, number]>}
 */
export function parseRanges(text) {
  const parts = (text ?? "").split("~").map((part) => part.split(":"));
  const ranges = parts.filter((part) => part.length === 3 && part[0] && Number.isFinite(Number(part[1])) && Number.isFinite(Number(part[2])));
  return Object.fromEntries(ranges.map(([column, low, high]) => [column, [Number(low), Number(high)]]));
}

/** @param {Record<string, [number, number]>} ranges */
export function formatRanges(ranges) {
  return Object.entries(ranges).map(([column, [low, high]]) => `${column}:${low}:${high}`).join("~");
}

/**
 * A table as CSV. A text that a spreadsheet would compute starts with an apostrophe.
 * @param {string[]} head
 * @param {(string | number | null)[][]} rows
 */
export function csv(head, rows) {
  return [head, ...rows].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

function cell(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return String(value);
  const safe = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
