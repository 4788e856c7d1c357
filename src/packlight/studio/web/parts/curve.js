/** The predicted trade-off of a search: size against signal to noise, with what was measured. */
import { digits, show } from "../logic/format.js";
import { extent, linear, ticks } from "../logic/scales.js";
import { html } from "./html.js";
import { useSize } from "./canvas.js";

const MARGIN = { left: 52, right: 16, top: 12, bottom: 36 };

/** @param {{search: import("../records").SearchPart}} props */
export function SearchCurve({ search }) {
  const [box, size] = useSize();
  const xs = [...search.sizes, ...search.measured_sizes];
  const ys = [...search.decibels, ...search.measured_decibels];
  const across = linear(extent(xs), [MARGIN.left, Math.max(MARGIN.left + 10, size.width - MARGIN.right)]);
  const up = linear(extent(ys), [size.height - MARGIN.bottom, MARGIN.top]);
  const line = search.sizes.map((value, index) => [value, search.decibels[index]]).sort((a, b) => a[0] - b[0]);
  return html`<div class="plot" ref=${box}><svg width=${size.width} height=${size.height} role="img" aria-label="Predicted trade-off of size and signal to noise">
    ${ticks(...extent(xs), Math.max(2, size.width / 110)).map((tick) => html`<g key=${tick}><line class="grid" x1=${across(tick)} x2=${across(tick)} y1=${MARGIN.top} y2=${size.height - MARGIN.bottom} />
      <text class="tick" text-anchor="middle" x=${across(tick)} y=${size.height - MARGIN.bottom + 15}>${show(tick, "B")}</text></g>`)}
    ${ticks(...extent(ys), 5).map((tick) => html`<g key=${tick}><line class="grid" y1=${up(tick)} y2=${up(tick)} x1=${MARGIN.left} x2=${size.width - MARGIN.right} />
      <text class="tick" text-anchor="end" dominant-baseline="middle" x=${MARGIN.left - 6} y=${up(tick)}>${digits(tick)} dB</text></g>`)}
    <polyline class="front" points=${line.map(([bytes, decibels]) => `${across(bytes)},${up(decibels)}`).join(" ")} />
    ${search.measured_sizes.map((value, index) => html`<g key=${index} class="point"><circle cx=${across(value)} cy=${up(search.measured_decibels[index])} r="5" /><title>${show(value, "B")}: ${digits(search.measured_decibels[index])} dB measured</title></g>`)}
    <text class="axis" text-anchor="middle" x=${(MARGIN.left + size.width) / 2} y=${size.height - 5}>File size ← better</text>
  </svg></div>`;
}
