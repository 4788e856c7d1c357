/** What stands around every page: name, pages, budgets, saved views, looks and help. */
import { useEffect, useRef, useState } from "preact/hooks";
import { formatAddress, pageAddress, PAGES } from "../logic/address.js";
import { withMinus } from "../logic/format.js";
import { Command, Mark, Value } from "./common.js";
import { html } from "./html.js";
import { address, answer, go, goTo, isConnected, isHelpOpen, isOffline, jobs, message, refreshAnswers, send, theme, toggleTheme } from "./state.js";

export const TITLES = { overview: "Overview", operators: "Operators", "what-if": "What if", compare: "Compare", layers: "Layers", diff: "Diff" };
const MESSAGE_MS = 12000;
const KEYS = [["/", "search"], ["1 to 6", "pages"], ["arrows", "move in the table, the graph, the samples"], ["Enter", "open, fold"], ["Shift + arrows", "pan the graph"], ["+ - 0", "zoom the graph"], ["u, r", "undo, redo in What if"], ["Esc", "clear the selection"], ["?", "this list"]];

export function Header({ frame }) {
  const page = address.value.page;
  const running = jobs.value.filter((job) => ["running", "waiting"].includes(job.state)).length;
  return html`<header class="top">
    <a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); document.getElementById("main")?.focus(); }}>Skip to content</a>
    <div class="brand"><strong>packlight</strong> <span class="project" title=${frame.model}>${frame.title}</span></div>
    <nav aria-label="Pages">${PAGES.map((key) => html`<a key=${key} href=${pageAddress(address.value, key)} aria-current=${page === key ? "page" : undefined}>${TITLES[key]}</a>`)}</nav>
    <div class="top-tools">${running ? html`<span class="running" role="status">${running} running</span>` : null}
      ${isConnected.value ? null : html`<span class="caution" role="status">The server has stopped. Start packlight studio again.</span>`}
      <${Views} frame=${frame} />
      <button type="button" onClick=${share}>Share</button>
      <button type="button" aria-label="Light or dark" title="Light or dark" onClick=${toggleTheme}>◐</button>
      <button type="button" aria-label="Keys" title="Keys (?)" aria-expanded=${isHelpOpen.value} onClick=${() => { isHelpOpen.value = !isHelpOpen.value; }}>?</button></div>
  </header>`;
}

/** Copy an address that reproduces this view. */
async function share() {
  let text = location.href;
  if (!isOffline) {
    const response = await fetch("/api/session");
    const session = await response.json();
    text = session.address + formatAddress(address.value);
  }
  try {
    await navigator.clipboard.writeText(text);
    message.value = `Copied: ${text}`;
  } catch {
    message.value = `The address of this view: ${text}`;
  }
}

/** Named views with notes, saved in the project. */
function Views({ frame }) {
  const [name, setName] = useState("");
  const [note, setNote] = useState("");
  const views = answer("views").value ?? [];
  const menu = useRef(/** @type {HTMLDetailsElement | null} */ (null));
  async function save(view) {
    try {
      await send("views", view);
      refreshAnswers("views");
      setName("");
      setNote("");
    } catch (error) {
      message.value = error.message;
    }
  }
  return html`<details class="menu" ref=${menu}><summary>Views${views.length ? ` (${views.length})` : ""}</summary><div class="menu-list views" role="group" aria-label="Saved views">
    ${views.map((view) => html`<div class="view" key=${view.name}><a href=${view.address} onClick=${(event) => { event.preventDefault(); goTo(view.address); if (menu.current) menu.current.open = false; }}>${view.name}</a>${view.note ? html`<p class="quiet">${view.note}</p>` : null}
      ${isOffline ? null : html`<button type="button" aria-label="Delete ${view.name}" onClick=${() => save({ name: view.name, address: "" })}>✕</button>`}</div>`)}
    ${views.length ? null : html`<p class="quiet">No saved views yet.</p>`}
    ${frame.saves && !isOffline ? html`<form onSubmit=${(event) => { event.preventDefault(); save({ name, note, address: formatAddress(address.value) }); }}><input type="text" aria-label="Name of this view" placeholder="Name of this view" value=${name} onInput=${(event) => setName(event.target.value)} required />
      <textarea aria-label="Note" placeholder="Note" value=${note} onInput=${(event) => setNote(event.target.value)}></textarea><button type="submit" class="primary">Save view</button></form>` : null}</div></details>`;
}

/** Budgets, in sight on every page. */
export function BudgetBar({ frame }) {
  if (!frame.budgets.length) {
    return html`<div class="budgets" role="region" aria-label="Budgets"><span class="quiet">${frame.kind === "model" ? "A model alone has no budgets. " : "No budget was set. "}<${Command}>packlight fit ${frame.model || "MODEL"} --task T --budget 'size<=0.3x'<//></span></div>`;
  }
  return html`<div class="budgets" role="region" aria-label="Budgets"><span class="quiet">Budgets, <strong>${frame.shown}</strong></span>
    ${frame.budgets.map((budget) => html`<span class="budget" key=${budget.text} title="${budget.title}: ${budget.text}${budget.bound_text ? `, ${budget.bound_text}` : ""}">${withMinus(budget.text)} <${Mark} state=${budget.meets} /> <${Value} number=${budget.reached} /></span>`)}</div>`;
}

export function Message() {
  const text = message.value;
  useEffect(() => {
    const timer = setTimeout(() => { message.value = ""; }, MESSAGE_MS);
    return () => clearTimeout(timer);
  }, [text]);
  return html`<div class="message ${text ? "shown" : ""}" role="status" aria-live="polite">${text}${text ? html` <button type="button" aria-label="Close" onClick=${() => { message.value = ""; }}>✕</button>` : null}</div>`;
}

export function Help() {
  if (!isHelpOpen.value) return null;
  return html`<div class="dialog" role="dialog" aria-label="Keys"><h2>Keys</h2><dl class="facts">${KEYS.map(([key, text]) => html`<div key=${key}><dt><kbd>${key}</kbd></dt><dd>${text}</dd></div>`)}</dl><button type="button" autoFocus onClick=${() => { isHelpOpen.value = false; }}>Close</button></div>`;
}

/** Keys that work on every page. */
export function useKeys() {
  useEffect(() => {
    const onKey = (event) => {
      const isTyping = event.target instanceof Element && event.target.closest("input, textarea, select");
      if (event.key === "Escape") {
        if (isHelpOpen.value) isHelpOpen.value = false;
        else if (isTyping) event.target.blur();
        else go({ o: "", m: "", v: address.value.page === "overview" ? "" : address.value.v }, { replace: true });
      }
      if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "/") {
        event.preventDefault();
        document.querySelector("input[type=search]")?.focus();
      } else if (event.key === "?") isHelpOpen.value = !isHelpOpen.value;
      else if (/^[1-6]$/.test(event.key)) goTo(pageAddress(address.value, PAGES[Number(event.key) - 1]));
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, []);
  useEffect(() => {
    if (theme.value) document.documentElement.dataset.theme = theme.value;
    else delete document.documentElement.dataset.theme;
  }, [theme.value]);
}
