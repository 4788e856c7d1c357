/** The graph of operators on a canvas: zoom, pan, fold, color, minimap and keys. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { digits } from "../logic/format.js";
import { centeredOn, fitView, nodeAt, parseView, shownPart, viewText, zoomedAt } from "../logic/view.js";
import { useDrawing, useSize } from "./canvas.js";
import { drawEdges, drawMinimap, drawNodes, HALF_HEIGHT, HALF_WIDTH } from "./graph_drawing.js";
import { html } from "./html.js";

const READABLE_SCALE = 0.55;
const MOST_LISTED = 60;
const PAN_STEP = 60;
const SETTLED_MS = 250;

/**
 * @param {object} props
 * @param {import("../records").GraphPage} props.graph
 * @param {string[]} props.names of operators
 * @param {(number | null)[]} props.shares color of each operator, from 0 to 1
 * @param {(number | null)[]} props.values of the column that colors
 * @param {(value: number | null) => string} props.show
 * @param {Set<number>} props.selected operators
 * @param {(rows: number[], add: boolean) => void} props.onSelect
 * @param {(module: string) => void} props.onToggle
 * @param {string | undefined} props.view from the address
 * @param {(view: string) => void} props.onView
 * @param {string} [props.label]
 */
export function Graph({ graph, names, shares, values, show, selected, onSelect, onToggle, view: viewInAddress, onView, label = "Graph of operators" }) {
  const [box, size] = useSize();
  const [view, setView] = useState(() => parseView(viewInAddress));
  const [hover, setHover] = useState(-1);
  const drag = useRef(/** @type {{x: number, y: number, moved: boolean} | null} */ (null));
  const settled = useRef(0);
  const shown = view ?? fitView(graph.width, graph.height, size.width || 1, size.height || 1, startScale(graph));
  const order = useMemo(() => graph.y.map((_, node) => node).sort((a, b) => graph.y[a] - graph.y[b]), [graph]);
  const nodeValues = useMemo(() => sumByNode(graph, values), [graph, values]);
  const nodeShares = useMemo(() => sharesOf(graph, nodeValues, shares), [graph, nodeValues, shares]);
  const chosen = useMemo(() => chosenNodes(graph, selected), [graph, selected]);
  const focus = chosen.values().next().value ?? -1;

  useEffect(() => {
    if (focus < 0 || !size.width) return;
    const part = shownPart(shown, size.width, size.height);
    const isInSight = graph.x[focus] > part.left && graph.x[focus] < part.right && graph.y[focus] > part.top && graph.y[focus] < part.bottom;
    if (!isInSight) setView(centeredOn({ ...shown, scale: Math.max(shown.scale, READABLE_SCALE) }, graph.x[focus], graph.y[focus], size.width, size.height));
  }, [focus, graph, size.width]);

  function move(next) {
    setView(next);
    clearTimeout(settled.current);
    settled.current = setTimeout(() => onView(viewText(next)), SETTLED_MS);
  }
  const canvas = useDrawing(size, (context, colors) => {
    drawEdges(context, graph, shown, size, colors);
    drawNodes(context, graph, order, nodeShares, chosen, hover, shown, size, colors);
    drawMinimap(context, graph, order, nodeShares, chosen, shown, size, colors);
  }, [graph, shown.scale, shown.x, shown.y, nodeShares, chosen, hover]);

  useEffect(() => {
    const element = canvas.current;
    if (!element) return undefined;
    const wheel = (event) => {
      event.preventDefault();
      const bounds = element.getBoundingClientRect();
      setView((before) => {
        const base = before ?? shown;
        const next = event.shiftKey || event.deltaMode === 0 && !event.ctrlKey && Math.abs(event.deltaX) > Math.abs(event.deltaY)
          ? { ...base, x: base.x - event.deltaX, y: base.y - event.deltaY }
          : zoomedAt(base, Math.exp(-event.deltaY * 0.0015), event.clientX - bounds.left, event.clientY - bounds.top);
        clearTimeout(settled.current);
        settled.current = setTimeout(() => onView(viewText(next)), SETTLED_MS);
        return next;
      });
    };
    element.addEventListener("wheel", wheel, { passive: false });
    return () => element.removeEventListener("wheel", wheel);
  }, [shown.scale, shown.x, shown.y, size.width]);

  function nodeUnder(event) {
    const bounds = event.currentTarget.getBoundingClientRect();
    const x = (event.clientX - bounds.left - shown.x) / shown.scale;
    const y = (event.clientY - bounds.top - shown.y) / shown.scale;
    const slack = Math.max(1, 3 / (shown.scale * HALF_HEIGHT));
    return nodeAt(graph, order, x, y, HALF_WIDTH * slack, HALF_HEIGHT * slack);
  }
  function onPointerMove(event) {
    const from = drag.current;
    if (from) {
      const dx = event.clientX - from.x;
      const dy = event.clientY - from.y;
      if (from.moved || Math.abs(dx) + Math.abs(dy) > 3) {
        drag.current = { x: event.clientX, y: event.clientY, moved: true };
        move({ ...shown, x: shown.x + dx, y: shown.y + dy });
      }
      return;
    }
    const node = nodeUnder(event);
    if (node !== hover) setHover(node);
  }
  function onPointerUp(event) {
    const from = drag.current;
    drag.current = null;
    if (from?.moved) return;
    const node = nodeUnder(event);
    onSelect(node < 0 ? [] : operatorsIn(graph, node), event.ctrlKey || event.metaKey || event.shiftKey);
  }
  function onDoubleClick(event) {
    const node = nodeUnder(event);
    if (node >= 0 && graph.modules[node]) onToggle(graph.modules[node]);
  }
  function onKeyDown(event) {
    const pans = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    if (event.key in pans && event.shiftKey) {
      const [dx, dy] = pans[event.key];
      move({ ...shown, x: shown.x + dx * PAN_STEP, y: shown.y + dy * PAN_STEP });
    } else if (event.key in pans) {
      const next = neighbor(graph, order, focus, event.key);
      if (next >= 0) onSelect(operatorsIn(graph, next), false);
    } else if (event.key === "+" || event.key === "=") move(zoomedAt(shown, 1.3, size.width / 2, size.height / 2));
    else if (event.key === "-") move(zoomedAt(shown, 1 / 1.3, size.width / 2, size.height / 2));
    else if (event.key === "0") move(fitView(graph.width, graph.height, size.width, size.height));
    else if (event.key === "Enter" && focus >= 0 && graph.modules[focus]) onToggle(graph.modules[focus]);
    else return;
    event.preventDefault();
  }
  const under = hover >= 0 ? `${graph.labels[hover]}${graph.counts[hover] > 1 ? ` (${graph.counts[hover]} operators)` : ` · ${graph.kinds[hover]}`} · ${show(nodeValues[hover])}` : "";
  const listed = [...new Set([...chosen, ...order.filter((node) => graph.kinds[node] === "module")])].slice(0, MOST_LISTED);
  return html`<div class="graph" ref=${box}>
    <canvas ref=${canvas} class="canvas" tabIndex="0" role="application" aria-label=${label} aria-describedby="graph-keys"
      data-nodes=${graph.labels.length} data-edges=${graph.sources.length} data-selected=${[...chosen].map((node) => graph.labels[node]).join(" ")}
      data-scale=${digits(shown.scale)} style=${{ width: `${size.width}px`, height: `${size.height}px` }}
      onPointerDown=${(event) => { event.currentTarget.setPointerCapture(event.pointerId); drag.current = { x: event.clientX, y: event.clientY, moved: false }; }}
      onPointerMove=${onPointerMove} onPointerUp=${onPointerUp} onPointerLeave=${() => setHover(-1)} onDblClick=${onDoubleClick} onKeyDown=${onKeyDown}></canvas>
    <div class="graph-tools" role="toolbar" aria-label="Graph">
      <button type="button" title="Zoom in (+)" aria-label="Zoom in" onClick=${() => move(zoomedAt(shown, 1.4, size.width / 2, size.height / 2))}>+</button>
      <button type="button" title="Zoom out (-)" aria-label="Zoom out" onClick=${() => move(zoomedAt(shown, 1 / 1.4, size.width / 2, size.height / 2))}>−</button>
      <button type="button" title="Show all (0)" aria-label="Show all" onClick=${() => move(fitView(graph.width, graph.height, size.width, size.height))}>◻</button>
    </div>
    ${under ? html`<div class="tip" role="status">${under}</div>` : null}
    <p id="graph-keys" class="hidden">Arrows go to neighbors, Shift and arrows pan, plus and minus zoom, 0 shows all, Enter opens or closes a module.</p>
    <ul class="hidden" aria-label="Nodes of the graph">
      ${listed.map((node) => html`<li key=${node}><button type="button" tabIndex="-1" aria-pressed=${chosen.has(node)} onClick=${() => onSelect(operatorsIn(graph, node), false)}>${graph.labels[node]}</button>
        ${graph.kinds[node] === "module" ? html`<button type="button" tabIndex="-1" onClick=${() => onToggle(graph.modules[node])}>Unfold ${graph.labels[node]}</button>` : null}</li>`)}
    </ul>
  </div>`;
}

/** A long chain starts at a readable scale; everything else is shown whole. */
function startScale(graph) {
  return graph.labels.length <= 400 ? READABLE_SCALE : 0.02;
}

/** @param {import("../records").GraphPage} graph @param {number} node */
export function operatorsIn(graph, node) {
  if (graph.counts[node] === 1) return [graph.first[node]];
  return graph.owners.flatMap((owner, row) => (owner === node ? [row] : []));
}

function chosenNodes(graph, selected) {
  const chosen = new Set();
  for (const row of selected) chosen.add(graph.owners[row]);
  return chosen;
}

function sumByNode(graph, values) {
  const sums = new Array(graph.labels.length).fill(null);
  for (let row = 0; row < graph.owners.length; row++) {
    const value = values[row];
    if (value !== null && value !== undefined) sums[graph.owners[row]] = (sums[graph.owners[row]] ?? 0) + value;
  }
  return sums;
}

function sharesOf(graph, nodeValues, shares) {
  if (graph.labels.length === shares.length) return graph.first.map((row) => shares[row]);
  const most = nodeValues.reduce((high, value) => Math.max(high, value ?? 0), 0);
  return nodeValues.map((value) => (value === null || !most ? null : Math.sqrt(value / most)));
}

/** The nearest node in the direction of an arrow. */
function neighbor(graph, order, node, key) {
  if (node < 0) return order[0] ?? -1;
  if (key === "ArrowDown" || key === "ArrowUp") {
    const from = key === "ArrowDown" ? graph.sources : graph.targets;
    const to = key === "ArrowDown" ? graph.targets : graph.sources;
    const index = from.indexOf(node);
    return index < 0 ? -1 : to[index];
  }
  const sign = key === "ArrowRight" ? 1 : -1;
  const row = order.filter((other) => graph.y[other] === graph.y[node] && (graph.x[other] - graph.x[node]) * sign > 0);
  return row.sort((a, b) => Math.abs(graph.x[a] - graph.x[node]) - Math.abs(graph.x[b] - graph.x[node]))[0] ?? -1;
}
