/** Scales of axes and colors that survive print and color blindness. */

/** Viridis in nine steps. Source: Smith and van der Walt, matplotlib 1.5, 2015, CC0. */
const VIRIDIS = [[68, 1, 84], [72, 40, 120], [62, 74, 137], [49, 104, 142], [38, 130, 142], [31, 158, 137], [53, 183, 121], [110, 206, 88], [181, 222, 43], [253, 231, 37]];

/**
 * A color of viridis.
 * @param {number} share from 0 to 1
 */
export function viridis(share) {
  const place = Math.min(1, Math.max(0, share)) * (VIRIDIS.length - 1);
  const index = Math.min(VIRIDIS.length - 2, Math.floor(place));
  const rest = place - index;
  const mixed = VIRIDIS[index].map((part, channel) => Math.round(part + (VIRIDIS[index + 1][channel] - part) * rest));
  return `rgb(${mixed.join(",")})`;
}

/** Black or white, whichever reads on a color of viridis. @param {number} share */
export function inkOn(share) {
  return share > 0.55 ? "#111" : "#fff";
}

/**
 * Share of each number between 0 and the largest, of the logarithm where they span much.
 * @param {(number | null)[]} column
 */
export function colorShares(column) {
  const values = column.map((value) => (value === null || !Number.isFinite(value) ? null : Math.max(0, value)));
  const high = values.reduce((most, value) => Math.max(most, value ?? 0), 0);
  if (!high) return values.map((value) => (value === null ? null : 0));
  return values.map((value) => (value === null ? null : Math.sqrt(value / high)));
}

/**
 * Round ticks within a range.
 * @param {number} low
 * @param {number} high
 * @param {number} count about how many
 */
export function ticks(low, high, count = 5) {
  if (!(high > low)) return [low];
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5, 10].find((factor) => rough <= factor * power * 1.0001) ?? 10);
  const result = [];
  for (let index = Math.ceil(low / step - 1e-9); index * step <= high + step * 1e-9; index++) {
    result.push(Number((index * step).toPrecision(12)));
  }
  return result;
}

/**
 * A range that holds all numbers, with a margin on both sides.
 * @param {number[]} values
 * @param {number} margin as a share of the range
 * @returns {[number, number]}
 */
export function extent(values, margin = 0.06) {
  const finite = values.filter(Number.isFinite);
  if (!finite.length) return [0, 1];
  const low = finite.reduce((a, b) => Math.min(a, b));
  const high = finite.reduce((a, b) => Math.max(a, b));
  if (low === high) return low === 0 ? [-1, 1] : [low - Math.abs(low) * 0.1, high + Math.abs(high) * 0.1];
  return [low - (high - low) * margin, high + (high - low) * margin];
}

/**
 * A function from numbers to pixels.
 * @param {[number, number]} domain
 * @param {[number, number]} range
 */
export function linear([low, high], [from, to]) {
  return (value) => from + ((value - low) / (high - low)) * (to - from);
}

/** A number that JSON may hold as a text. @param {number | string} value */
export function finite(value) {
  if (value === "inf") return Infinity;
  if (value === "-inf") return -Infinity;
  return Number(value);
}
