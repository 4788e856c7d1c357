/** Variants by two measurements, with intervals, budgets and the Pareto front. */
import { digits, withMinus } from "../logic/format.js";
import { extent, finite, linear, ticks } from "../logic/scales.js";
import { html } from "./html.js";
import { useSize } from "./canvas.js";

const MARGIN = { left: 58, right: 20, top: 16, bottom: 40 };
const SPACE = 13;

/**
 * @param {object} props
 * @param {import("../records").VariantRow[]} props.variants
 * @param {import("../records").MetricTitle} props.x
 * @param {import("../records").MetricTitle} props.y
 * @param {import("../records").BudgetLine[]} props.budgets
 * @param {string[]} props.front
 * @param {string[]} props.selected
 * @param {(id: string, add: boolean) => void} props.onSelect
 */
export function TradeOff({ variants, x, y, budgets, front, selected, onSelect }) {
  const [box, size] = useSize();
  const shown = variants.filter((variant) => variant.numbers[x.name] && variant.numbers[y.name]);
  if (!shown.length) return html`<div class="plot tradeoff" ref=${box}><p class="quiet">No variant has both measurements.</p></div>`;
  const bounds = (title) => budgets.filter((budget) => budget.metric === title.name && budget.bound !== null);
  const domain = (title) => extent([
    ...shown.flatMap((variant) => [variant.numbers[title.name].value, ...ends(variant.numbers[title.name])]),
    ...bounds(title).map((budget) => budget.bound),
  ]);
  const across = linear(domain(x), [MARGIN.left, Math.max(MARGIN.left + 10, size.width - MARGIN.right)]);
  const up = linear(domain(y), [size.height - MARGIN.bottom, MARGIN.top]);
  const place = (variant) => [across(variant.numbers[x.name].value), up(variant.numbers[y.name].value)];
  const line = shown.filter((variant) => front.includes(variant.id)).sort((a, b) => a.numbers[x.name].value - b.numbers[x.name].value);
  const labels = placedLabels(shown, selected, place, size);
  return html`<div class="plot tradeoff" ref=${box}>
    <svg width=${size.width} height=${size.height} role="group" aria-label="Trade-off of ${x.title} and ${y.title}">
      ${ticks(...domain(x), Math.max(2, size.width / 110)).map((tick) => html`<g key=${tick}><line class="grid" x1=${across(tick)} x2=${across(tick)} y1=${MARGIN.top} y2=${size.height - MARGIN.bottom} />
        <text class="tick" text-anchor="middle" x=${across(tick)} y=${size.height - MARGIN.bottom + 15}>${axisText(tick, x)}</text></g>`)}
      ${ticks(...domain(y), Math.max(2, size.height / 60)).map((tick) => html`<g key=${tick}><line class="grid" y1=${up(tick)} y2=${up(tick)} x1=${MARGIN.left} x2=${size.width - MARGIN.right} />
        <text class="tick" text-anchor="end" dominant-baseline="middle" x=${MARGIN.left - 6} y=${up(tick)}>${axisText(tick, y)}</text></g>`)}
      ${bounds(x).map((budget) => html`<g key=${budget.text}><rect class="beyond" x=${outsideX(budget, across, size)[0]} width=${outsideX(budget, across, size)[1]} y=${MARGIN.top} height=${Math.max(0, size.height - MARGIN.bottom - MARGIN.top)} />
        <line class="bound" x1=${across(budget.bound)} x2=${across(budget.bound)} y1=${MARGIN.top} y2=${size.height - MARGIN.bottom} /><text class="bound-text" x=${across(budget.bound) + 4} y=${MARGIN.top + 10}>${budget.text}</text></g>`)}
      ${bounds(y).map((budget) => html`<g key=${budget.text}><rect class="beyond" y=${outsideY(budget, up, size)[0]} height=${outsideY(budget, up, size)[1]} x=${MARGIN.left} width=${Math.max(0, size.width - MARGIN.right - MARGIN.left)} />
        <line class="bound" y1=${up(budget.bound)} y2=${up(budget.bound)} x1=${MARGIN.left} x2=${size.width - MARGIN.right} /><text class="bound-text" text-anchor="end" x=${size.width - MARGIN.right - 2} y=${up(budget.bound) - 4}>${budget.text}</text></g>`)}
      <polyline class="front" points=${line.map((variant) => place(variant).join(",")).join(" ")} />
      ${shown.map((variant) => html`<g key=${variant.id} class="point ${variant.verdict} ${selected.includes(variant.id) ? "selected" : ""} ${variant.original ? "original" : ""} ${variant.best ? "best" : ""} ${variant.tried ? "tried" : ""}"
          role="button" tabIndex="0" aria-pressed=${selected.includes(variant.id)} aria-label="${variant.name}: ${x.title} ${variant.numbers[x.name].text}, ${y.title} ${variant.numbers[y.name].text}"
          onClick=${(event) => onSelect(variant.id, event.ctrlKey || event.metaKey || event.shiftKey)} onKeyDown=${(event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); onSelect(variant.id, event.ctrlKey || event.shiftKey); } }}>
        ${whisker(variant, x, y, across, up)}
        ${shape(variant, ...place(variant))}
        <title>${variant.name}\n${x.title}: ${variant.numbers[x.name].text} ${variant.numbers[x.name].interval}\n${y.title}: ${variant.numbers[y.name].text} ${variant.numbers[y.name].interval}</title></g>`)}
      ${labels.map((label) => html`<text key=${label.id} class="point-label" text-anchor=${label.anchor} x=${label.x} y=${label.y}>${label.text}</text>`)}
      <text class="axis" text-anchor="middle" x=${(MARGIN.left + size.width - MARGIN.right) / 2} y=${size.height - 6}>${x.title}${x.label ? ` (${x.label})` : ""} ${better(x, "→", "←")}</text>
      <text class="axis" text-anchor="middle" transform="translate(12 ${(size.height - MARGIN.bottom) / 2}) rotate(-90)">${y.title}${y.label ? ` (${y.label})` : ""} ${better(y, "→", "←")}</text>
    </svg>
  </div>`;
}

function better(title, more, less) {
  return title.better === "lower" ? `${less} better` : `better ${more}`;
}

function ends(number) {
  return [finite(number.low), finite(number.high)].filter(Number.isFinite);
}

function axisText(tick, title) {
  return withMinus(digits(tick / title.scale).replace("−", "-"));
}

function outsideX(budget, across, size) {
  const edge = across(budget.bound);
  return budget.sense === "<=" ? [edge, Math.max(0, size.width - MARGIN.right - edge)] : [MARGIN.left, Math.max(0, edge - MARGIN.left)];
}

function outsideY(budget, up, size) {
  const edge = up(budget.bound);
  return budget.sense === "<=" ? [MARGIN.top, Math.max(0, edge - MARGIN.top)] : [edge, Math.max(0, size.height - MARGIN.bottom - edge)];
}

function whisker(variant, x, y, across, up) {
  const [px, py] = [across(variant.numbers[x.name].value), up(variant.numbers[y.name].value)];
  const [xl, xh] = ends(variant.numbers[x.name]);
  const [yl, yh] = ends(variant.numbers[y.name]);
  return html`${xl !== xh && xh !== undefined ? html`<line class="whisker" x1=${across(xl)} x2=${across(xh)} y1=${py} y2=${py} />` : null}
    ${yl !== yh && yh !== undefined ? html`<line class="whisker" x1=${px} x2=${px} y1=${up(yl)} y2=${up(yh)} />` : null}`;
}

/** Shape says role and verdict: a square is the original, a star the choice, a cross a miss. */
function shape(variant, px, py) {
  if (variant.original) return html`<rect x=${px - 5.5} y=${py - 5.5} width="11" height="11" />`;
  if (variant.best) return html`<path d=${star(px, py, 10)} />`;
  if (variant.verdict === "misses") return html`<path class="cross" d="M${px - 5} ${py - 5}L${px + 5} ${py + 5}M${px - 5} ${py + 5}L${px + 5} ${py - 5}" /><circle class="target" cx=${px} cy=${py} r="8" />`;
  return html`<circle cx=${px} cy=${py} r="6" />`;
}

function star(px, py, radius) {
  const points = Array.from({ length: 10 }, (_, index) => {
    const length = index % 2 ? radius * 0.45 : radius;
    const angle = (Math.PI * index) / 5 - Math.PI / 2;
    return `${(px + length * Math.cos(angle)).toFixed(1)} ${(py + length * Math.sin(angle)).toFixed(1)}`;
  });
  return `M${points.join("L")}Z`;
}

/** Labels of the original, the choice and the selected, kept apart from each other. */
function placedLabels(variants, selected, place, size) {
  const wanted = variants.filter((variant) => variant.original || variant.best || selected.includes(variant.id));
  const taken = [];
  return wanted.map((variant) => {
    const [px, py] = place(variant);
    const text = variant.original ? "original" : variant.name.length > 30 ? `${variant.name.slice(0, 29)}…` : variant.name;
    const isRight = px > size.width * 0.6;
    const x = isRight ? px - 12 : px + 12;
    let y = py + 4;
    while (taken.some((other) => Math.abs(other.y - y) < SPACE && Math.abs(other.x - x) < 150)) y += SPACE;
    taken.push({ x, y });
    return { id: variant.id, text, x, y, anchor: isRight ? "end" : "start" };
  });
}
