"""How quick the studio's pages are with a model of 10,000 operators.

    python benchmarks/studio.py
    python benchmarks/studio.py --blocks 500 --runs 3

A generated network of residual blocks is opened by ``packlight studio`` in a process of its own,
and its pages by a headless Chromium that rasterizes in software. Times are milliseconds in the
browser, from the input to the frame that shows its effect. ``cold`` is the first time that the
server answers, ``warm`` a further browser.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from playwright.sync_api import Browser, Page, sync_playwright

BLOCKS = 2000
STAGE_BLOCKS = 100
CHANNELS = 24
SIDE = 8
OPSET, IR = 17, 8
SIZE = {"width": 1280, "height": 720}
ADDRESS = re.compile(r"http://\S+")
PATIENCE_MS = 600_000
FRAMES = 60

USABLE = """() => {
  const graph = document.querySelector('canvas[aria-label="Graph of operators"]');
  return Boolean(document.querySelector('[role=row][aria-rowindex]') && graph?.dataset.drawn);
}"""
FIRST_PAINT = """() => performance.getEntriesByType('paint')
  .find((entry) => entry.name === 'first-contentful-paint')?.startTime ?? 0"""
NOW = "() => performance.now()"
PAN = """async (frames) => {
  const graph = document.querySelector('canvas[aria-label="Graph of operators"]');
  const box = graph.getBoundingClientRect();
  const send = (type, x, y) => graph.dispatchEvent(new PointerEvent(type, {
    bubbles: true, clientX: x, clientY: y, pointerId: 1, isPrimary: true, buttons: 1 }));
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  graph.setPointerCapture = () => {};
  const times = [];
  const x = box.left + 200;
  let y = box.top + 30;
  send('pointerdown', x, y);
  let last = await frame();
  for (let index = 0; index < frames; index++) {
    y += 5;
    send('pointermove', x + (index % 7), y);
    const now = await frame();
    times.push(now - last);
    last = now;
  }
  send('pointerup', x, y);
  for (let index = 0; index < frames; index++) {
    const deltaY = index < frames / 2 ? -60 : 60;
    graph.dispatchEvent(new WheelEvent('wheel', { bubbles: true, cancelable: true, deltaY,
      clientX: x, clientY: box.top + 200 }));
    const now = await frame();
    times.push(now - last);
    last = now;
  }
  return times;
}"""
SELECT = """async (line) => {
  const canvases = [...document.querySelectorAll('canvas.canvas')];
  const drawn = canvases.map((canvas) => canvas.dataset.drawn);
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  const started = performance.now();
  document.querySelectorAll('[role=row][aria-rowindex]')[line].click();
  while (canvases.some((canvas, index) => canvas.dataset.drawn === drawn[index])) await frame();
  return performance.now() - started;
}"""
CHOOSE = """async ([line, step]) => {
  const costs = document.querySelector('[aria-label="Predicted costs"]');
  const before = costs.textContent;
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  const select = [...document.querySelectorAll('select.choice')][line];
  const started = performance.now();
  select.value = step;
  select.dispatchEvent(new Event('change', { bubbles: true }));
  await frame();
  while (costs.getAttribute('aria-busy') === 'true' || costs.textContent === before) await frame();
  await frame();
  return performance.now() - started;
}"""


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the table."""

    what: str
    milliseconds: float
    aim: str

    def row(self) -> str:
        """The row."""
        return f"| {self.what} | {self.milliseconds:,.0f} | {self.aim} |"


def write_model(path: Path, blocks: int) -> int:
    """Write a chain of residual blocks; the number of its operators."""
    random = np.random.default_rng(0)
    nodes = []
    weights = []
    value = "x"
    for block in range(blocks):
        name = f"stage{block // STAGE_BLOCKS}/block{block % STAGE_BLOCKS}"
        steps = (("Conv", 1), ("Relu", 0), ("Conv", 1), ("Add", 0), ("Relu", 0))
        start = value
        for index, (kind, has_weight) in enumerate(steps):
            inputs = [value]
            if has_weight:
                weight = f"{name}/w{index}"
                array = random.normal(0, 0.1, (CHANNELS, CHANNELS, 1, 1)).astype(np.float32)
                weights.append(numpy_helper.from_array(array, weight))
                inputs.append(weight)
            if kind == "Add":
                inputs.append(start)
            value = f"{name}/v{index}"
            nodes.append(helper.make_node(kind, inputs, [value], f"{name}/{kind.lower()}{index}"))
    shape = [1, CHANNELS, SIDE, SIDE]
    graph = helper.make_graph(
        nodes, "ten-thousand",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(value, TensorProto.FLOAT, shape)],
        weights,
    )  # fmt: skip
    opsets = [helper.make_opsetid("", OPSET)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=IR), path)
    return len(nodes)


@contextmanager
def studio(model: Path) -> Iterator[str]:
    """The address of a studio that shows the model."""
    command = [sys.executable, "-m", "packlight", "studio", str(model), "--no-browser"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        assert server.stdout is not None
        found = ADDRESS.search(server.stdout.readline())
        assert found is not None
        yield found[0]
        server.terminate()


def open_page(browser: Browser, address: str, page: str, is_ready: str) -> tuple[Page, float]:
    """A page in a new browser context, and the milliseconds until it can be used."""
    context = browser.new_context(viewport=SIZE, reduced_motion="reduce")
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE_MS)
    opened.goto(address)  # which leaves the token in a cookie
    opened.goto("about:blank")
    opened.goto(f"{address.partition('?')[0]}#/{page}")
    while not opened.evaluate(is_ready):
        time.sleep(0.01)
    return opened, float(opened.evaluate(NOW))


def percentile(times: list[float], share: float) -> float:
    """A percentile of milliseconds."""
    return float(np.quantile(times, share))


def figures(browser: Browser, address: str, runs: int) -> Iterator[Figure]:
    """Measure everything."""
    page, cold = open_page(browser, address, "operators?open=*", USABLE)
    yield Figure("operators, usable, cold", cold, "")
    page.context.close()
    paints = []
    uses = []
    for _ in range(runs):
        page, used = open_page(browser, address, "operators?open=*", USABLE)
        paints.append(float(page.evaluate(FIRST_PAINT)))
        uses.append(used)
        if len(uses) < runs:
            page.context.close()
    yield Figure("operators, first paint, warm", statistics.median(paints), "1,000")
    yield Figure("operators, table and graph usable, warm", statistics.median(uses), "2,000")
    times = page.evaluate(PAN, FRAMES)
    yield Figure("a frame of panning and zooming, median", percentile(times, 0.5), "")
    yield Figure("a frame of panning and zooming, 95th percentile", percentile(times, 0.95), "20")
    selections = [float(page.evaluate(SELECT, line)) for line in range(2, 2 + 3 * runs)]
    yield Figure("selection to linked repaint, median", statistics.median(selections), "60")
    page.context.close()
    ready = "() => document.querySelectorAll('select.choice').length > 0"
    page, cold = open_page(browser, address, "what-if?fold=off", ready)
    yield Figure("what if, usable, cold", cold, "")
    steps = ["weights:8", "float16"]
    first = float(page.evaluate(CHOOSE, [0, steps[0]]))
    yield Figure("what if on one operator, the first", first, "")
    choices = [float(page.evaluate(CHOOSE, [line, steps[line % 2]])) for line in range(1, 1 + runs)]
    yield Figure("what if on one operator, median", statistics.median(choices), "100")
    page.context.close()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--blocks", type=int, default=BLOCKS)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        count = write_model(path, arguments.blocks)
        print(f"{count:,} operators\n\n| what | ms | aim |\n| --- | --: | --: |")
        with sync_playwright() as playwright, studio(path) as address:
            browser = playwright.chromium.launch(
                executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
            )
            for figure in figures(browser, address, arguments.runs):
                print(figure.row(), flush=True)
            browser.close()


if __name__ == "__main__":
    main()
