/** Tables and lists of texts that pages show as they are. */
import { html } from "./html.js";

/** @param {{table: import("../records").TextTable, isOpen?: boolean}} props */
export function TextTable({ table, isOpen = false }) {
  return html`<details class="facts-table" open=${isOpen}><summary>${table.title} <span class="quiet">(${table.rows.length})</span></summary>
    <div class="scroll tall"><table class="plain" aria-label=${table.title}><thead><tr>${table.heads.map((head, index) => html`<th scope="col" key=${index}>${head}</th>`)}</tr></thead>
      <tbody>${table.rows.map((row, line) => html`<tr key=${line}>${row.map((text, index) => (index ? html`<td key=${index}>${text}</td>` : html`<th scope="row" key=${index}>${text}</th>`))}</tr>`)}</tbody></table></div>
    ${table.note ? html`<p class="quiet">${table.note}</p>` : null}</details>`;
}

/** Names and texts. @param {{values: Record<string, string>}} props */
export function Facts({ values }) {
  return html`<dl class="facts">${Object.entries(values).map(([name, text]) => html`<div key=${name}><dt>${name}</dt><dd>${text}</dd></div>`)}</dl>`;
}

/** A diagnosed cause, with its evidence folded. @param {{finding: import("../records").FindingLine}} props */
export function FindingCard({ finding }) {
  const evidence = { ...finding.evidence };
  if (finding.operators.length) evidence.operators = finding.operators.join(", ");
  return html`<div class="finding"><h3><span class="badge ${finding.severity === "note" ? "" : "open"}">${finding.severity}</span> ${finding.cause.replaceAll("-", " ")}</h3>
    <p>${sentence(finding.text)}</p><p><strong>Next:</strong> ${finding.next_step}</p>
    ${Object.keys(evidence).length ? html`<details><summary>Evidence</summary><${Facts} values=${evidence} /></details>` : null}</div>`;
}

/** A lesson of practitioners, with its reason and source folded. @param {{lesson: import("../records").LessonLine}} props */
export function Lesson({ lesson }) {
  return html`<details class="lesson"><summary>${lesson.text}</summary><p>Here ${lesson.title}. Source: ${lesson.source}</p></details>`;
}

/** A text with a capital and a full stop. @param {string} text */
export function sentence(text) {
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)}${text.endsWith(".") ? "" : "."}`;
}
