/** Small parts that pages are made of. */
import { withMinus } from "../logic/format.js";
import { html } from "./html.js";

const MARKS = { yes: "✓", no: "✕", unclear: "?", fits: "✓", misses: "✕", undecided: "?", unjudged: "·" };
const TONES = { yes: "good", no: "bad", unclear: "open", fits: "good", misses: "bad", undecided: "open", unjudged: "plain" };
const WORDS = { yes: "met", no: "missed", unclear: "undecided", fits: "fits", misses: "missed", undecided: "undecided", unjudged: "no budget" };

/** Verdict by shape, word and color. @param {{state: string, word?: string}} props */
export function Mark({ state, word }) {
  return html`<span class="mark ${TONES[state]}"><span aria-hidden="true">${MARKS[state]}</span> ${word ?? WORDS[state]}</span>`;
}

/** A measurement: value, interval and how it was got. @param {{number: import("../records").Number | null | undefined, interval?: boolean}} props */
export function Value({ number, interval = true }) {
  if (!number) return html`<span class="quiet">–</span>`;
  const how = number.how === "estimated" ? "predicted" : number.how;
  const rests = number.how === "measured" && number.n > 1 ? `, n = ${number.n.toLocaleString("en-US")}` : "";
  return html`<span class="value ${number.how}" title="${how}${rests}${number.interval ? `, 95 % interval ${number.interval}` : ""}">
    ${withMinus(number.text)}${interval && number.interval ? html` <span class="interval">${withMinus(number.interval)}</span>` : null}
  </span>`;
}

/** A card with a heading. */
export function Card({ title, children, wide, tools, id }) {
  return html`<section class="card ${wide ? "wide" : ""}" aria-label=${title} id=${id}>
    <header><h2>${title}</h2>${tools ? html`<div class="tools">${tools}</div>` : null}</header>
    ${children}
  </section>`;
}

/** Gray boxes where something will be. */
export function Skeleton({ lines = 4, label = "Loading" }) {
  return html`<div class="skeleton" role="status" aria-label=${label}>${Array.from({ length: lines }, (_, index) => html`<div key=${index}></div>`)}</div>`;
}

/** What is not there, and what to do. */
export function Empty({ title, children }) {
  return html`<div class="empty"><p class="empty-title">${title}</p>${children}</div>`;
}

/** A sentence about what went wrong. @param {{text: string}} props */
export function Problem({ text }) {
  return html`<div class="problem" role="alert"><strong>This cannot be shown.</strong> ${text}</div>`;
}

/** An answer of the server: its content, a skeleton, or what went wrong. */
export function Answered({ answer, lines, children }) {
  if (answer.value) return children(answer.value);
  if (answer.error) return html`<${Problem} text=${answer.error} />`;
  return html`<${Skeleton} lines=${lines} />`;
}

/** A choice among a few. @param {{label: string, value: string, options: [string, string][], change: (value: string) => void, hidden?: boolean}} props */
export function Select({ label, value, options, change, hidden = false }) {
  return html`<label class="select"><span class=${hidden ? "hidden" : ""}>${label}</span>
    <select aria-label=${label} value=${value} onChange=${(event) => change(event.target.value)}>
      ${options.map(([key, text]) => html`<option key=${key} value=${key} selected=${key === value}>${text}</option>`)}
    </select></label>`;
}

/** A bar in a cell. @param {{share: number | null, text: string, tone?: string}} props */
export function Bar({ share, text, tone = "" }) {
  const width = share === null || !Number.isFinite(share) ? 0 : Math.max(0, Math.min(1, share)) * 100;
  return html`<span class="bar"><span class="fill ${tone}" style=${{ width: `${width}%` }}></span><span class="text">${text}</span></span>`;
}

/** Command to type. */
export function Command({ children }) {
  return html`<code class="command">${children}</code>`;
}
