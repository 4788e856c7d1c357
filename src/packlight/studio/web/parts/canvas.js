/** A canvas in the pixels of the screen, drawn once a frame, with the colors of the page. */
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

/** Size of an element that follows the layout. */
export function useSize() {
  const element = useRef(/** @type {HTMLElement | null} */ (null));
  const [size, setSize] = useState({ width: 0, height: 0 });
  useLayoutEffect(() => {
    const box = element.current;
    if (!box) return undefined;
    const measure = () => setSize({ width: box.clientWidth, height: box.clientHeight });
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(box);
    return () => observer.disconnect();
  }, []);
  return [element, size];
}

/**
 * Draw on a canvas when what is drawn changes, at most once a frame.
 * @param {{width: number, height: number}} size
 * @param {(context: CanvasRenderingContext2D, colors: Record<string, string>) => void} draw
 * @param {unknown[]} inputs
 */
export function useDrawing(size, draw, inputs) {
  const canvas = useRef(/** @type {HTMLCanvasElement | null} */ (null));
  const pending = useRef(0);
  useEffect(() => {
    const element = canvas.current;
    if (!element || !size.width || !size.height) return undefined;
    cancelAnimationFrame(pending.current);
    pending.current = requestAnimationFrame(() => {
      const ratio = Math.min(2, window.devicePixelRatio || 1);
      const width = Math.round(size.width * ratio);
      const height = Math.round(size.height * ratio);
      if (element.width !== width || element.height !== height) {
        element.width = width;
        element.height = height;
      }
      const context = element.getContext("2d");
      if (!context) return;
      const started = performance.now();
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      context.clearRect(0, 0, size.width, size.height);
      draw(context, colorsOf(element));
      element.dataset.drawn = String(Number(element.dataset.drawn ?? 0) + 1);
      element.dataset.milliseconds = (performance.now() - started).toFixed(1);
    });
    return undefined;
  }, [size.width, size.height, ...inputs]);
  useEffect(() => () => cancelAnimationFrame(pending.current), []);
  return canvas;
}

const NAMES = ["ink", "quiet", "line", "surface", "page", "accent", "good", "bad", "open", "glow", "soft"];

/** @param {Element} element */
function colorsOf(element) {
  const style = getComputedStyle(element);
  return Object.fromEntries(NAMES.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}
