/** Operators: where size, time and memory go; table, graph, scatter and timeline linked. */
import { useMemo, useState } from "preact/hooks";
import { listOf, joined } from "../logic/address.js";
import { plural, show } from "../logic/format.js";
import { csv, filterRows, foldRows, formatRanges, histogram, parseRanges, parseSearch, sortRows, total } from "../logic/rows.js";
import { colorShares } from "../logic/scales.js";
import { Answered, Bar, Card, Empty, Problem, Select, Skeleton } from "../parts/common.js";
import { Graph } from "../parts/graph.js";
import { Histogram } from "../parts/histogram.js";
import { html } from "../parts/html.js";
import { Scatter, Timeline } from "../parts/scatter.js";
import { address, answer, go, isOffline } from "../parts/state.js";
import { DataTable, nextSort } from "../parts/table.js";

const SHOWN = ["time_share", "macs", "weight_bytes", "bits", "activation_bytes", "sensitivity"];
const FOLD_ABOVE = 40;
const MOST_IN_ADDRESS = 40;

export function ModelSelect({ frame, name = "model", label = "Model" }) {
  const value = address.value[name] || frame.variants[0]?.id || "";
  return html`<${Select} label=${label} value=${value} options=${frame.variants.map((model) => [model.id, model.role === "original" ? `${model.name} (original)` : model.role === "best" ? `${model.name} (chosen)` : model.name])} change=${(next) => go({ [name]: next, open: "", z: "" })} />`;
}

/** Selected operators of a page, as row numbers. @param {import("../records").OperatorsPage} page */
export function useSelection(page) {
  const state = address.value;
  const index = useMemo(() => new Map(page.names.map((name, row) => [name, row])), [page]);
  const names = listOf(state.o);
  const selected = useMemo(() => {
    const rows = new Set(names.map((name) => index.get(name)).filter((row) => row !== undefined));
    if (state.m) page.modules.forEach((module, row) => { if (module === state.m || module.startsWith(`${state.m}.`)) rows.add(row); });
    return rows;
  }, [state.o, state.m, page]);
  function select(rows, add = false) {
    if (!rows.length) return go({ o: "", m: "" }, { replace: true });
    const module = rows.length > 1 ? commonModule(page, rows) : "";
    if (module && !add) return go({ o: "", m: module }, { replace: true });
    let next = rows;
    if (add) {
      const all = [...selected];
      next = rows.every((row) => selected.has(row)) ? all.filter((row) => !rows.includes(row)) : [...new Set([...all, ...rows])];
    }
    return go({ o: joined(next.slice(0, MOST_IN_ADDRESS).map((row) => page.names[row])), m: "" }, { replace: true });
  }
  return { selected, select };
}

/** The module that has exactly these operators; empty where there is none. */
function commonModule(page, rows) {
  let path = page.modules[rows[0]];
  while (path) {
    const count = page.modules.reduce((sum, module) => sum + (module === path || module.startsWith(`${path}.`) ? 1 : 0), 0);
    const isWhole = rows.every((row) => page.modules[row] === path || page.modules[row].startsWith(`${path}.`));
    if (isWhole && count === rows.length) return path;
    path = path.includes(".") ? path.slice(0, path.lastIndexOf(".")) : "";
  }
  return "";
}

export function Operators({ frame }) {
  const state = address.value;
  const page = answer("operators", { model: state.model, measured: state.measured });
  return html`<div class="page operators">
    <div class="page-tools"><${ModelSelect} frame=${frame} />
      ${isOffline ? null : html`<button type="button" aria-pressed=${state.measured === "1"} onClick=${() => go({ measured: state.measured ? "" : "1" })}>${state.measured ? "Predicted times" : "Measure times here"}</button>`}</div>
    <${Answered} answer=${page} lines=${14}>${(content) => html`<${Content} page=${content} />`}<//></div>`;
}

/** @param {{page: import("../records").OperatorsPage}} props */
function Content({ page }) {
  const state = address.value;
  const { selected, select } = useSelection(page);
  const table = useOperatorTable(page);
  const columnName = page.numbers[state.color] ? state.color : page.numbers.time_share ? "time_share" : "macs";
  const column = page.columns.find((title) => title.name === columnName);
  const shares = useMemo(() => colorShares(page.numbers[columnName]), [page, columnName]);
  const graph = answer("graph", { model: state.model || page.model, open: state.open });
  const kept = useMemo(() => new Set(table.rows), [table.rows]);
  const [single] = selected.size === 1 ? selected : [];
  const toggle = (module) => toggleModule(graph.value, module);
  const xName = page.numbers[state.x] ? state.x : "macs";
  const yName = page.numbers[state.y] ? state.y : page.numbers.time ? "time" : "weight_bytes";
  const title = (name) => page.columns.find((item) => item.name === name);
  const options = page.columns.filter((item) => item.name !== "time_share").map((item) => [item.name, item.title]);
  return html`<div class="split">
    <${OperatorTable} page=${page} table=${table} selected=${selected} select=${select} />
    <${Card} title="Graph" tools=${html`<${Select} label="Color" value=${columnName} options=${page.columns.map((item) => [item.name, item.title])} change=${(value) => go({ color: value }, { replace: true })} />
        <button type="button" onClick=${() => go({ open: state.open === "*" ? "" : "*", z: "" })}>${state.open === "*" ? "Fold modules" : "Unfold all"}</button>`}>
      ${graph.value ? html`<${Graph} key=${`${page.model}|${state.open ?? ""}`} graph=${graph.value} names=${page.names} shares=${shares} values=${page.numbers[columnName]} show=${(value) => show(value, column.unit)} selected=${selected} onSelect=${select} onToggle=${toggle} view=${state.z} onView=${(z) => go({ z }, { replace: true })} />`
        : graph.error ? html`<${Problem} text=${graph.error} />` : html`<${Skeleton} lines=${8} />`}
      <p class="legend"><span class="ramp" aria-hidden="true"></span> ${column.title}: less to more${column.how === "estimated" ? ", predicted" : ""}. ${graph.value ? plural(graph.value.labels.length, "box").replace("boxs", "boxes") : ""}</p>
    <//>
    <${Card} title="Scatter" tools=${html`<${Select} label="Across" value=${xName} options=${options} change=${(value) => go({ x: value }, { replace: true })} /><${Select} label="Up" value=${yName} options=${options} change=${(value) => go({ y: value }, { replace: true })} />`}>
      <${Scatter} names=${page.names} x=${page.numbers[xName]} y=${page.numbers[yName]} xTitle=${title(xName)} yTitle=${title(yName)} shares=${shares} rows=${kept} selected=${selected} onSelect=${select} /><//>
    <${Card} title="Timeline">${page.numbers.time ? html`<${Timeline} names=${page.names} starts=${page.starts} seconds=${page.numbers.time} shares=${shares} rows=${kept} selected=${selected} onSelect=${select} />
        <p class="legend">One run from left to right, ${title("time").how === "estimated" ? `predicted for ${page.device}` : "measured here"}.</p>` : html`<${Empty} title="No times"><p>Start with --device, or measure them here.</p><//>`}<//>
    <${OperatorCard} page=${page} row=${single} selected=${selected} />
  </div>`;
}

/** Fold a module that is open, or open it. */
export function toggleModule(graph, module) {
  if (!graph) return;
  const isOpen = graph.open.includes(module);
  if (isOffline) {
    go({ open: isOpen ? "" : "*", z: "" });
    return;
  }
  const open = isOpen ? graph.open.filter((other) => other !== module && !other.startsWith(`${module}.`)) : [...graph.open, module];
  go({ open: open.length === graph.foldable.length ? "*" : open.join(","), z: "" });
}

/** Rows of the table after search, filter, sort and fold. */
export function useOperatorTable(page) {
  const state = address.value;
  const texts = useMemo(() => page.names.map((name, row) => `${name} ${page.ops[row]} ${page.modules[row]} ${page.bounds[row]} ${page.storage[row]} ${page.files[row]}`.toLowerCase()), [page]);
  const ranges = useMemo(() => parseRanges(state.f), [state.f]);
  const sort = state.sort ?? "";
  const rows = useMemo(() => {
    const kept = filterRows(texts, page.numbers, parseSearch(state.q ?? ""), ranges);
    const key = sort.replace("-", "");
    const texted = { name: page.names, op: page.ops, bound: page.bounds };
    const column = page.numbers[key] ?? texted[key];
    return column ? sortRows(kept, column, sort.startsWith("-")) : kept;
  }, [page, texts, state.q, ranges, sort]);
  const isFolded = !sort && page.names.length > FOLD_ABOVE && state.fold !== "off" && !state.q;
  const unfolded = useMemo(() => new Set(listOf(state.u)), [state.u]);
  const lines = useMemo(() => (isFolded ? foldRows(rows, page.modules, unfolded) : rows.map((row) => ({ kind: "row", row, depth: 0 }))), [rows, isFolded, unfolded, page]);
  return { rows, lines, ranges, sort, isFolded, unfolded };
}

export function setRange(ranges, name, range) {
  const { [name]: _, ...others } = ranges;
  go({ f: formatRanges(range ? { ...others, [name]: range } : others) }, { replace: true });
}

/** @param {{page: import("../records").OperatorsPage, extra?: any[], height?: number}} props */
export function OperatorTable({ page, table, selected, select, extra = [], shown = SHOWN, height = 420 }) {
  const state = address.value;
  const { rows, lines, ranges, sort, isFolded, unfolded } = table;
  const [focus, setFocus] = useState(-1);
  const chosen = state.cols ? state.cols.split("~") : shown;
  const titles = page.columns.filter((column) => chosen.includes(column.name));
  const tops = useMemo(() => Object.fromEntries(page.columns.map((column) => [column.name, page.numbers[column.name].reduce((most, value) => Math.max(most, value ?? 0), 0)])), [page]);
  const bins = useMemo(() => Object.fromEntries(page.columns.map((column) => [column.name, histogram(page.numbers[column.name], 14)])), [page]);
  const wholes = useMemo(() => Object.fromEntries(page.columns.map((column) => [column.name, total(page.numbers[column.name], page.numbers[column.name].map((_, row) => row))])), [page]);
  const line = (index) => lines[index] ?? { kind: "row", row: 0, depth: 0 };
  const membersOf = (index) => (line(index).kind === "group" ? line(index).rows : [line(index).row]);
  const value = (index, name) => (line(index).kind === "group" ? total(page.numbers[name], line(index).rows) : page.numbers[name][line(index).row]);
  const fold = (index, isOpen) => {
    const item = line(index);
    if (item.kind !== "group") return;
    const next = new Set(unfolded);
    if (isOpen) next.add(item.module);
    else next.delete(item.module);
    go({ u: joined([...next]) }, { replace: true });
  };
  const columns = [
    { key: "name", title: "Operator", width: "minmax(170px, 2fr)", tip: "Name in the file", cell: (index) => nameCell(page, line(index), unfolded, fold, index), below: () => `${plural(rows.length, "operator")}${rows.length < page.names.length ? ` of ${page.names.length.toLocaleString("en-US")}` : ""}` },
    { key: "op", title: "Type", width: "92px", cell: (index) => (line(index).kind === "group" ? html`<span class="quiet">${line(index).rows.length} ops</span>` : page.ops[line(index).row]) },
    ...extra.map((column) => ({ ...column, cell: (index) => column.cell(line(index), membersOf(index)) })),
    ...titles.map((column) => ({
      key: column.name, title: column.title, width: "98px", tip: `${column.tip} ${column.how === "estimated" ? "Predicted." : ""}`, isNumber: true,
      cell: (index) => {
        const isGroup = line(index).kind === "group";
        if (isGroup && column.total === null) return "";
        const number = value(index, column.name);
        const most = isGroup ? wholes[column.name] : tops[column.name];
        return html`<${Bar} share=${number === null ? null : number / (most || 1)} text=${column.name === "sensitivity" ? sensitivityText(number) : show(number, column.unit)} tone=${isGroup ? "group" : ""} />`;
      },
      above: () => html`<${Histogram} bins=${bins[column.name]} title=${column.title} unit=${column.unit} range=${ranges[column.name]} onRange=${(range) => setRange(ranges, column.name, range)} />`,
      below: () => (column.total === null ? "" : show(total(page.numbers[column.name], rows), column.unit)),
    })),
    ...(page.bounds.some(Boolean) ? [{ key: "bound", title: "Bound by", width: "86px", tip: "Longest part of its predicted time", cell: (index) => (line(index).kind === "group" ? "" : page.bounds[line(index).row]) }] : []),
  ];
  const rowsText = () => csv(["operator", "type", "module", "file", "line", "bound", "storage", ...page.columns.map((column) => column.name)], rows.map((row) => [page.names[row], page.ops[row], page.modules[row], page.files[row], page.lines[row] || null, page.bounds[row], page.storage[row], ...page.columns.map((column) => page.numbers[column.name][row])]));
  return html`<${Card} title="Operator table" tools=${html`<input type="search" class="search" placeholder="conv macs>1M" aria-label="Search operators" title="Words, and limits as macs>1M or bits<=8" value=${state.q ?? ""} onInput=${(event) => go({ q: event.target.value }, { replace: true })} />
      ${page.names.length > FOLD_ABOVE ? html`<button type="button" aria-pressed=${isFolded} disabled=${Boolean(sort || state.q)} onClick=${() => go({ fold: state.fold === "off" ? "" : "off" }, { replace: true })}>By module</button>` : null}
      <${ColumnMenu} page=${page} chosen=${chosen} />
      <button type="button" onClick=${() => download(`${page.name}-operators.csv`, rowsText())}>CSV</button>
      ${state.f || state.q ? html`<button type="button" onClick=${() => go({ f: "", q: "" }, { replace: true })}>Clear filters</button>` : null}`}>
    <${DataTable} label="Operators" count=${lines.length} columns=${columns} sort=${sort} onSort=${(key) => go({ sort: nextSort(sort, key) }, { replace: true })}
      rowClass=${(index) => line(index).kind} isSelected=${(index) => membersOf(index).every((row) => selected.has(row))} focus=${focus} onFocus=${setFocus}
      onSelect=${(index, event) => select(membersOf(index), event.ctrlKey || event.metaKey || event.shiftKey)} onFold=${fold} onOpen=${(index) => fold(index, !unfolded.has(line(index).module))} hasTotals height=${height} />
    ${rows.length ? null : html`<${Empty} title="No operator matches"><p>Clear the search and the filters above the columns.</p><//>`}
  <//>`;
}

function nameCell(page, item, unfolded, fold, index) {
  const indent = { paddingLeft: `${item.depth * 14}px` };
  if (item.kind === "group") {
    const isOpen = unfolded.has(item.module);
    return html`<span style=${indent}><button type="button" class="fold" aria-expanded=${isOpen} aria-label="${isOpen ? "Fold" : "Unfold"} ${item.module}" onClick=${(event) => { event.stopPropagation(); fold(index, !isOpen); }}>${isOpen ? "▾" : "▸"}</button>${item.depth ? item.module.slice(item.module.lastIndexOf(".") + 1) : item.module} <span class="quiet">(${item.rows.length})</span></span>`;
  }
  const name = page.names[item.row];
  return html`<span style=${indent} title="${name}${page.storage[item.row] ? `: ${page.storage[item.row]}` : ""}">${item.depth ? name.split("/").slice(-2).join("/") : name}</span>`;
}

/** Noise to signal in power as decibels. */
export function sensitivityText(noise) {
  if (noise === null || noise === undefined) return "–";
  return noise > 0 ? `${(10 * Math.log10(noise)).toFixed(0)} dB`.replace("-", "−") : "none";
}

function ColumnMenu({ page, chosen }) {
  return html`<details class="menu"><summary>Columns</summary><div class="menu-list" role="group" aria-label="Columns">${page.columns.map((column) => html`<label key=${column.name}><input type="checkbox" checked=${chosen.includes(column.name)}
    onChange=${() => go({ cols: joined(chosen.includes(column.name) ? chosen.filter((name) => name !== column.name) : [...chosen, column.name]) }, { replace: true })} /> ${column.title}</label>`)}</div></details>`;
}

/** Save a text as a file. */
export function download(name, text) {
  const link = document.createElement("a");
  link.href = `data:text/csv;charset=utf-8,${encodeURIComponent(text)}`;
  link.download = name.replace(/[^\w.-]+/g, "-");
  link.click();
}

/** One operator, and its line of code. */
function OperatorCard({ page, row, selected }) {
  if (row === undefined) {
    const rows = [...selected];
    return html`<${Card} title="Operator" wide>${rows.length > 1
      ? html`<p>${plural(rows.length, "operator")} selected: ${page.columns.filter((column) => column.total !== null).map((column) => `${column.title} ${show(total(page.numbers[column.name], rows), column.unit)}`).join(" · ")}</p>`
      : html`<${Empty} title="Select an operator"><p>Click a row, a box, a dot or a bar: the same operator glows everywhere, and its line of code is shown here.</p><//>`}<//>`;
  }
  return html`<${Card} title="Operator" wide><div class="columns"><div><h3>${page.names[row]}</h3>
      <dl class="facts"><div><dt>Type</dt><dd>${page.ops[row]}</dd></div><div><dt>Module</dt><dd>${page.modules[row] || "top"}</dd></div>${page.storage[row] ? html`<div><dt>Changed</dt><dd>${page.storage[row]}</dd></div>` : null}
      ${page.columns.map((column) => html`<div key=${column.name}><dt>${column.title}</dt><dd>${column.name === "sensitivity" ? sensitivityText(page.numbers.sensitivity[row]) : show(page.numbers[column.name][row], column.unit)} <span class="quiet">${column.how === "estimated" ? "predicted" : column.how}</span></dd></div>`)}</dl></div>
    <${Code} page=${page} row=${row} /></div><//>`;
}

function Code({ page, row }) {
  if (!page.lines[row]) return html`<${Empty} title="No source line"><p>The exporter left none. <code>torch.onnx.export(..., dynamo=True)</code> leaves one for each operator.</p><//>`;
  if (isOffline) return html`<p>${page.files[row]}:${page.lines[row]}</p>`;
  const code = answer("code", { model: page.model, operator: row });
  if (!code.value) return code.error ? html`<${Problem} text=${code.error} />` : html`<${Skeleton} lines=${6} />`;
  const { file, line, first, lines, problem } = code.value;
  return html`<figure class="code" aria-label="Source code"><figcaption>${file}:${line}</figcaption>${problem ? html`<p class="quiet">${problem}</p>`
    : html`<pre tabIndex="0">${lines.map((text, index) => html`<span key=${index} class="code-line ${first + index === line ? "marked" : ""}" aria-current=${first + index === line ? "true" : undefined}><span class="code-number">${first + index}</span>${text}\n</span>`)}</pre>`}</figure>`;
}
