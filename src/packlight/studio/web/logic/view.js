/** Zoom and pan of a drawing, and the node under a point. */

/** @typedef {{scale: number, x: number, y: number}} View screen = drawing * scale + (x, y) */

const LEAST_SCALE = 0.002;
const MOST_SCALE = 4;

/**
 * The view that shows a whole drawing; a long one is shown at a readable scale from its top.
 * @returns {View}
 */
export function fitView(width, height, screenWidth, screenHeight, least = 0) {
  const whole = Math.min(screenWidth / Math.max(1, width), screenHeight / Math.max(1, height), 1.2) * 0.96;
  const scale = Math.max(whole, least, LEAST_SCALE);
  const isTall = height * scale > screenHeight;
  return { scale, x: (screenWidth - width * scale) / 2, y: isTall ? 12 : (screenHeight - height * scale) / 2 };
}

/** A view zoomed about a point of the screen. @param {View} view @returns {View} */
export function zoomedAt(view, factor, x, y) {
  const scale = Math.min(MOST_SCALE, Math.max(LEAST_SCALE, view.scale * factor));
  const ratio = scale / view.scale;
  return { scale, x: x - (x - view.x) * ratio, y: y - (y - view.y) * ratio };
}

/** A view moved so that a point of the drawing is in the middle. @param {View} view @returns {View} */
export function centeredOn(view, x, y, screenWidth, screenHeight) {
  return { scale: view.scale, x: screenWidth / 2 - x * view.scale, y: screenHeight / 2 - y * view.scale };
}

/** Part of the drawing that the screen shows. @param {View} view */
export function shownPart(view, screenWidth, screenHeight) {
  return {
    left: -view.x / view.scale, top: -view.y / view.scale,
    right: (screenWidth - view.x) / view.scale, bottom: (screenHeight - view.y) / view.scale,
  };
}

/**
 * The node whose box holds a point of the drawing; -1 where there is none.
 * @param {{x: number[], y: number[]}} nodes
 * @param {number[]} order node numbers sorted by y
 */
export function nodeAt(nodes, order, x, y, halfWidth, halfHeight) {
  let low = 0;
  let high = order.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (nodes.y[order[middle]] < y - halfHeight) low = middle + 1;
    else high = middle;
  }
  for (let index = low; index < order.length && nodes.y[order[index]] <= y + halfHeight; index++) {
    if (Math.abs(nodes.x[order[index]] - x) <= halfWidth) return order[index];
  }
  return -1;
}

/** @param {View} view */
export function viewText(view) {
  return `${view.scale.toPrecision(4)},${view.x.toFixed(0)},${view.y.toFixed(0)}`;
}

/** @param {string | undefined} text @returns {View | null} */
export function parseView(text) {
  const [scale, x, y] = (text ?? "").split(",").map(Number);
  return scale > 0 && Number.isFinite(x) && Number.isFinite(y) ? { scale, x, y } : null;
}
