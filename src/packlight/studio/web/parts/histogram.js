/** A histogram above a column; dragging over it keeps the rows within. */
import { useRef, useState } from "preact/hooks";
import { show } from "../logic/format.js";
import { html } from "./html.js";

const WIDTH = 96;
const HEIGHT = 22;

/**
 * @param {object} props
 * @param {{edges: number[], counts: number[]}} props.bins
 * @param {string} props.title of the column
 * @param {string} props.unit
 * @param {[number, number] | undefined} props.range that is kept
 * @param {(range: [number, number] | null) => void} props.onRange
 */
export function Histogram({ bins, title, unit, range, onRange }) {
  const box = useRef(/** @type {SVGSVGElement | null} */ (null));
  const [drag, setDrag] = useState(/** @type {[number, number] | null} */ (null));
  if (!bins.counts.length) return html`<svg class="histogram" width="100%" height=${HEIGHT} aria-hidden="true"></svg>`;
  const most = Math.max(...bins.counts);
  const count = bins.counts.length;
  const step = WIDTH / count;

  function binAt(event) {
    const bounds = box.current?.getBoundingClientRect();
    if (!bounds) return 0;
    return Math.min(count - 1, Math.max(0, Math.floor(((event.clientX - bounds.left) / bounds.width) * count)));
  }
  function isKept(index) {
    if (drag) return index >= Math.min(...drag) && index <= Math.max(...drag);
    return !range || (bins.edges[index + 1] > range[0] && bins.edges[index] < range[1]);
  }
  function end() {
    if (!drag) return;
    const low = Math.min(...drag);
    const high = Math.max(...drag);
    setDrag(null);
    if (low === 0 && high === count - 1) onRange(null);
    else onRange([bins.edges[low], bins.edges[high + 1]]);
  }
  const text = range ? `${show(range[0], unit)} to ${show(range[1], unit)}` : "all";
  return html`<svg ref=${box} class="histogram" viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none" height=${HEIGHT} role="button" tabIndex="0"
      aria-label="Filter by ${title}: ${text}"
      onPointerDown=${(event) => { event.currentTarget.setPointerCapture(event.pointerId); const bin = binAt(event); setDrag([bin, bin]); }}
      onPointerMove=${(event) => drag && setDrag([drag[0], binAt(event)])} onPointerUp=${end} onDblClick=${() => onRange(null)}
      onKeyDown=${(event) => { if (event.key === "Escape" || event.key === "Enter") { event.stopPropagation(); onRange(null); } }}>
    <title>${title}, ${show(bins.edges[0], unit)} to ${show(bins.edges[count], unit)}. Drag to keep a part, double-click for all.</title>
    ${bins.counts.map((value, index) => html`<rect key=${index} x=${index * step + 0.4} width=${step - 0.8} y=${HEIGHT - barHeight(value, most)} height=${barHeight(value, most)} class=${isKept(index) ? "kept" : "out"}></rect>`)}
  </svg>`;
}

function barHeight(value, most) {
  return value ? Math.max(1.5, Math.sqrt(value / most) * HEIGHT) : 0;
}
