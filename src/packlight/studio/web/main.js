/** The studio: one frame, six pages, one selection in the address. */
import { render } from "preact";
import { useEffect } from "preact/hooks";
import { Answered } from "./parts/common.js";
import { BudgetBar, Header, Help, Message, TITLES, useKeys } from "./parts/frame.js";
import { html } from "./parts/html.js";
import { address, answer, followServer } from "./parts/state.js";
import { Compare } from "./views/compare.js";
import { Diff } from "./views/diff.js";
import { LayersView } from "./views/layers.js";
import { Operators } from "./views/operators.js";
import { Overview } from "./views/overview.js";
import { WhatIf } from "./views/what_if.js";

const VIEWS = { overview: Overview, operators: Operators, "what-if": WhatIf, compare: Compare, layers: LayersView, diff: Diff };
const NEEDS_SPACE = "This page needs a wider screen, at least 700 pixels. Overview reads well here.";

function Studio() {
  useKeys();
  const frame = answer("frame");
  const page = address.value.page;
  useEffect(() => {
    if (frame.value) document.title = `${TITLES[page]} · ${frame.value.title} · packlight`;
  }, [page, frame.value]);
  return html`<${Answered} answer=${frame} lines=${10}>${(content) => html`<${Header} frame=${content} /><${BudgetBar} frame=${content} />
    <main id="main" tabIndex="-1" aria-label=${TITLES[page]}>${page === "overview" ? null : html`<p class="narrow-note">${NEEDS_SPACE}</p>`}<h1 class="hidden">${TITLES[page]}</h1><${VIEWS[page]} frame=${content} key=${page} /></main>
    <${Message} /><${Help} />`}<//>`;
}

const root = document.getElementById("studio");
if (root) {
  root.textContent = "";
  render(html`<${Studio} />`, root);
  followServer();
}
