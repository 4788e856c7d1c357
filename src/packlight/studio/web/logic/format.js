/** Numbers as text, in the units of `packlight.presentation.numbers`. */

/** @type {Record<string, [number, string][]>} */
const SCALES = {
  B: [[1e9, "GB"], [1e6, "MB"], [1e3, "kB"], [1, "B"]],
  s: [[1, "s"], [1e-3, "ms"], [1e-6, "µs"], [1e-9, "ns"]],
  J: [[1, "J"], [1e-3, "mJ"], [1e-6, "µJ"]],
  1: [[1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""]],
};
const MINUS = "−";

/**
 * A number with three digits and its unit.
 * @param {number | null | undefined} value in SI units
 * @param {string} unit `B`, `s`, `J`, `dB`, `%` for shares, `1` for counts
 */
export function show(value, unit) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (unit === "%") return `${digits(value * 100)} %`;
  if (unit === "dB") return `${digits(value)} dB`;
  const scales = SCALES[unit] ?? SCALES[1];
  const size = Math.abs(value);
  const rounded = Number(size.toPrecision(3));
  const [scale, label] = scales.find(([least]) => rounded >= least) ?? scales[scales.length - 1];
  if (size === 0) return unit === "1" ? "0" : `0 ${unit}`;
  return `${digits(value / scale)}${label ? " " : ""}${label}`;
}

/**
 * A number with three digits, without trailing zeros.
 * @param {number} value
 */
export function digits(value) {
  if (!Number.isFinite(value)) return value > 0 ? "∞" : `${MINUS}∞`;
  const size = Math.abs(value);
  if (size === 0) return "0";
  const text = size >= 100 ? size.toFixed(0) : size.toPrecision(3);
  const plain = text.includes("e") ? Number(text).toString() : text.includes(".") ? text.replace(/\.?0+$/, "") : text;
  return value < 0 ? `${MINUS}${plain}` : plain;
}

/**
 * A saving with its sign: less is a minus.
 * @param {number} saved positive where it becomes less
 * @param {string} unit
 */
export function showSaved(saved, unit) {
  if (!saved) return show(0, unit);
  return saved > 0 ? `${MINUS}${show(saved, unit)}` : `+${show(-saved, unit)}`;
}

/**
 * The text of a measurement, with a true minus.
 * @param {string} text
 */
export function withMinus(text) {
  return text.replace(/(^|[ [~])-(?=\d)/g, `$1${MINUS}`).replace(" us", " µs");
}

/**
 * Words in the number that the count asks for.
 * @param {number} count
 * @param {string} noun
 */
export function plural(count, noun) {
  return `${count.toLocaleString("en-US")} ${noun}${count === 1 ? "" : "s"}`;
}
