/** What if: choose a technique for operators and see at once what it saves. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { pageAddress } from "../logic/address.js";
import { plural, show, showSaved, withMinus } from "../logic/format.js";
import { changed, newHistory, patternOf, redone, splitChoice, undone, withChoice } from "../logic/history.js";
import { colorShares } from "../logic/scales.js";
import { Answered, Card, Command, Empty, Mark, Problem, Select, Skeleton, Value } from "../parts/common.js";
import { Graph } from "../parts/graph.js";
import { html } from "../parts/html.js";
import { address, answer, go, isOffline, jobs, message, refreshAnswers, send } from "../parts/state.js";
import { ModelSelect, OperatorTable, sensitivityText, toggleModule, useOperatorTable, useSelection } from "./operators.js";

const SEPARATOR = "~";
const COSTS = ["size", "download", "latency", "peak_memory", "energy"];
const TITLES = { size: "File size", download: "Download", latency: "Latency", peak_memory: "Peak memory", energy: "Energy" };

export function WhatIf({ frame }) {
  const state = address.value;
  const page = answer("what-if", { model: state.model || frame.variants[0]?.id });
  const operators = answer("operators", { model: state.model || frame.variants[0]?.id });
  return html`<div class="page what-if"><div class="page-tools"><${ModelSelect} frame=${frame} /></div>
    <${Answered} answer=${operators} lines=${14}>${(content) => html`<${Answered} answer=${page} lines=${14}>${(choices) => html`<${Content} key=${choices.model} page=${choices} operators=${content} frame=${frame} />`}<//>`}<//></div>`;
}

/** @param {{page: import("../records").WhatIfPage, operators: import("../records").OperatorsPage, frame: import("../records").Frame}} props */
function Content({ page, operators, frame }) {
  const state = address.value;
  const choices = useMemo(() => (state.c ? state.c.split(SEPARATOR) : []), [state.c]);
  const past = useRef(newHistory(choices));
  if (past.current.present.join() !== choices.join()) past.current = changed(past.current, choices);
  const prediction = usePrediction(page.model, choices);
  const { selected, select } = useSelection(operators);
  const table = useOperatorTable(operators);
  const rowOf = useMemo(() => new Map(page.rows.flatMap((row) => row.operators.map((name) => [name, row]))), [page]);
  const chosen = useMemo(() => chosenSteps(page, choices), [page, choices]);
  const set = (next) => go({ c: next.join(SEPARATOR) });
  const choose = (where, step) => {
    past.current = changed(past.current, withChoice(choices, where, step));
    set(past.current.present);
  };
  const back = () => { past.current = undone(past.current); set(past.current.present); };
  const forth = () => { past.current = redone(past.current); set(past.current.present); };
  useEffect(() => {
    const onKey = (event) => {
      if (event.target instanceof Element && event.target.closest("input, textarea, select")) return;
      if (event.key === "u") back();
      if (event.key === "r" && !event.ctrlKey) forth();
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  });
  const columns = [
    { key: "step", title: "Choose", width: "104px", isFixed: true, tip: "Technique for this operator or module", cell: (item, rows) => stepCell(item, rows) },
    { key: "saved", title: "Saves", width: "82px", isFixed: true, isNumber: true, tip: "Bytes that the choice saves; without one, 8-bit weights", cell: (item, rows) => effectCell(rows, "saved", "B") },
    { key: "damage", title: "Damage", width: "76px", isFixed: true, isNumber: true, tip: "Noise at the outputs of this choice alone, measured", cell: (item, rows) => damageCell(rows) },
  ];
  function clustersOf(rows) {
    return [...new Set(rows.map((row) => rowOf.get(operators.names[row])).filter(Boolean))];
  }
  function stepCell(item, rows) {
    const clusters = clustersOf(rows);
    if (!clusters.length) return html`<span class="quiet">no weight</span>`;
    const steps = new Set(clusters.map((row) => chosen.get(row.operators[0]) ?? "keep"));
    const current = steps.size === 1 ? [...steps][0] : "";
    const label = item.kind === "group" ? item.module : operators.names[item.row];
    const where = patternOf(clusters.flatMap((row) => row.operators));
    return html`<select class="choice ${current && current !== "keep" ? "chosen" : ""}" aria-label="Technique for ${label}" value=${current} disabled=${isOffline} onClick=${(event) => event.stopPropagation()}
        onChange=${(event) => choose(item.kind === "group" ? moduleWhere(item.module, clusters) : where, event.target.value)}>
      ${current ? null : html`<option value="">mixed</option>`}
      ${page.steps.map((step) => html`<option key=${step.step} value=${step.step} selected=${step.step === current} title=${step.tip} disabled=${clusters.length === 1 && step.step in clusters[0].refused}>${step.title}</option>`)}</select>`;
  }
  /** A module's own pattern where it names exactly these operators, else all their names. */
  function moduleWhere(module, clusters) {
    const names = new Set(clusters.flatMap((row) => row.operators));
    const start = `^/?${module.replaceAll(".", "[./]").replace(/[*+?^${}()|\\]/g, "\\$&")}[./]`;
    const pattern = new RegExp(start);
    const isExact = page.rows.every((row) => row.operators.some((name) => pattern.test(name)) === names.has(row.operators[0]));
    return isExact ? start : patternOf([...names]);
  }
  function effectCell(rows, field, unit) {
    const clusters = clustersOf(rows);
    if (!clusters.length) return "";
    const isChosen = clusters.some((row) => chosen.has(row.operators[0]));
    const saved = clusters.reduce((sum, row) => sum + (row[field][chosen.get(row.operators[0]) ?? (isChosen ? "keep" : "weights:8")] ?? 0), 0);
    return html`<span class=${isChosen ? "" : "quiet"} title=${isChosen ? "by the choice" : "with 8-bit weights"}>${show(saved, unit).replace("−", "+")}${saved < 0 ? " more" : ""}</span>`;
  }
  function damageCell(rows) {
    const clusters = clustersOf(rows);
    const noises = clusters.map((row) => row.damage[chosen.get(row.operators[0]) ?? "weights:8"]).filter((noise) => noise !== undefined);
    if (!noises.length) return html`<span class="quiet">–</span>`;
    const isChosen = clusters.some((row) => chosen.has(row.operators[0]));
    return html`<span class=${isChosen ? "" : "quiet"}>${sensitivityText(noises.reduce((sum, noise) => sum + noise, 0))}</span>`;
  }
  const shares = useMemo(() => colorShares(operators.numbers.weight_bytes), [operators]);
  const graph = answer("graph", { model: page.model, open: state.open });
  const selectedClusters = clustersOf([...selected]);
  return html`<${Budgets} prediction=${prediction} frame=${frame} />
    <div class="split what-if-split">
      <${OperatorTable} page=${operators} table=${table} selected=${selected} select=${select} extra=${columns} shown=${["weight_bytes", "time_share"]} height=${470} />
      <div class="stack"><${Receipt} page=${page} prediction=${prediction} choices=${choices} remove=${(where) => set(choices.filter((choice) => splitChoice(choice)[0] !== where))} clear=${() => set([])} back=${back} forth=${forth} history=${past.current} frame=${frame} />
        <${ApplyCard} page=${page} operators=${operators} rows=${table.rows} selected=${selectedClusters} clustersOf=${clustersOf} choose=${choose} query=${state.q ?? ""} />
        <${SensitivityCard} page=${page} frame=${frame} /></div>
      <${Card} title="Graph" wide>${graph.value ? html`<${Graph} key=${`${page.model}|${state.open ?? ""}`} graph=${graph.value} names=${operators.names} shares=${shares} values=${operators.numbers.weight_bytes} show=${(value) => show(value, "B")} selected=${selected} onSelect=${select} onToggle=${(module) => toggleModule(graph.value, module)} view=${state.z} onView=${(z) => go({ z }, { replace: true })} />` : html`<${Skeleton} lines=${6} />`}
        <p class="legend"><span class="ramp" aria-hidden="true"></span> Bytes of weights. Click a box to select it, double-click a module to open it.</p><//>
    </div>`;
}

/** The step of each cluster by its first operator, later choices over earlier ones. */
function chosenSteps(page, choices) {
  const steps = new Map();
  for (const choice of choices) {
    const [where, step] = splitChoice(choice);
    let pattern;
    try {
      pattern = new RegExp(where);
    } catch {
      continue; // the server says what is wrong with it
    }
    for (const row of page.rows) if (row.operators.some((name) => pattern.test(name))) steps.set(row.operators[0], step);
  }
  for (const [name, step] of steps) if (step === "keep") steps.delete(name);
  return steps;
}

/** Predicted costs of the choices; the last ones stay in sight until new ones come. */
function usePrediction(model, choices) {
  const [state, setState] = useState({ value: null, error: "", isLoading: true, milliseconds: 0 });
  useEffect(() => {
    if (isOffline) return undefined;
    const stop = new AbortController();
    const started = performance.now();
    setState((before) => ({ ...before, isLoading: true }));
    send("predict", { model, choices }, stop.signal)
      .then((value) => setState({ value, error: "", isLoading: false, milliseconds: performance.now() - started }))
      .catch((error) => { if (!stop.signal.aborted) setState((before) => ({ ...before, error: error.message, isLoading: false })); });
    return () => stop.abort();
  }, [model, choices.join(SEPARATOR)]);
  return state;
}

function Budgets({ prediction, frame }) {
  const found = prediction.value;
  return html`<section class="strip" aria-label="Predicted costs" data-milliseconds=${prediction.milliseconds.toFixed(0)} aria-busy=${prediction.isLoading}>
    ${found ? COSTS.filter((name) => found.predicted[name]).map((name) => html`<div class="cost" key=${name}><span class="quiet">${TITLES[name]}</span> <${Value} number=${found.predicted[name]} />${found.changes[name] !== undefined ? html` <span class="ratio ${found.changes[name] < 0.995 ? "good" : found.changes[name] > 1.005 ? "bad" : ""}">${found.changes[name].toFixed(2)}x</span>` : null}</div>`)
      : isOffline ? html`<p class="quiet">This is an offline file: the table shows what each technique saves for each operator alone. <${Command}>packlight studio<//> combines and runs choices.</p>` : html`<span class="quiet">Predicting ...</span>`}
    ${found?.damage !== null && found?.damage !== undefined ? html`<div class="cost"><span class="quiet">Outputs</span> <span class="value estimated">~${found.damage.toFixed(1)} dB</span> <span class="quiet">signal to noise</span></div>` : null}
    ${found?.budgets.map((budget) => html`<div class="cost" key=${budget.text}><span>${budget.text}</span> <${Mark} state=${budget.meets} word=${budget.reached ? undefined : "only measuring tells"} /></div>`)}
    ${prediction.error ? html`<${Problem} text=${prediction.error} />` : null}
  </section>`;
}

function Receipt({ page, prediction, choices, remove, clear, back, forth, history, frame }) {
  const [name, setName] = useState("");
  const found = prediction.value;
  const lines = found?.receipt ?? [];
  const title = (step) => page.steps.find((item) => item.step === step)?.title ?? step;
  const saved = lines.reduce((sum, line) => sum + line.saved, 0);
  const seconds = lines.reduce((sum, line) => sum + line.seconds, 0);
  async function act(request, body, done) {
    try {
      await send(request, { model: page.model, choices, name, ...body });
      message.value = done;
      refreshAnswers("what-if");
    } catch (error) {
      message.value = error.message;
    }
  }
  return html`<${Card} title="Receipt" tools=${html`<button type="button" disabled=${!history.past.length} onClick=${back} title="Undo (u)">Undo</button><button type="button" disabled=${!history.future.length} onClick=${forth} title="Redo (r)">Redo</button><button type="button" disabled=${!choices.length} onClick=${clear}>Clear</button>`}>
    ${choices.length ? html`<ol class="receipt" aria-label="Choices">${lines.map((line) => html`<li key=${line.where}><div><strong>${title(line.step)}</strong> on ${readable(line.where)} <button type="button" class="remove" aria-label="Remove ${title(line.step)} on ${readable(line.where)}" onClick=${() => remove(line.where)}>✕</button></div>
        <div class="effects"><span>${showSaved(line.saved, "B")}</span><span>${line.seconds ? `about ${showSaved(line.seconds, "s")}` : "same time"}</span><span>${line.damage === null ? "damage unknown" : sensitivityText(line.damage)}</span><span class="quiet">${plural(line.operators, "operator")}</span></div>
        ${line.refused.map((reason) => html`<div class="caution" key=${reason}>Some stay as they are: ${reason}</div>`)}</li>`)}</ol>
      <p class="sum"><strong>${plural(choices.length, "change")}:</strong> weights ${showSaved(saved, "B")}, time about ${showSaved(seconds, "s")}${found?.damage !== null && found?.damage !== undefined ? `, outputs ~${found.damage.toFixed(1)} dB` : ""}</p>
      ${found?.recipe ? html`<details><summary>Recipe</summary><code class="recipe">${found.recipe}</code></details>` : null}
      <div class="save"><input type="text" aria-label="Name" placeholder="Name" value=${name} onInput=${(event) => setName(event.target.value)} />
        <button type="button" disabled=${!frame.saves || !name || !found?.recipe} onClick=${() => act("recipes", {}, `Saved as ${name}.`)}>Save recipe</button>
        <button type="button" class="primary" disabled=${!frame.runs || !found?.recipe} onClick=${() => act("jobs", { kind: "measure" }, "Running.")}>Run it</button></div>
      ${frame.runs ? null : html`<p class="quiet">${frame.runs_reason}</p>`}`
      : html`<${Empty} title="No changes yet"><p>Choose a technique in the table, for an operator or a whole module. Every budget answers at once.</p><//>`}
    ${Object.keys(page.recipes).length ? html`<details><summary>${plural(Object.keys(page.recipes).length, "saved recipe")}</summary><dl class="facts">${Object.entries(page.recipes).map(([key, text]) => html`<div key=${key}><dt>${key}</dt><dd><code>${text}</code></dd></div>`)}</dl></details>` : null}
    <${Jobs} kind="measure" />
  <//>`;
}

/** A pattern as people read it. */
export function readable(where) {
  const plain = where.replace(/^\^/, "").replace(/\$$/, "").replace(/^\((.*)\)$/, "$1").replace(/^\/\?/, "").replace(/\[\.\/\]$/, "").replaceAll("[./]", ".").replace(/\\(.)/g, "$1");
  const names = plain.split("|");
  return names.length > 2 ? `${names[0]} and ${names.length - 1} more` : names.join(" and ");
}

/** Jobs with progress; predicted beside measured once they are done. */
export function Jobs({ kind }) {
  const shown = jobs.value.filter((job) => job.kind === kind).slice(0, 4);
  return html`<div aria-live="polite" class="jobs">${shown.map((job) => html`<section class="job" key=${job.id} aria-label="Job ${job.title}" data-state=${job.state}>
    <div class="job-head"><strong>${job.title}</strong> <span class="quiet">${job.state === "running" ? job.text : job.state}</span>
      ${["waiting", "running"].includes(job.state) ? html`<button type="button" onClick=${() => send("jobs/cancel", { id: job.id }).catch((error) => { message.value = error.message; })}>Cancel</button>` : null}</div>
    ${job.state === "running" ? html`<progress aria-label="Progress of ${job.title}" value=${job.total ? job.done / job.total : undefined}></progress>` : null}
    ${job.error ? html`<p class="caution">${job.error}</p>` : null}
    ${job.state === "done" && job.kind === "measure" ? html`<${BothSides} job=${job} />` : null}</section>`)}</div>`;
}

function BothSides({ job }) {
  const page = answer("overview");
  const variant = page.value?.variants.find((row) => row.id === job.variant);
  if (!variant) return html`<${Skeleton} lines=${2} />`;
  const rows = [["size", "File size"], ["download", "Download"], ["latency_ratio", "Latency, times the original"], ["peak_memory", "Peak memory"], ["drop", "Drop"]].filter(([name]) => variant.numbers[name]);
  return html`<table class="plain" aria-label="Predicted and measured"><thead><tr><th scope="col"></th><th scope="col">Predicted</th><th scope="col">Measured</th></tr></thead>
    <tbody>${rows.map(([name, title]) => html`<tr key=${name}><th scope="row">${title}</th><td>${job.predicted[name] ? html`<${Value} number=${job.predicted[name]} />` : html`<span class="quiet">not predicted</span>`}</td><td><${Value} number=${variant.numbers[name]} /></td></tr>`)}
      <tr><th scope="row">Budgets</th><td></td><td><${Mark} state=${variant.verdict} /></td></tr></tbody></table>
    <p><a class="button" href=${pageAddress(address.value, "compare", { v: variant.id })}>Compare it</a></p>`;
}

function ApplyCard({ page, operators, rows, selected, clustersOf, choose, query }) {
  const [step, setStep] = useState("weights:8");
  const shown = clustersOf(rows);
  const types = [...new Set(page.rows.map((row) => operators.ops[operators.names.indexOf(row.operators[0])]))].filter(Boolean);
  const apply = (clusters) => clusters.length && choose(clusters.length === page.rows.length ? "." : patternOf(clusters.flatMap((row) => row.operators)), step);
  const ofType = (type) => page.rows.filter((row) => operators.ops[operators.names.indexOf(row.operators[0])] === type);
  if (isOffline) return null;
  return html`<${Card} title="Apply to many"><div class="apply"><${Select} label="Technique" value=${step} options=${page.steps.map((item) => [item.step, item.title])} change=${setStep} />
    <button type="button" onClick=${() => apply(page.rows)}>Whole model</button>
    <button type="button" disabled=${!selected.length} onClick=${() => apply(selected)}>Selection (${selected.length})</button>
    ${query || address.value.f ? html`<button type="button" disabled=${!shown.length} onClick=${() => apply(shown)}>All found (${shown.length})</button>` : null}
    ${types.map((type) => html`<button type="button" key=${type} onClick=${() => apply(ofType(type))}>All ${type} (${ofType(type).length})</button>`)}</div><//>`;
}

function SensitivityCard({ page, frame }) {
  if (page.sensitivity || isOffline) return null;
  return html`<${Card} title="Damage"><p class="quiet">No damage was measured yet. A job runs each technique on each operator alone, on a few calibration samples, and measures the noise at the outputs.</p>
    <button type="button" disabled=${!frame.runs} onClick=${() => send("jobs", { kind: "sensitivity", model: page.model }).catch((error) => { message.value = error.message; })}>Measure sensitivity</button>
    ${frame.runs ? null : html`<p class="quiet">${frame.runs_reason}</p>`}<${Jobs} kind="sensitivity" /><//>`;
}
