/** Scatter and timeline of operators on a canvas, linked with the table and the graph. */
import { useMemo, useRef, useState } from "preact/hooks";
import { show } from "../logic/format.js";
import { viridis } from "../logic/scales.js";
import { useDrawing, useSize } from "./canvas.js";
import { html } from "./html.js";

const MARGIN = { left: 54, right: 14, top: 12, bottom: 28 };
const REACH = 9;

/** Logarithms leave out zero; those rows lie on the edge. */
function positions(column) {
  const positive = column.filter((value) => value > 0);
  const low = positive.reduce((least, value) => Math.min(least, value), Infinity);
  const high = positive.reduce((most, value) => Math.max(most, value), 0);
  const from = Math.log10(low);
  const span = Math.log10(high) - from || 1;
  const shares = column.map((value) => (value === null ? null : value > 0 ? 0.06 + (0.9 * (Math.log10(value) - from)) / span : 0.01));
  return { low, high, from, span, shares };
}

/**
 * @param {object} props
 * @param {string[]} props.names
 * @param {(number | null)[]} props.x
 * @param {(number | null)[]} props.y
 * @param {import("../records").ColumnTitle} props.xTitle
 * @param {import("../records").ColumnTitle} props.yTitle
 * @param {(number | null)[]} props.shares color
 * @param {Set<number>} props.rows that the filter keeps
 * @param {Set<number>} props.selected
 * @param {(rows: number[], add: boolean) => void} props.onSelect
 */
export function Scatter({ names, x, y, xTitle, yTitle, shares, rows, selected, onSelect }) {
  const [box, size] = useSize();
  const [hover, setHover] = useState(-1);
  const across = useMemo(() => positions(x), [x]);
  const up = useMemo(() => positions(y), [y]);
  const width = size.width - MARGIN.left - MARGIN.right;
  const height = size.height - MARGIN.top - MARGIN.bottom;
  const place = (row) => [MARGIN.left + across.shares[row] * width, MARGIN.top + (1 - up.shares[row]) * height];
  const canvas = useDrawing(size, (context, colors) => {
    drawAxes(context, size, across, up, xTitle, yTitle, colors);
    for (let row = 0; row < names.length; row++) {
      if (across.shares[row] === null || up.shares[row] === null) continue;
      const [px, py] = place(row);
      const isKept = rows.has(row);
      context.globalAlpha = isKept ? 0.85 : 0.15;
      context.fillStyle = shares[row] === null ? colors.quiet : viridis(shares[row]);
      context.fillRect(px - 2.5, py - 2.5, 5, 5);
    }
    context.globalAlpha = 1;
    for (const row of selected) {
      if (across.shares[row] === null || up.shares[row] === null) continue;
      const [px, py] = place(row);
      context.strokeStyle = colors.glow;
      context.lineWidth = 3;
      context.strokeRect(px - 5, py - 5, 10, 10);
    }
    if (hover >= 0) {
      const [px, py] = place(hover);
      context.strokeStyle = colors.ink;
      context.lineWidth = 1.5;
      context.strokeRect(px - 5, py - 5, 10, 10);
    }
  }, [across, up, shares, rows, selected, hover]);
  function under(event) {
    const bounds = event.currentTarget.getBoundingClientRect();
    const px = event.clientX - bounds.left;
    const py = event.clientY - bounds.top;
    let nearest = -1;
    let best = REACH;
    for (const row of rows) {
      if (across.shares[row] === null || up.shares[row] === null) continue;
      const [qx, qy] = place(row);
      const distance = Math.hypot(px - qx, py - qy);
      if (distance < best) {
        best = distance;
        nearest = row;
      }
    }
    return nearest;
  }
  return html`<div class="plot" ref=${box}><canvas ref=${canvas} class="canvas" role="img" aria-label="Scatter of ${xTitle.title} and ${yTitle.title}" data-points=${names.length}
      data-selected=${[...selected].slice(0, 50).map((row) => names[row]).join(" ")} style=${{ width: `${size.width}px`, height: `${size.height}px` }}
      onPointerMove=${(event) => setHover(under(event))} onPointerLeave=${() => setHover(-1)}
      onClick=${(event) => { const row = under(event); onSelect(row < 0 ? [] : [row], event.ctrlKey || event.metaKey || event.shiftKey); }}></canvas>
    ${hover >= 0 ? html`<div class="tip" role="status">${names[hover]} · ${show(x[hover], xTitle.unit)} · ${show(y[hover], yTitle.unit)}</div>` : null}
  </div>`;
}

function drawAxes(context, size, across, up, xTitle, yTitle, colors) {
  context.strokeStyle = colors.line;
  context.fillStyle = colors.quiet;
  context.lineWidth = 1;
  context.font = "11px system-ui, sans-serif";
  const width = size.width - MARGIN.left - MARGIN.right;
  const height = size.height - MARGIN.top - MARGIN.bottom;
  context.textBaseline = "top";
  context.textAlign = "center";
  for (const power of powers(across, width / 80)) {
    const px = MARGIN.left + (0.06 + (0.9 * (power - across.from)) / across.span) * width;
    context.beginPath();
    context.moveTo(px, MARGIN.top);
    context.lineTo(px, MARGIN.top + height);
    context.stroke();
    context.fillText(show(10 ** power, xTitle.unit), px, MARGIN.top + height + 4);
  }
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const power of powers(up, height / 34)) {
    const py = MARGIN.top + (1 - 0.06 - (0.9 * (power - up.from)) / up.span) * height;
    context.beginPath();
    context.moveTo(MARGIN.left, py);
    context.lineTo(MARGIN.left + width, py);
    context.stroke();
    context.fillText(show(10 ** power, yTitle.unit), MARGIN.left - 5, py);
  }
  context.textAlign = "left";
  context.fillStyle = colors.ink;
  context.fillText(`${yTitle.title} ↑`, MARGIN.left + 4, MARGIN.top + 4);
  context.textAlign = "right";
  context.fillText(`${xTitle.title} →`, size.width - MARGIN.right, MARGIN.top + height - 8);
  context.textAlign = "left";
}

/** Logarithms of ticks: powers of ten, with 2 and 5 between where there is space. */
function powers(axis, most) {
  if (!Number.isFinite(axis.from)) return [];
  if (axis.span * 3 <= most) {
    const all = [];
    for (let power = Math.floor(axis.from); power <= axis.from + axis.span; power++) {
      for (const factor of [1, 2, 5]) all.push(power + Math.log10(factor));
    }
    return all.filter((place) => place >= axis.from && place <= axis.from + axis.span);
  }
  const first = Math.ceil(axis.from);
  const last = Math.floor(axis.from + axis.span);
  const step = Math.max(1, Math.ceil((last - first + 1) / Math.max(1, most)));
  const result = [];
  for (let power = first; power <= last; power += step) result.push(power);
  return result;
}

/**
 * One run of the model from left to right: a bar for each operator, as long as it takes.
 * @param {object} props
 * @param {string[]} props.names
 * @param {number[]} props.starts seconds
 * @param {(number | null)[]} props.seconds
 * @param {(number | null)[]} props.shares color
 * @param {Set<number>} props.rows
 * @param {Set<number>} props.selected
 * @param {(rows: number[], add: boolean) => void} props.onSelect
 */
export function Timeline({ names, starts, seconds, shares, rows, selected, onSelect }) {
  const [box, size] = useSize();
  const [hover, setHover] = useState(-1);
  const scale = useRef(1);
  const whole = starts.length ? starts[starts.length - 1] + (seconds[seconds.length - 1] ?? 0) : 0;
  scale.current = whole ? (size.width - 16) / whole : 1;
  const top = 10;
  const height = Math.max(20, size.height - 40);
  const canvas = useDrawing(size, (context, colors) => {
    for (let row = 0; row < names.length; row++) {
      const length = (seconds[row] ?? 0) * scale.current;
      if (length <= 0) continue;
      context.globalAlpha = rows.has(row) ? 1 : 0.2;
      context.fillStyle = shares[row] === null ? colors.quiet : viridis(shares[row]);
      context.fillRect(8 + starts[row] * scale.current, top, Math.max(0.6, length - (length > 4 ? 1 : 0)), height);
    }
    context.globalAlpha = 1;
    context.lineWidth = 3;
    context.strokeStyle = colors.glow;
    for (const row of selected) context.strokeRect(8 + starts[row] * scale.current, top - 2, Math.max(2, (seconds[row] ?? 0) * scale.current), height + 4);
    context.fillStyle = colors.quiet;
    context.font = "11px system-ui, sans-serif";
    context.textBaseline = "top";
    context.fillText("0", 8, top + height + 6);
    context.textAlign = "right";
    context.fillText(show(whole, "s"), size.width - 8, top + height + 6);
    context.textAlign = "left";
  }, [starts, seconds, shares, rows, selected, whole]);
  function under(event) {
    const bounds = event.currentTarget.getBoundingClientRect();
    const second = (event.clientX - bounds.left - 8) / scale.current;
    let low = 0;
    let high = starts.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (starts[middle] <= second) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }
  return html`<div class="plot" ref=${box}><canvas ref=${canvas} class="canvas" role="img" aria-label="Timeline of one run" data-selected=${[...selected].slice(0, 50).map((row) => names[row]).join(" ")}
      style=${{ width: `${size.width}px`, height: `${size.height}px` }} onPointerMove=${(event) => setHover(under(event))} onPointerLeave=${() => setHover(-1)}
      onClick=${(event) => { const row = under(event); if (row >= 0) onSelect([row], event.ctrlKey || event.metaKey || event.shiftKey); }}></canvas>
    ${hover >= 0 ? html`<div class="tip" role="status">${names[hover]} · ${show(seconds[hover], "s")}</div>` : null}
  </div>`;
}
