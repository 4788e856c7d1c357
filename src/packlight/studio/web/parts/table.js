/** A table that draws only the rows in sight. */
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { visibleRange } from "../logic/rows.js";
import { html } from "./html.js";

export const ROW_HEIGHT = 28;
const PAGE_ROWS = 12;
const HEAD_HEIGHT = 68;

/**
 * @typedef {object} Column
 * @property {string} key
 * @property {string} title
 * @property {string} width of the column in CSS
 * @property {(line: number) => any} cell
 * @property {string} [tip]
 * @property {boolean} [isNumber]
 * @property {() => any} [above] what stands below the title, as a histogram
 * @property {() => any} [below] what stands in the row of totals
 * @property {boolean} [isFixed] that it cannot be sorted by
 */

/**
 * @param {object} props
 * @param {string} props.label
 * @param {number} props.count of lines
 * @param {Column[]} props.columns
 * @param {string} props.sort key, with a minus in front where it descends
 * @param {(key: string) => void} props.onSort
 * @param {(line: number) => string} props.rowClass
 * @param {(line: number) => boolean} props.isSelected
 * @param {(line: number, event: Event) => void} props.onSelect
 * @param {(line: number) => void} [props.onOpen]
 * @param {(line: number, isOpen: boolean) => void} [props.onFold]
 * @param {number} props.focus line that keys move
 * @param {(line: number) => void} props.onFocus
 * @param {boolean} [props.hasTotals]
 * @param {number} [props.height]
 */
export function DataTable({ label, count, columns, sort, onSort, rowClass, isSelected, onSelect, onOpen, onFold, focus, onFocus, hasTotals, height = 420 }) {
  const scroller = useRef(/** @type {HTMLElement | null} */ (null));
  const head = useRef(/** @type {HTMLElement | null} */ (null));
  const [top, setTop] = useState(0);
  const [size, setSize] = useState(height);
  useLayoutEffect(() => {
    const element = scroller.current;
    if (!element) return undefined;
    const observer = new ResizeObserver(() => setSize(element.clientHeight));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  useEffect(() => {
    const element = scroller.current;
    if (!element || focus < 0) return;
    const headHeight = head.current?.offsetHeight ?? 0;
    const start = focus * ROW_HEIGHT;
    const space = element.clientHeight - headHeight - (hasTotals ? ROW_HEIGHT : 0);
    if (start < element.scrollTop) element.scrollTop = start;
    else if (start + ROW_HEIGHT > element.scrollTop + space) element.scrollTop = start + ROW_HEIGHT - space;
  }, [focus, count]);
  const [first, last] = visibleRange(top, size, ROW_HEIGHT, count);
  const template = columns.map((column) => column.width).join(" ");
  const least = columns.reduce((sum, column) => sum + Number(/(\d+)px/.exec(column.width)?.[1] ?? 0), 0);
  const style = { gridTemplateColumns: template, minWidth: `${least}px` };
  const lines = [];
  for (let line = first; line < last; line++) lines.push(line);

  /** @param {KeyboardEvent} event */
  function onKey(event) {
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: PAGE_ROWS, PageUp: -PAGE_ROWS, Home: -count, End: count };
    if (event.key in moves && count) {
      event.preventDefault();
      const next = Math.min(count - 1, Math.max(0, (focus < 0 ? -1 : focus) + moves[event.key]));
      onFocus(next);
      if (!event.ctrlKey) onSelect(next, event);
    } else if (event.key === "Enter" && focus >= 0 && onOpen) {
      onOpen(focus);
    } else if (event.key === " " && focus >= 0) {
      event.preventDefault();
      onSelect(focus, event);
    } else if (["ArrowRight", "ArrowLeft"].includes(event.key) && focus >= 0 && onFold) {
      onFold(focus, event.key === "ArrowRight");
    }
  }

  return html`<div class="table-scroll" ref=${scroller} tabIndex="0" role="grid" aria-label=${label} aria-rowcount=${count + 1}
      aria-colcount=${columns.length} data-rows=${count} onScroll=${(event) => setTop(event.currentTarget.scrollTop)} onKeyDown=${onKey}
      style=${{ height: `${Math.min(height, count * ROW_HEIGHT + HEAD_HEIGHT + (hasTotals ? ROW_HEIGHT : 0))}px` }}>
    <div class="table-head" role="row" ref=${head} style=${style}>
      ${columns.map((column) => html`<div role="columnheader" key=${column.key} class=${column.isNumber ? "number" : ""} aria-sort=${sortState(sort, column.key)}>
        ${column.isFixed ? html`<span title=${column.tip}>${column.title}</span>` : html`<button type="button" class="sort" title=${column.tip} onClick=${() => onSort(column.key)}>${column.title}<span aria-hidden="true">${sortMark(sort, column.key)}</span></button>`}
        ${column.above ? column.above() : null}
      </div>`)}
    </div>
    <div class="table-body" role="rowgroup" style=${{ height: `${count * ROW_HEIGHT}px` }}>
      <div class="table-window" style=${{ transform: `translateY(${first * ROW_HEIGHT}px)` }}>
        ${lines.map((line) => html`<div role="row" key=${line} aria-rowindex=${line + 2} aria-selected=${isSelected(line)} style=${style}
            class="table-row ${rowClass(line)} ${isSelected(line) ? "selected" : ""} ${line === focus ? "focused" : ""}"
            onClick=${(event) => { onFocus(line); onSelect(line, event); }} onDblClick=${() => onOpen?.(line)}>
          ${columns.map((column) => html`<div role="gridcell" key=${column.key} class=${column.isNumber ? "number" : ""}>${column.cell(line)}</div>`)}
        </div>`)}
      </div>
    </div>
    ${hasTotals ? html`<div class="table-foot" role="row" aria-label="Totals" style=${style}>
      ${columns.map((column) => html`<div role="gridcell" key=${column.key} class=${column.isNumber ? "number" : ""}>${column.below ? column.below() : null}</div>`)}
    </div>` : null}
  </div>`;
}

function sortState(sort, key) {
  if (sort === key) return "ascending";
  return sort === `-${key}` ? "descending" : "none";
}

function sortMark(sort, key) {
  if (sort === key) return " ▲";
  return sort === `-${key}` ? " ▼" : "";
}

/** The next order by a column: most first, least first, none. @param {string} sort @param {string} key */
export function nextSort(sort, key) {
  if (sort === `-${key}`) return key;
  return sort === key ? "" : `-${key}`;
}
