/** Overview: which variant to ship, what it costs, and what else was possible. */
import { listOf, joined, pageAddress } from "../logic/address.js";
import { withMinus } from "../logic/format.js";
import { formatRanges, histogram, parseRanges, parseSearch, sortRows } from "../logic/rows.js";
import { differingSettings } from "../logic/settings.js";
import { Answered, Card, Command, Empty, Mark, Select, Value } from "../parts/common.js";
import { Histogram } from "../parts/histogram.js";
import { html } from "../parts/html.js";
import { Lineage } from "../parts/lineage.js";
import { address, answer, go, isOffline } from "../parts/state.js";
import { nextSort } from "../parts/table.js";
import { TradeOff } from "../parts/tradeoff.js";

const COLUMNS = ["size", "latency_ratio", "drop", "worst_group_drop", "flips", "peak_memory", "download", "device_latency", "energy"];
const MOST_MULTIPLES = 4;

export function Overview({ frame }) {
  return html`<${Answered} answer=${answer("overview")} lines=${12}>${(page) => html`<${Content} page=${page} frame=${frame} />`}<//>`;
}

/** @param {{page: import("../records").OverviewPage, frame: import("../records").Frame}} props */
function Content({ page, frame }) {
  const state = address.value;
  const selected = listOf(state.v);
  const title = (name, other) => page.metrics.find((metric) => metric.name === name) ?? page.metrics.find((metric) => metric.name !== other) ?? page.metrics[0];
  const x = title(state.x ?? "size", "");
  const y = title(state.y ?? "drop", x.name);
  const color = title(state.color ?? "size", "");
  const options = page.metrics.map((metric) => [metric.name, metric.title]);
  function select(id, add) {
    const others = selected.filter((other) => other !== id);
    const isOn = selected.includes(id);
    if (add) go({ v: joined(isOn ? others : [...selected, id]) }, { replace: true });
    else go({ v: isOn && selected.length === 1 ? "" : id }, { replace: true });
  }
  return html`<div class="page overview">
    <${VerdictCard} page=${page} frame=${frame} />
    <${Card} title="Trade-off" tools=${html`<${Select} label="Across" value=${x.name} options=${options} change=${(value) => go({ x: value })} /><${Select} label="Up" value=${y.name} options=${options} change=${(value) => go({ y: value })} />`}>
      <${TradeOff} variants=${page.variants} x=${x} y=${y} budgets=${frame.budgets} front=${page.fronts[`${x.name}|${y.name}`] ?? []} selected=${selected} onSelect=${select} />
      <p class="legend"><span>■ original</span> <span>★ chosen</span> <span>● budgets met</span> <span>⊗ a budget missed</span> <span>— Pareto front</span> <span class="beyond-key">outside a budget</span> <span>lines: 95 % intervals</span></p>
    <//>
    <${Card} title="Lineage" tools=${html`<${Select} label="Order" value=${state.order ?? "step"} options=${[["step", "by step"], ["time", "by time"]]} change=${(value) => go({ order: value })} /><${Select} label="Color" value=${color.name} options=${options} change=${(value) => go({ color: value })} />`}>
      <${Lineage} nodes=${page.lineage} variants=${page.variants} metric=${color} by=${state.order ?? "step"} selected=${selected} onSelect=${select} />
      <p class="legend">Circles: ${color.title}, darker and smaller is less. A ring is the choice. Shift-click selects several.</p>
    <//>
    <${Differences} page=${page} selected=${selected} x=${x} y=${y} />
    <${VariantTable} page=${page} frame=${frame} selected=${selected} onSelect=${select} />
    <${Notes} page=${page} />
  </div>`;
}

function VerdictCard({ page, frame }) {
  const best = page.variants.find((variant) => variant.id === page.best);
  const original = page.variants[0];
  const tiles = ["size", "latency_ratio", "drop", "peak_memory"].filter((name) => best?.numbers[name]);
  return html`<${Card} title="Verdict">
    <p class="headline"><${Mark} state=${page.verdict} /> ${page.headline}</p>
    <dl class="tiles">${tiles.map((name) => html`<div key=${name} class="tile"><dt>${page.metrics.find((metric) => metric.name === name)?.title ?? name}</dt>
      <dd><${Value} number=${best.numbers[name]} /></dd><dd class="quiet">${tileNote(name, best, original)}</dd></div>`)}</dl>
    ${page.details.map((text, index) => html`<p key=${index}>${withMinus(text)}</p>`)}
    ${page.cautions.map((text, index) => html`<p key=${index} class="caution"><span aria-hidden="true">⚠</span> ${withMinus(text)}</p>`)}
    <p class="actions"><a class="button" href=${pageAddress(address.value, "compare", { v: page.best })}>Compare</a>
      <a class="button" href=${pageAddress(address.value, "what-if", { model: original.id })}>What if</a>
      <a class="button" href=${pageAddress(address.value, "operators", { model: page.best })}>Operators</a></p>
    ${frame.finished ? null : html`<p class="quiet">The search has measured ${frame.progress[0]} of ${frame.progress[1]} variants; the same <${Command}>packlight fit<//> goes on.</p>`}
  <//>`;
}

function tileNote(name, best, original) {
  const number = best.numbers[name];
  const before = original.numbers[name];
  if (name === "latency_ratio") return number.high < 1 ? "faster" : number.low > 1 ? "slower" : "no measurable change";
  if (name === "drop") return number.low > 0 ? "measurably worse" : number.high < 0 ? "measurably better" : "no measurable drop";
  if (!before?.value || before.value === number.value) return "as before";
  if (name === "peak_memory" && number.low <= before.high && before.low <= number.high) return `about as before, ${before.text}`;
  const ratio = number.value / before.value;
  const text = ratio < 1 ? `${(1 / ratio).toFixed(1)} times smaller` : `${ratio.toFixed(1)} times as much`;
  return html`${text}${name === "peak_memory" && number.low > before.high ? html` <span class="caution">⚠</span>` : null}, was ${before.text}`;
}

function Differences({ page, selected, x, y }) {
  const chosen = page.variants.filter((variant) => selected.includes(variant.id));
  if (chosen.length < 2) {
    return html`<${Card} title="What differs"><${Empty} title="Select two variants or more"><p>Click one in the plot and Shift-click others, or tick them in the table. Here you then see which settings differ, and what each costs.</p><//><//>`;
  }
  const rows = differingSettings(chosen);
  const metrics = [y, x, ...page.metrics.filter((metric) => metric !== x && metric !== y)].filter((metric) => chosen.every((variant) => variant.numbers[metric.name])).slice(0, MOST_MULTIPLES);
  return html`<${Card} title="What differs" tools=${html`<a class="button" href=${pageAddress(address.value, "compare")}>Compare ${chosen.length}</a>`}>
    <div class="scroll"><table class="plain"><thead><tr><th scope="col">Setting</th>${chosen.map((variant) => html`<th scope="col" key=${variant.id} title=${variant.name}>${variant.original ? "original" : shortName(variant.name)}</th>`)}</tr></thead>
      <tbody>${rows.map((row) => html`<tr key=${row.setting}><th scope="row">${row.setting}</th>${row.values.map((value, index) => html`<td key=${index}>${value}</td>`)}</tr>`)}
        ${metrics.map((metric) => html`<tr key=${metric.name} class="metric"><th scope="row">${metric.title}</th>${chosen.map((variant) => html`<td key=${variant.id}><${Value} number=${variant.numbers[metric.name]} /></td>`)}</tr>`)}</tbody></table></div>
    <div class="multiples">${rows.slice(0, 3).map((row) => html`<${Multiple} key=${row.setting} row=${row} chosen=${chosen} metric=${y} />`)}</div>
  <//>`;
}

/** One metric by the values of one setting. */
function Multiple({ row, chosen, metric }) {
  const numbers = chosen.map((variant) => variant.numbers[metric.name]).filter(Boolean);
  if (!numbers.length) return null;
  const low = Math.min(0, ...numbers.map((number) => Number(number.low)));
  const high = Math.max(...numbers.map((number) => Number(number.high)), low + 1e-9);
  const place = (value) => 8 + ((value - low) / (high - low)) * 134;
  const values = [...new Set(row.values)];
  return html`<figure class="multiple"><figcaption>${metric.title} by ${row.setting}</figcaption><svg width="280" height=${values.length * 20 + 8} role="img" aria-label="${metric.title} by ${row.setting}">
    ${values.map((value, line) => html`<g key=${value}><text x="150" y=${line * 20 + 17}>${value.length > 20 ? `${value.slice(0, 19)}…` : value}</text>
      ${chosen.map((variant, index) => row.values[index] === value && variant.numbers[metric.name] ? html`<g key=${index}><line class="whisker" x1=${place(Number(variant.numbers[metric.name].low))} x2=${place(Number(variant.numbers[metric.name].high))} y1=${line * 20 + 13} y2=${line * 20 + 13} />
        <circle class="dot" cx=${place(variant.numbers[metric.name].value)} cy=${line * 20 + 13} r="4.5"><title>${variant.name}: ${variant.numbers[metric.name].text}</title></circle></g>` : null)}</g>`)}
  </svg></figure>`;
}

export function shortName(name) {
  return name.length > 26 ? `${name.slice(0, 25)}…` : name;
}

function VariantTable({ page, frame, selected, onSelect }) {
  const state = address.value;
  const names = COLUMNS.filter((name) => page.metrics.some((metric) => metric.name === name));
  const metrics = names.map((name) => page.metrics.find((metric) => metric.name === name));
  const ranges = parseRanges(state.f);
  const numbers = Object.fromEntries(names.map((name) => [name, page.variants.map((variant) => variant.numbers[name]?.value ?? null)]));
  const { words } = parseSearch(state.q ?? "");
  let rows = page.variants.map((_, row) => row).filter((row) => {
    const variant = page.variants[row];
    const text = `${variant.name} ${variant.recipe} ${variant.labels.join(" ")} ${variant.verdict}`.toLowerCase();
    return words.every((word) => text.includes(word)) && Object.entries(ranges).every(([name, [low, high]]) => !numbers[name] || (numbers[name][row] !== null && numbers[name][row] >= low && numbers[name][row] <= high));
  });
  const sort = state.sort ?? "";
  const key = sort.replace("-", "");
  if (numbers[key]) rows = sortRows(rows, numbers[key], sort.startsWith("-"));
  const setRange = (name, range) => {
    const { [name]: _, ...others } = ranges;
    go({ f: formatRanges(range ? { ...others, [name]: range } : others) }, { replace: true });
  };
  const most = Object.fromEntries(names.map((name) => [name, Math.max(...numbers[name].map((value) => value ?? 0))]));
  return html`<${Card} wide title="Variants" id="variants" tools=${html`<input type="search" class="search" placeholder="Search variants" aria-label="Search variants" value=${state.q ?? ""} onInput=${(event) => go({ q: event.target.value }, { replace: true })} />
      ${state.f ? html`<button type="button" onClick=${() => go({ f: "" }, { replace: true })}>Clear filters</button>` : null}`}>
    <div class="scroll"><table class="plain variants" aria-label="Variants"><thead><tr><th scope="col">Select</th><th scope="col">Variant</th><th scope="col">Budgets</th>
      ${metrics.map((metric) => html`<th scope="col" class="number" key=${metric.name} aria-sort=${sort === metric.name ? "ascending" : sort === `-${metric.name}` ? "descending" : "none"}>
        <button type="button" class="sort" onClick=${() => go({ sort: nextSort(sort, metric.name) }, { replace: true })}>${metric.title}<span aria-hidden="true">${sort === metric.name ? " ▲" : sort === `-${metric.name}` ? " ▼" : ""}</span></button>
        <${Histogram} bins=${histogram(numbers[metric.name], 12)} title=${metric.title} unit=${metric.unit === "1" ? (metric.label === "%" || metric.label === "points" ? "%" : "1") : metric.unit} range=${ranges[metric.name]} onRange=${(range) => setRange(metric.name, range)} /></th>`)}</tr></thead>
      <tbody>${rows.map((row) => {
        const variant = page.variants[row];
        return html`<tr key=${variant.id} class=${selected.includes(variant.id) ? "selected" : ""} onClick=${(event) => { if (event.target instanceof Element && !event.target.closest("a, button, summary, input")) onSelect(variant.id, event.ctrlKey || event.metaKey || event.shiftKey); }}>
          <td><input type="checkbox" aria-label="Select ${variant.name}" checked=${selected.includes(variant.id)} onChange=${() => onSelect(variant.id, true)} /></td>
          <td class="name"><details><summary>${variant.name}${variant.original ? html` <span class="badge">original</span>` : null}${variant.best ? html` <span class="badge good">chosen</span>` : null}${variant.tried ? html` <span class="badge">tried here</span>` : null}
            ${variant.labels.map((label) => html` <span class="badge ${label === "faster" ? "good" : label === "slower" || label === "larger" || label === "more memory" ? "open" : ""}" key=${label}>${label}</span>`)}</summary>
            <dl class="settings">${Object.entries(variant.settings).map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl></details>${variant.error ? html`<p class="caution">${variant.error}</p>` : null}</td>
          <td><${Mark} state=${variant.verdict} /></td>
          ${metrics.map((metric) => html`<td class="number" key=${metric.name}>${variant.numbers[metric.name] ? html`<${Value} number=${variant.numbers[metric.name]} /><span class="under"><span class="fill" style=${{ width: `${most[metric.name] > 0 ? Math.max(0, (variant.numbers[metric.name].value / most[metric.name]) * 100) : 0}%` }}></span></span>` : "–"}</td>`)}</tr>`;
      })}</tbody></table></div>
    ${rows.length ? null : html`<${Empty} title="No variant matches"><p>Clear the search and the filters above the columns.</p><//>`}
    ${page.variants.length < 2 && !isOffline ? html`<${Empty} title="No variants yet"><p><${Command}>packlight fit ${frame.model} --task T --budget B<//> measures some, or try one in What if.</p><//>` : null}
  <//>`;
}

function Notes({ page }) {
  return html`<${Card} wide title="Why, and how it was measured"><div class="columns">
    <div>${page.findings.map((finding) => html`<div class="finding" key=${finding.cause}><h3><span class="badge ${finding.severity === "note" ? "" : "open"}">${finding.severity}</span> ${finding.cause}</h3><p>${finding.text}</p><p><strong>Next:</strong> ${finding.next_step}</p></div>`)}
      ${page.lessons.map((lesson, index) => html`<details key=${index} class="lesson"><summary>${lesson.text}</summary><p>Here ${lesson.title}. Source: ${lesson.source}</p></details>`)}</div>
    <div><dl class="facts">${Object.entries(page.conditions).map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
      ${page.notes.map((note, index) => html`<p class="quiet" key=${index}>${note}</p>`)}</div></div><//>`;
}
