/** Compare: who or what got worse, and the samples to look at. */
import { useEffect, useState } from "preact/hooks";
import { listOf, joined, pageAddress } from "../logic/address.js";
import { plural, withMinus } from "../logic/format.js";
import { finite } from "../logic/scales.js";
import { Answered, Card, Empty, Mark, Problem, Select, Skeleton, Value } from "../parts/common.js";
import { html } from "../parts/html.js";
import { address, answer, go, isOffline } from "../parts/state.js";
import { shortName } from "./overview.js";

const HEADLINE = ["size", "latency_ratio", "peak_memory", "drop", "worst_group_drop", "flips", "agreement", "snr"];
const MOST = 5;
const PAGE = 24;
const OUTCOMES = { lost: "right to wrong", won: "wrong to right", changed: "wrong, differently" };

export function Compare({ frame }) {
  const state = address.value;
  const original = frame.variants.find((model) => model.role === "original")?.id;
  let wanted = listOf(state.v).filter((id) => id !== original).slice(0, MOST);
  if (isOffline) wanted = wanted.slice(0, 1);
  const best = frame.variants.find((model) => model.role === "best")?.id ?? frame.variants[1]?.id;
  const keys = wanted.length ? wanted : best ? [best] : [];
  const page = answer("compare", { variants: keys.join(",") });
  return html`<div class="page compare"><div class="page-tools" role="group" aria-label="Variants to compare"><span>Compare ${frame.variants.find((model) => model.role === "original")?.name ?? "the original"} with</span>
      ${keys.map((key) => html`<span class="chip" key=${key}>${frame.variants.find((model) => model.id === key)?.name ?? key}${keys.length > 1 ? html`<button type="button" aria-label="Remove ${key}" onClick=${() => go({ v: joined(keys.filter((other) => other !== key)) })}>✕</button>` : null}</span>`)}
      ${keys.length < MOST ? html`<${Select} hidden label="Add a variant" value="" options=${[["", isOffline ? "choose another ..." : "add ..."], ...frame.variants.filter((model) => model.role !== "original" && model.role !== "file" && !keys.includes(model.id)).map((model) => [model.id, model.name])]} change=${(id) => id && go({ v: joined(isOffline ? [id] : [...keys, id]) })} />` : null}</div>
    <${Answered} answer=${page} lines=${12}>${(content) => html`<${Content} page=${content} />`}<//></div>`;
}

/** @param {{page: import("../records").ComparePage}} props */
function Content({ page }) {
  const state = address.value;
  const rows = page.metrics.filter((metric) => HEADLINE.includes(metric.name) || metric.name === page.metrics[0]?.name);
  const shown = page.contrasts.find((contrast) => contrast.variant === state.of) ?? page.contrasts[0];
  const nameOf = (id) => page.variants.find((variant) => variant.id === id)?.name ?? id;
  if (!page.contrasts.length) return html`<${Empty} title="Nothing to compare yet"><p>This variant has not been measured. Select another above, or run one in What if.</p><//>`;
  return html`<${Card} title="Headline" wide><div class="scroll"><table class="plain" aria-label="Headline"><thead><tr><th scope="col"></th><th scope="col">${page.reference.name} <span class="badge">reference</span></th>${page.variants.map((variant) => html`<th scope="col" key=${variant.id}>${variant.name} ${variant.best ? html`<span class="badge good">chosen</span>` : null}</th>`)}</tr></thead>
      <tbody><tr><th scope="row">Budgets</th><td><${Mark} state=${page.reference.verdict} /></td>${page.variants.map((variant) => html`<td key=${variant.id}><${Mark} state=${variant.verdict} /></td>`)}</tr>
        ${rows.map((metric) => html`<tr key=${metric.name}><th scope="row">${metric.title} <span class="quiet">${metric.better === "lower" ? "↓" : "↑"}</span></th><td><${Value} number=${page.reference.numbers[metric.name]} /></td>${page.variants.map((variant) => html`<td key=${variant.id}><${Value} number=${variant.numbers[metric.name]} /></td>`)}</tr>`)}
        <tr><th scope="row">Evidence of a drop</th><td></td>${page.variants.map((variant) => { const contrast = page.contrasts.find((other) => other.variant === variant.id); return html`<td key=${variant.id}>${contrast ? html`p = ${contrast.p < 0.001 ? "< 0.001" : contrast.p.toFixed(3)} <span class="quiet">${contrast.test}</span>` : "–"}</td>`; })}</tr>
        <tr><th scope="row">Flips</th><td></td>${page.variants.map((variant) => { const contrast = page.contrasts.find((other) => other.variant === variant.id); return html`<td key=${variant.id}>${contrast ? Object.entries(contrast.rates).filter(([name]) => name in OUTCOMES).map(([name, rate]) => html`<div key=${name}>${OUTCOMES[name]} <${Value} number=${rate} interval=${false} /></div>`) : "–"}</td>`; })}</tr></tbody></table></div><//>
    <div class="split">
      <${Groups} page=${page} />
      <${Samples} page=${page} shown=${shown} nameOf=${nameOf} />
      <${Card} title="Confusions" tools=${page.contrasts.length > 1 ? html`<${Select} label="Variant" value=${shown.variant} options=${page.contrasts.map((contrast) => [contrast.variant, nameOf(contrast.variant)])} change=${(of) => go({ of }, { replace: true })} />` : null}><${Confusions} contrast=${shown} /><//>
      <${Card} title="Why">${page.findings.map((finding) => html`<div class="finding" key=${finding.cause}><h3><span class="badge ${finding.severity === "note" ? "" : "open"}">${finding.severity}</span> ${finding.cause}</h3><p>${finding.text}</p><p><strong>Next:</strong> ${finding.next_step}</p></div>`)}
        ${shown.slices.map((text) => html`<p key=${text}><strong>Slice:</strong> ${text}</p>`)}
        ${shown.notes.map((text) => html`<p class="quiet" key=${text}>${text}</p>`)}
        <${Trust} contrast=${shown} />
        <p><a class="button" href=${pageAddress(address.value, "layers", { v: shown.variant })}>Look inside: layers</a></p>
        ${page.lessons.slice(0, 4).map((lesson, index) => html`<details class="lesson" key=${index}><summary>${lesson.text}</summary><p>Here ${lesson.title}. Source: ${lesson.source}</p></details>`)}<//>
    </div>`;
}

function Trust({ contrast }) {
  const names = { confidence: "Mean confidence", calibration_error: "Calibration error", nll: "Negative log likelihood", brier: "Brier score" };
  const rows = Object.entries(contrast.trust);
  if (!rows.length) return null;
  return html`<table class="plain" aria-label="Confidence"><thead><tr><th scope="col"></th><th scope="col">before</th><th scope="col">after</th></tr></thead><tbody>${rows.map(([name, [before, after]]) => html`<tr key=${name}><th scope="row">${names[name] ?? name}</th><td><${Value} number=${before} interval=${false} /></td><td><${Value} number=${after} interval=${false} /></td></tr>`)}</tbody></table>`;
}

/** Groups as dots with intervals, the worst first; too small ones gray. */
function Groups({ page }) {
  const state = address.value;
  const column = state.by ?? "";
  const rows = page.groups.filter((row) => !column || row.column === column);
  const values = rows.flatMap((row) => row.dots.filter((dot) => dot.standing !== "too small").flatMap((dot) => [finite(dot.drop.low), finite(dot.drop.high)])).filter(Number.isFinite);
  const low = Math.min(0, ...values);
  const high = Math.max(0.0001, ...values);
  const place = (value) => 100 * ((Math.min(high, Math.max(low, value)) - low) / (high - low));
  const selectedGroup = `${state.column ?? ""}=${state.group ?? ""}`;
  const choose = (row) => go(selectedGroup === `${row.column}=${row.name}` ? { column: "", group: "", start: "" } : { column: row.column, group: row.name, before: "", after: "", start: "" }, { replace: true });
  return html`<${Card} title="Groups" tools=${page.columns.length > 1 ? html`<${Select} label="Column" value=${column} options=${[["", "all"], ...page.columns.map((name) => [name, name])]} change=${(by) => go({ by }, { replace: true })} />` : null}>
    ${rows.length ? html`<p class="quiet">Drop in each group with its 95 % interval, worst first; right of the line is worse. A star: differs from all other samples (q ≤ 0.05). Click a group to see its samples.</p>
    <div role="listbox" aria-label="Groups" class="groups">${rows.map((row) => html`<div key=${`${row.column}=${row.name}`} role="option" tabIndex="0" aria-selected=${selectedGroup === `${row.column}=${row.name}`} class="group-row ${row.dots.every((dot) => dot.standing === "too small") ? "small" : ""} ${selectedGroup === `${row.column}=${row.name}` ? "selected" : ""}"
        onClick=${() => choose(row)} onKeyDown=${(event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(row); } }}>
      <div class="group-name"><strong>${row.name}</strong> <span class="quiet">${row.column}, n = ${row.n.toLocaleString("en-US")}</span></div>
      <div class="group-dots">${row.dots.map((dot, index) => html`<div class="group-dot" key=${dot.variant} title="${withMinus(dot.drop.text)} ${withMinus(dot.drop.interval)}; ${dot.lost} lost, ${dot.won} won; ${dot.standing}">
        <span class="zero" style=${{ left: `${place(0)}%` }}></span><span class="span tone${index % 5}" style=${{ left: `${place(finite(dot.drop.low))}%`, width: `${Math.max(0.5, place(finite(dot.drop.high)) - place(finite(dot.drop.low)))}%` }}></span><span class="dot tone${index % 5}" style=${{ left: `${place(dot.drop.value)}%` }}></span></div>`)}</div>
      <div class="group-text">${row.dots.map((dot) => html`<div key=${dot.variant}>${withMinus(dot.drop.text)}${dot.standing === "harder" ? html` <span class="star" title="hit harder than the rest, q = ${dot.q.toFixed(3)}">★ harder</span>` : dot.standing === "lighter" ? html` <span title="hit lighter than the rest">☆ lighter</span>` : dot.standing === "too small" ? html` <span class="quiet">too small</span>` : ""} <span class="quiet">${dot.lost} lost, ${dot.won} won</span></div>`)}</div></div>`)}</div>
    ${page.variants.length > 1 ? html`<p class="legend">${page.variants.map((variant, index) => html`<span key=${variant.id}><span class="dot-key tone${index % 5}"></span> ${shortName(variant.name)}</span>`)}</p>` : null}` : html`<${Empty} title="No groups"><p>Give the task a group column, as <code>group_class</code> in its .npz, to see who is hit.</p><//>`}<//>`;
}

function Confusions({ contrast }) {
  const state = address.value;
  if (!contrast.confusions.length) return html`<${Empty} title="No decisions changed"><p>Where the task has classes, the most frequent changes stand here.</p><//>`;
  const most = Math.max(...contrast.confusions.map((item) => item.lost + item.won + item.changed));
  return html`<ul class="confusions" aria-label="Changes of decisions">${contrast.confusions.map((item) => { const isOn = state.before === item.before && state.after === item.after; const sum = item.lost + item.won + item.changed; return html`<li key=${`${item.before}-${item.after}`}><button type="button" aria-pressed=${isOn} class="confusion" onClick=${() => go(isOn ? { before: "", after: "" } : { before: item.before, after: item.after, column: "", group: "", outcome: "", start: "" }, { replace: true })}>
    <span class="confusion-name">${item.before} → ${item.after}</span><span class="stacked"><span class="lost" style=${{ width: `${(100 * item.lost) / most}%` }}></span><span class="won" style=${{ width: `${(100 * item.won) / most}%` }}></span><span class="other" style=${{ width: `${(100 * item.changed) / most}%` }}></span></span><span>${sum} <span class="quiet">(${item.lost} lost, ${item.won} won)</span></span></button></li>`; })}</ul>`;
}

/** Samples whose decision changed, right to wrong first. */
function Samples({ page, shown, nameOf }) {
  const state = address.value;
  const query = isOffline
    ? { variant: shown.variant, outcome: state.outcome === "lost" ? "lost" : "" }
    : { variant: shown.variant, outcome: state.outcome, column: state.column, group: state.group, before: state.before, after: state.after, start: state.start };
  const samples = answer("samples", query);
  const [focus, setFocus] = useState(0);
  useEffect(() => setFocus(0), [JSON.stringify(query)]);
  const cards = samples.value?.cards ?? [];
  const filter = [state.group && `${state.column} = ${state.group}`, state.before && `${state.before} → ${state.after}`].filter(Boolean).join(", ");
  function onKey(event) {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step || !cards.length) return;
    event.preventDefault();
    const next = focus + step;
    const start = samples.value.start;
    if (next >= cards.length && start + PAGE < samples.value.total) go({ start: String(start + PAGE) }, { replace: true });
    else if (next < 0 && start > 0) go({ start: String(Math.max(0, start - PAGE)) }, { replace: true });
    else setFocus(Math.min(cards.length - 1, Math.max(0, next)));
  }
  const counts = samples.value?.counts ?? {};
  return html`<${Card} title="Samples that changed" tools=${html`<${Select} label="Outcome" value=${state.outcome ?? ""} options=${[["", "all"], ...Object.entries(OUTCOMES).map(([key, text]) => [key, counts[key] === undefined ? text : `${text} (${counts[key]})`])]} change=${(outcome) => go({ outcome, start: "" }, { replace: true })} />`}>
    <p class="quiet">${nameOf(shown.variant)}: ${samples.value ? plural(samples.value.total, "sample") : "..."}${filter ? html` of <strong>${filter}</strong> <button type="button" onClick=${() => go({ column: "", group: "", before: "", after: "", start: "" }, { replace: true })}>show all</button>` : ", right to wrong first, surest first"}</p>
    ${page.pictures_reason ? html`<p class="quiet">${page.pictures_reason}</p>` : null}
    ${samples.error ? html`<${Problem} text=${samples.error} />` : null}
    ${!samples.value && !samples.error ? html`<${Skeleton} lines=${5} />` : null}
    <ul class="samples" tabIndex="0" aria-label="Samples" onKeyDown=${onKey}>${cards.map((card, index) => html`<li key=${card.sample} class="sample ${card.outcome} ${index === focus ? "focused" : ""}" aria-current=${index === focus ? "true" : undefined} onClick=${() => setFocus(index)}>
      <${Picture} picture=${card.picture} sample=${card.sample} /><div class="sample-text"><div><span class="quiet">was</span> ${card.before} <span class="quiet">${percent(card.confidence_before)}</span></div><div><span class="quiet">now</span> <strong>${card.after}</strong> <span class="quiet">${percent(card.confidence_after)}</span></div>
      <div class="quiet">${OUTCOMES[card.outcome]} · #${card.sample}</div></div></li>`)}</ul>
    ${samples.value && !cards.length ? html`<${Empty} title="No sample changed here"><p>Choose another group or outcome.</p><//>` : null}
    ${samples.value && samples.value.total > PAGE && !isOffline ? html`<div class="pager"><button type="button" disabled=${samples.value.start === 0} onClick=${() => go({ start: String(Math.max(0, samples.value.start - PAGE)) }, { replace: true })}>Earlier</button><span>${samples.value.start + 1} to ${Math.min(samples.value.total, samples.value.start + PAGE)} of ${samples.value.total}</span><button type="button" disabled=${samples.value.start + PAGE >= samples.value.total} onClick=${() => go({ start: String(samples.value.start + PAGE) }, { replace: true })}>Later</button></div>` : null}<//>`;
}

function percent(share) {
  return share ? `${(100 * share).toFixed(0)} %` : "";
}

/** A sample's input. @param {{picture: import("../records").Picture | null, sample: number}} props */
function Picture({ picture, sample }) {
  if (!picture) return html`<div class="picture none">#${sample}</div>`;
  if (picture.kind === "image") return html`<img class="picture" src=${picture.source} alt="sample ${sample}, ${picture.text}" />`;
  if (picture.kind === "wave") {
    const ends = picture.points;
    const path = Array.from({ length: ends.length / 2 }, (_, x) => `M${x} ${(24 * (1 - ends[2 * x + 1])).toFixed(1)}V${(24 * (1 - ends[2 * x]) + 0.5).toFixed(1)}`).join("");
    return html`<svg class="picture wave" viewBox="0 0 ${picture.width} 48" role="img" aria-label="sample ${sample}, ${picture.text}"><path d=${path} /></svg>`;
  }
  return html`<code class="picture numbers">${picture.text}</code>`;
}
