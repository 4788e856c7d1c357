/** Diff: what was added, removed and changed between two models. */
import { useMemo, useState } from "preact/hooks";
import { pageAddress } from "../logic/address.js";
import { plural, show } from "../logic/format.js";
import { Answered, Card, Empty, Problem, Skeleton } from "../parts/common.js";
import { Graph } from "../parts/graph.js";
import { html } from "../parts/html.js";
import { address, answer, go } from "../parts/state.js";
import { DataTable } from "../parts/table.js";
import { Select } from "../parts/common.js";

const MARKS = { same: "=", changed: "~", removed: "−", added: "+" };
const COLUMNS = ["weight_bytes", "macs", "activation_bytes"];
const TITLES = { size: "File size", weight_bytes: "Weights", macs: "MACs", parameters: "Parameters", peak_activation_bytes: "Peak activations", predicted_latency: "Latency" };
const UNITS = { macs: "1", parameters: "1", predicted_latency: "s" };
const SHARES = { same: null, changed: 0.65, removed: 0.15, added: 1 };

export function Diff({ frame }) {
  const state = address.value;
  const options = frame.variants.map((model) => [model.id, model.name]);
  const first = state.first || frame.variants[0]?.id;
  const best = frame.variants.find((model) => model.role === "best") ?? frame.variants[frame.variants.length - 1];
  const second = state.second || best?.id;
  if (frame.variants.length < 2) return html`<div class="page"><${Empty} title="A diff needs two models"><p>Start the studio with a project, or with a second model: <code>packlight studio a.onnx --model b.onnx</code>.</p><//></div>`;
  const page = answer("diff", { first, second });
  return html`<div class="page diff"><div class="page-tools"><${Select} label="First" value=${first} options=${options} change=${(id) => go({ first: id })} /><span aria-hidden="true">→</span><${Select} label="Second" value=${second} options=${options} change=${(id) => go({ second: id })} />
      <button type="button" onClick=${() => go({ first: second, second: first })}>Swap</button></div>
    <${Answered} answer=${page} lines=${12}>${(content) => html`<${Content} page=${content} />`}<//></div>`;
}

/** @param {{page: import("../records").DiffPage}} props */
function Content({ page }) {
  const state = address.value;
  const kept = state.status ?? "";
  const rows = useMemo(() => {
    const words = (state.q ?? "").toLowerCase().split(/\s+/).filter(Boolean);
    return page.rows.filter((row) => {
      if (kept ? row.status !== kept : false) return false;
      const text = `${row.first >= 0 ? `${page.first.names[row.first]} ${page.first.ops[row.first]}` : ""} ${row.second >= 0 ? `${page.second.names[row.second]} ${page.second.ops[row.second]} ${page.second.storage[row.second]}` : ""}`.toLowerCase();
      return words.every((word) => text.includes(word));
    });
  }, [page, kept, state.q]);
  const [focus, setFocus] = useState(-1);
  const chosen = state.o ?? "";
  const isSelected = (line) => Boolean(chosen) && [page.first.names[rows[line]?.first], page.second.names[rows[line]?.second]].includes(chosen);
  const column = (name) => page.first.columns.find((item) => item.name === name);
  const pair = (row, name) => [row.first >= 0 ? page.first.numbers[name][row.first] : null, row.second >= 0 ? page.second.numbers[name][row.second] : null];
  const columns = [
    { key: "status", title: "", width: "34px", isFixed: true, cell: (line) => html`<span class="status ${rows[line].status}" title=${rows[line].status}><span class="hidden">${rows[line].status}</span><span aria-hidden="true">${MARKS[rows[line].status]}</span></span>` },
    { key: "first", title: page.first.name, width: "minmax(150px, 1.4fr)", isFixed: true, cell: (line) => (rows[line].first >= 0 ? html`<span title=${page.first.names[rows[line].first]}>${page.first.names[rows[line].first]}</span>` : html`<span class="quiet">–</span>`) },
    { key: "second", title: page.second.name, width: "minmax(150px, 1.4fr)", isFixed: true, cell: (line) => (rows[line].second >= 0 ? html`<span title=${page.second.names[rows[line].second]}>${page.second.names[rows[line].second] === page.first.names[rows[line].first] ? "same name" : page.second.names[rows[line].second]}</span>` : html`<span class="quiet">–</span>`) },
    { key: "op", title: "Type", width: "96px", isFixed: true, cell: (line) => (rows[line].first >= 0 ? page.first.ops[rows[line].first] : page.second.ops[rows[line].second]) },
    ...COLUMNS.map((name) => ({ key: name, title: column(name).title, width: "140px", isFixed: true, isNumber: true, cell: (line) => change(pair(rows[line], name), column(name).unit, rows[line].status) })),
    { key: "storage", title: "What was done", width: "minmax(120px, 1fr)", isFixed: true, cell: (line) => { const text = rows[line].note; return html`<span title=${text}>${text}</span>`; } },
  ];
  return html`<${Card} title="Summary" wide><dl class="tiles">${Object.entries(page.totals).map(([name, [before, after]]) => html`<div class="tile" key=${name}><dt>${TITLES[name] ?? name}</dt><dd class="pair">${show(before.value, UNITS[name] ?? "B")} → ${show(after.value, UNITS[name] ?? "B")}${after.how === "estimated" ? html` <span class="quiet">predicted</span>` : null}</dd><dd class="quiet">${before.value ? `${(after.value / before.value).toFixed(2)}x` : ""}</dd></div>`)}</dl>
      <p role="group" aria-label="Kinds of changes">${["changed", "removed", "added", "same"].map((status) => html`<button type="button" key=${status} aria-pressed=${kept === status} class="status-filter ${status}" onClick=${() => go({ status: kept === status ? "" : status }, { replace: true })}><span aria-hidden="true">${MARKS[status]}</span> ${page.counts[status] ?? 0} ${status}</button>`)}</p>
      ${Object.keys(page.ops).length ? html`<p class="quiet">Types that differ in number: ${Object.entries(page.ops).map(([op, [before, after]]) => `${op} ${before} → ${after}`).join(", ")}</p>` : html`<p class="quiet">Every type of operator is there as often in both.</p>`}<//>
    <${Card} title="Operators side by side" wide tools=${html`<input type="search" class="search" placeholder="Search" aria-label="Search operators" value=${state.q ?? ""} onInput=${(event) => go({ q: event.target.value }, { replace: true })} /><span class="quiet">${plural(rows.length, "row")}</span>`}>
      <${DataTable} label="Operators of both models" count=${rows.length} columns=${columns} sort="" onSort=${() => {}} rowClass=${(line) => rows[line].status} isSelected=${isSelected} focus=${focus} onFocus=${setFocus} onSelect=${(line) => go({ o: page.first.names[rows[line].first] ?? page.second.names[rows[line].second] }, { replace: true })} height=${360} /><//>
    <div class="split"><${Side} page=${page.first} rows=${page.rows} field="first" title=${page.first.name} /><${Side} page=${page.second} rows=${page.rows} field="second" title=${page.second.name} /></div>`;
}

function change([before, after], unit, status) {
  if (before === after) return html`<span class="quiet">${show(after, unit)}</span>`;
  if (status === "removed") return show(before, unit);
  if (status === "added") return show(after, unit);
  return html`${show(before, unit)} → <strong>${show(after, unit)}</strong>`;
}

/** The graph of one of the models, colored by what became of its operators. */
function Side({ page, rows, field, title }) {
  const state = address.value;
  const key = field === "first" ? "open1" : "open2";
  const graph = answer("graph", { model: page.model, open: state[key] });
  const statuses = useMemo(() => {
    const list = new Array(page.names.length).fill("same");
    for (const row of rows) if (row[field] >= 0) list[row[field]] = row.status;
    return list;
  }, [page, rows, field]);
  const shares = useMemo(() => statuses.map((status) => SHARES[status]), [statuses]);
  const values = useMemo(() => statuses.map((status) => (status === "same" ? 0 : 1)), [statuses]);
  const index = page.names.indexOf(state.o ?? "");
  const selected = useMemo(() => new Set(index >= 0 ? [index] : []), [index]);
  return html`<${Card} title=${`Graph of ${title}`} tools=${html`<button type="button" onClick=${() => go({ [key]: state[key] === "*" ? "" : "*" })}>${state[key] === "*" ? "Fold modules" : "Unfold all"}</button>`}>
    ${graph.value ? html`<${Graph} key=${state[key] ?? ""} graph=${graph.value} names=${page.names} shares=${shares} values=${values} show=${(value) => `${plural(value ?? 0, "difference")}`} selected=${selected} label=${`Graph of ${title}`} onSelect=${(list) => go({ o: list.length ? page.names[list[0]] : "" }, { replace: true })} onToggle=${() => go({ [key]: state[key] === "*" ? "" : "*" })} view=${undefined} onView=${() => {}} />` : graph.error ? html`<${Problem} text=${graph.error} />` : html`<${Skeleton} lines=${6} />`}
    <p class="legend">${field === "first" ? "Dark: removed. Green: changed." : "Yellow: added. Green: changed."} Gray: same.</p><//>`;
}
