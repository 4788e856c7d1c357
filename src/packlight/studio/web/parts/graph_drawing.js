/** Drawing of a graph on a canvas: edges, nodes and the minimap. */
import { inkOn, viridis } from "../logic/scales.js";
import { shownPart } from "../logic/view.js";

export const HALF_WIDTH = 84;
export const HALF_HEIGHT = 17;
const LABEL_SCALE = 0.38;
const PLAIN_SCALE = 0.1;
const MINI = 110;

export function drawEdges(context, graph, view, size, colors) {
  const part = shownPart(view, size.width, size.height);
  context.strokeStyle = colors.line;
  context.lineWidth = Math.max(0.4, Math.min(1.4, view.scale * 1.6));
  context.beginPath();
  const isSimple = view.scale < PLAIN_SCALE;
  for (let edge = 0; edge < graph.sources.length; edge++) {
    const source = graph.sources[edge];
    const target = graph.targets[edge];
    const y1 = graph.y[source];
    const y2 = graph.y[target];
    if (Math.max(y1, y2) < part.top || Math.min(y1, y2) > part.bottom) continue;
    const x1 = graph.x[source];
    const x2 = graph.x[target];
    if (Math.max(x1, x2) + 120 < part.left || Math.min(x1, x2) - 120 > part.right) continue;
    const startX = x1 * view.scale + view.x;
    const endX = x2 * view.scale + view.x;
    const startY = (y1 + HALF_HEIGHT) * view.scale + view.y;
    const endY = (y2 - HALF_HEIGHT) * view.scale + view.y;
    context.moveTo(startX, startY);
    if (isSimple) {
      context.lineTo(endX, endY);
      continue;
    }
    const isLong = y2 - y1 > 90;
    const aside = isLong && Math.abs(x1 - x2) < HALF_WIDTH ? (HALF_WIDTH + 22) * view.scale : 0;
    const bend = (endY - startY) / (isLong ? 6 : 2);
    if (aside) {
      context.bezierCurveTo(startX + aside, startY + bend, startX + aside, startY + bend, startX + aside, (startY + endY) / 2);
      context.bezierCurveTo(endX + aside, endY - bend, endX + aside, endY - bend, endX, endY);
    } else {
      context.bezierCurveTo(startX, startY + bend, endX, endY - bend, endX, endY);
    }
  }
  context.stroke();
}

export function drawNodes(context, graph, order, shares, chosen, hover, view, size, colors) {
  const part = shownPart(view, size.width, size.height);
  const width = HALF_WIDTH * 2 * view.scale;
  const height = HALF_HEIGHT * 2 * view.scale;
  const hasLabels = view.scale >= LABEL_SCALE;
  if (hasLabels) {
    context.font = `${Math.min(13, Math.max(9, 13 * view.scale))}px system-ui, sans-serif`;
    context.textBaseline = "middle";
  }
  const radius = Math.min(6, height / 4);
  for (const node of order) {
    const y = graph.y[node];
    if (y + HALF_HEIGHT < part.top) continue;
    if (y - HALF_HEIGHT > part.bottom) break;
    const x = graph.x[node];
    if (x + HALF_WIDTH < part.left || x - HALF_WIDTH > part.right) continue;
    const left = (x - HALF_WIDTH) * view.scale + view.x;
    const top = (y - HALF_HEIGHT) * view.scale + view.y;
    const share = shares[node];
    context.fillStyle = share === null ? colors.soft : viridis(share);
    const isModule = graph.kinds[node] === "module";
    if (!hasLabels) {
      context.fillRect(left, top, Math.max(1.5, width), Math.max(1, height));
    } else {
      roundedBox(context, left, top, width, height, isModule ? 2 : radius);
      context.fill();
      if (isModule) {
        context.strokeStyle = colors.ink;
        context.lineWidth = 1;
        context.strokeRect(left + 2.5, top + 2.5, width - 5, height - 5);
      }
    }
    if (chosen.has(node) || node === hover) {
      context.strokeStyle = chosen.has(node) ? colors.glow : colors.ink;
      context.lineWidth = chosen.has(node) ? 3 : 1.5;
      context.strokeRect(left - 2, top - 2, Math.max(2, width) + 4, Math.max(2, height) + 4);
    }
    if (hasLabels) {
      context.fillStyle = share === null ? colors.ink : inkOn(share);
      const text = isModule ? `${lastPiece(graph.labels[node])} (${graph.counts[node]})` : `${graph.kinds[node]}  ${lastPiece(graph.labels[node])}`;
      context.fillText(fitted(context, text, width - 12), left + 7, top + height / 2 + 0.5);
    }
  }
}

function roundedBox(context, left, top, width, height, radius) {
  context.beginPath();
  context.roundRect(left, top, width, height, radius);
}

function lastPiece(label) {
  const pieces = label.split(/[/]/);
  return pieces[pieces.length - 1] || label;
}

function fitted(context, text, width) {
  if (context.measureText(text).width <= width) return text;
  let low = 0;
  let high = text.length;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (context.measureText(`${text.slice(0, middle)}…`).width <= width) low = middle;
    else high = middle - 1;
  }
  return `${text.slice(0, low)}…`;
}

export function drawMinimap(context, graph, order, shares, chosen, view, size, colors) {
  const part = shownPart(view, size.width, size.height);
  const isWhole = part.left <= 0 && part.top <= 0 && part.right >= graph.width && part.bottom >= graph.height;
  if (isWhole || size.width < 300) return;
  const scale = Math.min(MINI / graph.width, (size.height - 24) / graph.height);
  const width = Math.max(24, graph.width * scale);
  const height = graph.height * scale;
  const left = size.width - width - 12;
  const top = 12;
  context.fillStyle = colors.surface;
  context.globalAlpha = 0.9;
  context.fillRect(left - 4, top - 4, width + 8, height + 8);
  context.globalAlpha = 1;
  context.strokeStyle = colors.line;
  context.lineWidth = 1;
  context.strokeRect(left - 4, top - 4, width + 8, height + 8);
  const step = Math.max(1, Math.floor(order.length / 1500));
  const offset = (width - graph.width * scale) / 2;
  for (let index = 0; index < order.length; index += step) {
    const node = order[index];
    context.fillStyle = shares[node] === null ? colors.quiet : viridis(shares[node]);
    context.fillRect(left + offset + graph.x[node] * scale - 1, top + graph.y[node] * scale - 0.5, 3, 1.5);
  }
  context.fillStyle = colors.glow;
  for (const node of chosen) context.fillRect(left + offset + graph.x[node] * scale - 3, top + graph.y[node] * scale - 2, 6, 4);
  context.strokeStyle = colors.accent;
  context.lineWidth = 1.5;
  const shownTop = Math.max(top - 3, top + part.top * scale);
  const shownBottom = Math.min(top + height + 3, top + part.bottom * scale);
  const shownLeft = Math.max(left - 3, left + offset + part.left * scale);
  const shownRight = Math.min(left + width + 3, left + offset + part.right * scale);
  context.strokeRect(shownLeft, shownTop, Math.max(3, shownRight - shownLeft), Math.max(3, shownBottom - shownTop));
}
