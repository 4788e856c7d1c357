/** Layers: where inside a variant goes wrong, and what its weights became. */
import { digits, show } from "../logic/format.js";
import { finite } from "../logic/scales.js";
import { listOf, pageAddress } from "../logic/address.js";
import { Answered, Card, Command, Empty, Problem, Value } from "../parts/common.js";
import { useDrawing, useSize } from "../parts/canvas.js";
import { html } from "../parts/html.js";
import { address, answer, go, isOffline, message, refreshAnswers, send, jobs } from "../parts/state.js";
import { Jobs } from "./what_if.js";
import { useEffect, useState } from "preact/hooks";
import { Select } from "../parts/common.js";

const WRONG_BELOW = 20;
const MARGIN = { left: 46, right: 14, top: 12, bottom: 26 };

export function LayersView({ frame }) {
  const original = frame.variants.find((model) => model.role === "original")?.id;
  const best = frame.variants.find((model) => model.role === "best")?.id ?? frame.variants[1]?.id;
  const variant = listOf(address.value.v).find((id) => id !== original) ?? best;
  const page = answer("layers", { variant });
  const done = jobs.value.filter((job) => job.kind === "layers" && job.state === "done").length;
  useEffect(() => { if (done) refreshAnswers("layers"); }, [done]);
  return html`<div class="page layers"><div class="page-tools"><${Select} label="Variant" value=${variant ?? ""} options=${frame.variants.filter((model) => model.role !== "original" && model.role !== "file").map((model) => [model.id, model.name])} change=${(id) => go({ v: id })} /></div>
    <${Answered} answer=${page} lines=${10}>${(content) => (content.ready ? html`<${Content} page=${content} />` : html`<${Missing} page=${content} frame=${frame} />`)}<//></div>`;
}

function Missing({ page, frame }) {
  return html`<${Card} title="Layers" wide><${Empty} title="The layers of ${page.name} were not compared yet">
    ${isOffline ? html`<p><${Command}>packlight studio<//> compares them.</p>` : html`<p>This runs both models on a few samples and compares every value inside. It takes seconds to minutes.</p>
    <button type="button" class="primary" disabled=${!frame.runs} onClick=${() => send("jobs", { kind: "layers", variant: page.variant }).catch((error) => { message.value = error.message; })}>Compare layers</button>
    ${frame.runs ? null : html`<p>${frame.runs_reason}</p>`}`}<//><${Jobs} kind="layers" /><//>`;
}

/** @param {{page: import("../records").LayersPage}} props */
function Content({ page }) {
  const state = address.value;
  const chosen = listOf(state.o)[0] ?? "";
  const row = page.names.indexOf(chosen);
  const select = (name) => go({ o: name, m: "" }, { replace: true });
  const weights = page.weights.filter((weight) => row < 0 || weight.operator === chosen);
  return html`<${Card} title="Signal to noise, layer by layer" wide><p class="headline">${page.sentence}</p><${Chart} page=${page} row=${row} onSelect=${select} />
      <p class="legend"><span class="line-key total"></span> with all errors before it <span>● of this operator alone</span> <span>▼ first below ${WRONG_BELOW} dB by its own noise</span> <span>Exact arithmetic, ${page.n} samples; higher is better, ${"80 dB"} and more at the top.</span></p><//>
    <div class="split"><${Card} title="Values"><div class="scroll tall"><table class="plain" aria-label="Values"><thead><tr><th scope="col">Operator</th><th scope="col">Type</th><th scope="col" class="number">All errors</th><th scope="col" class="number">Own</th><th scope="col" class="number">Outside</th><th scope="col">Range, before and after</th></tr></thead>
      <tbody>${page.names.map((name, index) => html`<tr key=${index} class="${index === row ? "selected" : ""}" aria-selected=${index === row} onClick=${() => select(name)}><td><button type="button" class="link" onClick=${() => select(name)}>${name}</button>${name === page.first ? html` <span class="badge open">goes wrong here</span>` : null}</td><td>${page.ops[index]}</td>
        <td class="number">${show(page.total[index], "dB")}</td><td class="number">${show(page.own[index], "dB")}</td><td class="number">${show(page.outside[index], "%")}</td><td><${Ranges} page=${page} index=${index} /></td></tr>`)}</tbody></table></div><//>
    <${Card} title=${row < 0 ? "Weights, the noisiest first" : `Weights of ${chosen}`} tools=${row < 0 ? null : html`<button type="button" onClick=${() => select("")}>All weights</button>`}><div class="weights">${weights.slice(0, 12).map((weight) => html`<${WeightHistogram} key=${weight.name} weight=${weight} />`)}</div>
      ${weights.length ? null : html`<${Empty} title="No weight of this operator was compared"><p>Select another, or see all.</p><//>`}
      <p class="legend"><span class="box-key before"></span> original <span class="box-key after"></span> variant</p>
      ${row >= 0 ? html`<p><a class="button" href=${pageAddress(state, "operators")}>See it in the graph</a> <a class="button" href=${pageAddress(state, "what-if")}>Try another technique</a></p>` : null}<//></div>
    ${page.unmatched.length ? html`<${Card} title="Without a counterpart" wide><p>${page.unmatched.join(", ")}</p><//>` : null}
    ${page.notes.map((note) => html`<p class="quiet" key=${note}>${note}</p>`)}`;
}

function Ranges({ page, index }) {
  const low = Math.min(page.low[index], page.variant_low[index]);
  const high = Math.max(page.high[index], page.variant_high[index]);
  const place = (value) => (high > low ? 4 + ((value - low) / (high - low)) * 112 : 60);
  return html`<svg width="120" height="16" role="img" aria-label="from ${digits(page.low[index])} to ${digits(page.high[index])}, then ${digits(page.variant_low[index])} to ${digits(page.variant_high[index])}"><title>${digits(page.low[index])} to ${digits(page.high[index])}, then ${digits(page.variant_low[index])} to ${digits(page.variant_high[index])}</title>
    <line class="range before" x1=${place(page.low[index])} x2=${place(page.high[index])} y1="5" y2="5" /><line class="range after" x1=${place(page.variant_low[index])} x2=${place(page.variant_high[index])} y1="11" y2="11" /></svg>`;
}

function Chart({ page, row, onSelect }) {
  const [box, size] = useSize();
  const [hover, setHover] = useState(-1);
  const all = [...page.total, ...page.own].filter((value) => value !== null);
  const high = Math.min(80, Math.max(40, ...all));
  const low = Math.min(0, ...all);
  const width = size.width - MARGIN.left - MARGIN.right;
  const height = size.height - MARGIN.top - MARGIN.bottom;
  const px = (index) => MARGIN.left + (page.names.length > 1 ? index / (page.names.length - 1) : 0.5) * width;
  const py = (value) => MARGIN.top + (1 - (Math.min(high, value ?? high) - low) / (high - low)) * height;
  const canvas = useDrawing(size, (context, colors) => {
    context.font = "11px system-ui, sans-serif";
    context.textBaseline = "middle";
    for (let value = Math.ceil(low / 20) * 20; value <= high; value += 20) {
      context.strokeStyle = colors.line;
      context.lineWidth = 1;
      line(context, MARGIN.left, py(value), MARGIN.left + width, py(value));
      context.fillStyle = colors.quiet;
      context.textAlign = "right";
      context.fillText(`${value} dB`, MARGIN.left - 5, py(value));
    }
    context.textAlign = "left";
    context.fillStyle = colors.bad;
    context.globalAlpha = 0.08;
    context.fillRect(MARGIN.left, py(WRONG_BELOW), width, MARGIN.top + height - py(WRONG_BELOW));
    context.globalAlpha = 1;
    context.strokeStyle = colors.accent;
    context.lineWidth = 2;
    context.beginPath();
    page.total.forEach((value, index) => (index ? context.lineTo(px(index), py(value)) : context.moveTo(px(index), py(value))));
    context.stroke();
    page.own.forEach((value, index) => {
      const isQuiet = value === null || value >= high;
      context.fillStyle = isQuiet ? colors.line : colors.ink;
      context.beginPath();
      context.arc(px(index), py(value), isQuiet ? 1.5 : 3.5, 0, 7);
      context.fill();
    });
    const first = page.names.indexOf(page.first);
    if (first >= 0) {
      context.fillStyle = colors.bad;
      context.fillText("▼", px(first) - 5, py(page.total[first]) - 10);
    }
    for (const [index, color] of [[hover, colors.ink], [row, colors.glow]]) {
      if (index < 0) continue;
      context.strokeStyle = color;
      context.lineWidth = 2;
      line(context, px(index), MARGIN.top, px(index), MARGIN.top + height);
    }
    context.fillStyle = colors.quiet;
    context.fillText("input", MARGIN.left, size.height - 10);
    context.textAlign = "right";
    context.fillText("output", size.width - MARGIN.right, size.height - 10);
    context.textAlign = "left";
  }, [page, row, hover]);
  const under = (event) => {
    const bounds = event.currentTarget.getBoundingClientRect();
    const index = Math.round(((event.clientX - bounds.left - MARGIN.left) / Math.max(1, width)) * (page.names.length - 1));
    return Math.min(page.names.length - 1, Math.max(0, index));
  };
  return html`<div class="plot chart" ref=${box}><canvas ref=${canvas} class="canvas" role="img" aria-label="Signal to noise of every layer. ${page.sentence}" data-layers=${page.names.length} style=${{ width: `${size.width}px`, height: `${size.height}px` }}
      onPointerMove=${(event) => setHover(under(event))} onPointerLeave=${() => setHover(-1)} onClick=${(event) => onSelect(page.names[under(event)])}></canvas>
    ${hover >= 0 ? html`<div class="tip" role="status">${page.names[hover]}: ${show(page.total[hover], "dB")}, own ${show(page.own[hover], "dB")}</div>` : null}</div>`;
}

function line(context, x1, y1, x2, y2) {
  context.beginPath();
  context.moveTo(x1, y1);
  context.lineTo(x2, y2);
  context.stroke();
}

/** Numbers of one weight before and after. @param {{weight: import("../records").WeightHistogram}} props */
function WeightHistogram({ weight }) {
  const most = Math.max(...weight.counts, ...weight.variant_counts, 1);
  const count = weight.counts.length;
  const step = 240 / Math.max(1, count);
  const bar = (value) => Math.sqrt(value / most) * 54;
  return html`<figure class="weight"><figcaption><strong>${weight.operator}</strong> <span class="quiet">${weight.shape}, ${weight.levels.toLocaleString("en-US")} different numbers, </span><${Value} number=${weight.snr} interval=${false} /></figcaption>
    <svg viewBox="0 0 240 70" role="img" aria-label="Histogram of ${weight.name}">${weight.counts.map((value, index) => html`<rect key=${index} class="before" x=${index * step} width=${step} y=${56 - bar(value)} height=${bar(value)} />`)}
      <path class="after" d=${weight.variant_counts.map((value, index) => `${index ? "L" : "M"}${(index * step).toFixed(1)} ${(56 - bar(value)).toFixed(1)}H${((index + 1) * step).toFixed(1)}`).join("")} />
      <text x="0" y="68">${digits(finite(weight.edges[0] ?? 0))}</text><text x="240" y="68" text-anchor="end">${digits(finite(weight.edges[count] ?? 0))}</text></svg></figure>`;
}
