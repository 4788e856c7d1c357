/** The lineage: how each variant was made, step by step or in the order of time. */
import { viridis } from "../logic/scales.js";
import { html } from "./html.js";

const COLUMN = 108;
const ROW = 27;

/**
 * @param {object} props
 * @param {import("../records").LineageNode[]} props.nodes
 * @param {import("../records").VariantRow[]} props.variants
 * @param {import("../records").MetricTitle} props.metric that colors and sizes
 * @param {string} props.by `step` or `time`
 * @param {string[]} props.selected
 * @param {(id: string, add: boolean) => void} props.onSelect
 */
export function Lineage({ nodes, variants, metric, by, selected, onSelect }) {
  const byId = new Map(variants.map((variant) => [variant.id, variant]));
  const values = variants.map((variant) => variant.numbers[metric.name]?.value).filter((value) => value !== undefined);
  const most = Math.max(...values, 0);
  const least = Math.min(...values, most);
  const share = (variant) => {
    const value = variant?.numbers[metric.name]?.value;
    return value === undefined || most === least ? null : (value - least) / (most - least);
  };
  const turns = nodes.filter((node) => node.variant).sort((a, b) => a.order - b.order).map((node) => node.key);
  const column = (node) => (by === "time" && node.variant ? turns.indexOf(node.key) * 0.55 : node.x);
  const placed = nodes.filter((node) => by !== "time" || node.variant);
  const position = (node) => [18 + column(node) * COLUMN, 20 + node.y * ROW];
  const byKey = new Map(nodes.map((node) => [node.key, node]));
  const width = Math.max(...placed.map((node) => position(node)[0])) + 120;
  const height = Math.max(...placed.map((node) => node.y)) * ROW + 44;
  return html`<div class="scroll lineage"><svg width=${width} height=${height} role="group" aria-label="Lineage of variants">
    ${by !== "time" && placed.filter((node) => node.key).map((node) => {
      const [px, py] = position(node);
      const [qx, qy] = position(byKey.get(node.parent));
      return html`<path key=${node.key} class="branch" d="M${qx} ${qy}C${qx + 50} ${qy} ${px - 60} ${py} ${px} ${py}" />`;
    })}
    ${placed.map((node) => {
      const variant = byId.get(node.variant);
      const [px, py] = position(node);
      const name = variant ? (variant.original ? "original" : by === "time" ? variant.name : variant.name === variant.recipe || variant.name.includes("+") ? node.label : variant.name) : node.label;
      const part = share(variant);
      const radius = variant ? 6 + 4 * (part ?? 0.5) : 3;
      const choose = (add) => variant && onSelect(variant.id, add);
      return html`<g key=${node.key} class="lineage-node ${variant ? "" : "step"} ${variant && selected.includes(variant.id) ? "selected" : ""}" role=${variant ? "button" : "presentation"} tabIndex=${variant ? 0 : undefined}
          aria-label=${variant ? `${variant.name}, ${metric.title} ${variant.numbers[metric.name]?.text ?? "unknown"}` : undefined} aria-pressed=${variant ? selected.includes(variant.id) : undefined}
          onClick=${(event) => choose(event.ctrlKey || event.metaKey || event.shiftKey)} onKeyDown=${(event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(event.ctrlKey || event.shiftKey); } }}>
        <circle cx=${px} cy=${py} r=${radius} style=${variant && part !== null ? { fill: viridis(part) } : {}} />
        ${variant?.best ? html`<circle class="ring" cx=${px} cy=${py} r=${radius + 4} />` : null}
        <text class="node-label" x=${px + radius + 5} y=${py + 4}>${name.length > 24 ? `${name.slice(0, 23)}…` : name}</text>
        <title>${variant ? `${variant.name}\n${variant.recipe}\n${metric.title}: ${variant.numbers[metric.name]?.text ?? "unknown"}` : node.label}</title>
      </g>`;
    })}
  </svg></div>`;
}
