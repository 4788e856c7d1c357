/** Undo and redo of a list of choices. */

/** @typedef {{past: string[][], present: string[], future: string[][]}} History */

const MOST_STEPS = 200;

/** @param {string[]} present @returns {History} */
export function newHistory(present = []) {
  return { past: [], present, future: [] };
}

/** A new state; what was undone is forgotten. @param {History} history @param {string[]} next @returns {History} */
export function changed(history, next) {
  if (next.join("\n") === history.present.join("\n")) return history;
  return { past: [...history.past, history.present].slice(-MOST_STEPS), present: next, future: [] };
}

/** @param {History} history @returns {History} */
export function undone(history) {
  if (!history.past.length) return history;
  const past = history.past.slice(0, -1);
  return { past, present: history.past[past.length], future: [history.present, ...history.future] };
}

/** @param {History} history @returns {History} */
export function redone(history) {
  if (!history.future.length) return history;
  const [next, ...future] = history.future;
  return { past: [...history.past, history.present], present: next, future };
}

/**
 * Choices after one more: the same operators are chosen once.
 * @param {string[]} choices as `where=step`
 * @param {string} where regular expression
 * @param {string} step
 */
export function withChoice(choices, where, step) {
  const kept = choices.filter((choice) => splitChoice(choice)[0] !== where);
  return [...kept, `${where}=${step}`];
}

/** Pattern and step of a choice. @param {string} choice @returns {[string, string]} */
export function splitChoice(choice) {
  const match = /^(.+?)=((?:keep|[a-z]\w*(?:[:,+].*)?)$)/.exec(choice);
  return match ? [match[1], match[2]] : [choice, ""];
}

/** A regular expression for exactly these names. @param {string[]} names */
export function patternOf(names) {
  const escaped = names.map((name) => name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  return escaped.length === 1 ? `^${escaped[0]}$` : `^(${escaped.join("|")})$`;
}
