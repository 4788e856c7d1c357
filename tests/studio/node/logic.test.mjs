// Pure modules of the studio's front end.
import assert from "node:assert/strict";
import { test } from "node:test";

const WEB = new URL("../../../src/packlight/studio/web/logic/", import.meta.url);
const { formatAddress, joined, listOf, pageAddress, parseAddress, requestAddress } = await load("address");
const { digits, plural, show, showSaved, withMinus } = await load("format");
const { changed, newHistory, patternOf, redone, splitChoice, undone, withChoice } = await load("history");
const { csv, filterRows, foldRows, formatRanges, histogram, parseRanges, parseSearch, sortRows, total, visibleRange } = await load("rows");
const { colorShares, extent, finite, ticks, viridis } = await load("scales");
const { differingSettings } = await load("settings");
const { centeredOn, fitView, nodeAt, parseView, shownPart, viewText, zoomedAt } = await load("view");

/** Modules are plain scripts of the browser; a data address lets node read them as modules. */
async function load(name) {
  const { readFile } = await import("node:fs/promises");
  const text = await readFile(new URL(`${name}.js`, WEB), "utf8");
  return import(`data:text/javascript;base64,${Buffer.from(text).toString("base64")}`);
}

test("an address comes back as it was written", () => {
  const values = { page: "operators", o: "a/b~c", q: "conv macs>1M", z: "1,2,3" };
  assert.deepEqual(parseAddress(formatAddress(values)), values);
  assert.equal(parseAddress("#/nowhere?x=1").page, "overview");
  assert.equal(parseAddress("").page, "overview");
});

test("the selection goes along from page to page, the rest stays behind", () => {
  assert.equal(pageAddress({ page: "operators", o: "a", q: "conv", model: "m" }, "diff"), "#/diff?model=m&o=a");
});

test("a request names its parts in order, as the offline file does", () => {
  assert.equal(requestAddress("graph", { open: "a,b", model: "x", z: "" }), "/api/graph?model=x&open=a%2Cb");
  assert.equal(requestAddress("graph", { open: "*" }), "/api/graph?open=%2A");
  assert.deepEqual(listOf(joined(["a", "b"])), ["a", "b"]);
});

test("numbers have three digits and a unit", () => {
  assert.equal(show(1_234_567, "B"), "1.23 MB");
  assert.equal(show(999_900, "B"), "1 MB");
  assert.equal(show(0.000_021, "s"), "21 µs");
  assert.equal(show(0.125, "%"), "12.5 %");
  assert.equal(show(null, "B"), "–");
  assert.equal(show(0, "1"), "0");
  assert.equal(digits(-0.5), "−0.5");
  assert.equal(showSaved(2000, "B"), "−2 kB");
  assert.equal(showSaved(-2000, "B"), "+2 kB");
  assert.equal(withMinus("-0.1 points [-0.2, 0.3]"), "−0.1 points [−0.2, 0.3]");
  assert.equal(plural(1, "row") + plural(2, "row"), "1 row2 rows");
});

test("a search has words and limits", () => {
  assert.deepEqual(parseSearch("Conv macs>1M bits<=8"), {
    words: ["conv"], limits: [{ column: "macs", sense: ">", value: 1e6 }, { column: "bits", sense: "<=", value: 8 }],
  });
  const rows = filterRows(["a conv", "b conv", "c relu"], { macs: [2e6, 10, null] }, parseSearch("conv macs>1M"), {});
  assert.deepEqual(rows, [0]);
  assert.deepEqual(filterRows(["a", "b", "c"], { macs: [1, 5, null] }, parseSearch(""), { macs: [2, 9] }), [1]);
});

test("rows are sorted with unknown numbers last", () => {
  assert.deepEqual(sortRows([0, 1, 2, 3], [5, null, 7, 5], true), [2, 0, 3, 1]);
  assert.deepEqual(sortRows([0, 1, 2, 3], [5, null, 7, 5], false), [0, 3, 2, 1]);
});

test("rows fold into modules, and a module of one row stays a row", () => {
  const modules = ["stem", "a", "a.b", "a.b", ""];
  const kinds = (lines) => lines.map((line) => (line.kind === "group" ? line.module : line.row));
  assert.deepEqual(kinds(foldRows([0, 1, 2, 3, 4], modules, new Set())), [0, "a", 4]);
  assert.deepEqual(kinds(foldRows([0, 1, 2, 3, 4], modules, new Set(["a"]))), [0, "a", 1, "a.b", 4]);
  assert.deepEqual(kinds(foldRows([2, 3], modules, new Set(["a", "a.b"]))), ["a", "a.b", 2, 3]);
});

test("a window of a long table draws few lines", () => {
  const [first, last] = visibleRange(28 * 5000, 420, 28, 10_000);
  assert.ok(first <= 5000 && last >= 5015 && last - first < 40);
  assert.deepEqual(visibleRange(0, 420, 28, 3), [0, 3]);
});

test("every number is in one bin of a histogram", () => {
  for (const column of [[1, 2, 3, 4], [0, 1, 10, 1e6], [-5, 0, 5], [3, null, 4]]) {
    const { edges, counts } = histogram(column, 8);
    assert.equal(counts.reduce((a, b) => a + b), column.filter((value) => value !== null).length);
    assert.ok(edges.every((edge, index) => index === 0 || edge >= edges[index - 1]));
  }
  assert.deepEqual(histogram([2, 2], 8).counts, []);
});

test("ranges come back from an address", () => {
  const ranges = { macs: [1, 2.5], bits: [4, 8] };
  assert.deepEqual(parseRanges(formatRanges(ranges)), ranges);
  assert.deepEqual(parseRanges("nonsense~a:b:c"), {});
});

test("totals follow the rows", () => {
  assert.equal(total([1, null, 4], [0, 1, 2]), 5);
  assert.equal(total([1, null, 4], [2]), 4);
});

test("a table is CSV that no spreadsheet computes", () => {
  assert.equal(csv(["a", "b"], [['x,"y"', 1.5], ["=1+1", null]]), 'a,b\r\n"x,""y""",1.5\r\n\'=1+1,\r\n');
});

test("ticks are round and lie within", () => {
  for (const [low, high] of [[0, 1], [-3, 17], [0.001, 0.0042], [1e6, 9e6]]) {
    const values = ticks(low, high);
    assert.ok(values.length >= 2 && values.length <= 12);
    assert.ok(values.every((value) => value >= low - 1e-9 && value <= high * 1.0001));
  }
  assert.deepEqual(extent([1, 1]), [0.9, 1.1]);
  assert.equal(finite("inf"), Infinity);
  assert.deepEqual(colorShares([0, null, 4]), [0, null, 1]);
  assert.equal(viridis(0), "rgb(68,1,84)");
});

test("what is undone can be redone, until something else is chosen", () => {
  let history = changed(changed(newHistory(), ["a=keep"]), ["a=keep", "b=keep"]);
  history = undone(history);
  assert.deepEqual(history.present, ["a=keep"]);
  assert.deepEqual(redone(history).present, ["a=keep", "b=keep"]);
  assert.deepEqual(changed(history, ["c=keep"]).future, []);
  assert.deepEqual(undone(undone(undone(history))).present, []);
});

test("a choice is split where its step begins", () => {
  assert.deepEqual(splitChoice("^a=b$=weights:4,block=32"), ["^a=b$", "weights:4,block=32"]);
  assert.deepEqual(splitChoice("stage3=keep"), ["stage3", "keep"]);
  assert.deepEqual(withChoice(["a=keep", "b=float16"], "a", "palette:4"), ["b=float16", "a=palette:4"]);
  assert.ok(new RegExp(patternOf(["a.b", "c+d"])).test("c+d"));
  assert.ok(!new RegExp(patternOf(["a.b"])).test("axb"));
});

test("zooming keeps the point under the pointer", () => {
  const view = { scale: 1, x: 10, y: 20 };
  const next = zoomedAt(view, 2, 110, 220);
  assert.equal((110 - view.x) / view.scale, (110 - next.x) / next.scale);
  assert.equal((220 - view.y) / view.scale, (220 - next.y) / next.scale);
  const centered = centeredOn(next, 50, 60, 400, 300);
  const part = shownPart(centered, 400, 300);
  assert.equal((part.left + part.right) / 2, 50);
  assert.deepEqual(parseView(viewText({ scale: 0.5, x: 3, y: -4 })), { scale: 0.5, x: 3, y: -4 });
  assert.equal(parseView("x"), null);
  assert.ok(fitView(1000, 500, 400, 300).scale < 0.4);
});

test("the node under a point is found among many", () => {
  const nodes = { x: [0, 100, 0], y: [0, 0, 50] };
  assert.equal(nodeAt(nodes, [0, 1, 2], 95, 3, 10, 5), 1);
  assert.equal(nodeAt(nodes, [0, 1, 2], 1, 48, 10, 5), 2);
  assert.equal(nodeAt(nodes, [0, 1, 2], 50, 0, 10, 5), -1);
});

test("settings that all share are left out", () => {
  const rows = differingSettings([{ settings: { bits: "8", per: "channel" } }, { settings: { bits: "4", per: "channel", block: "32" } }]);
  assert.deepEqual(rows, [{ setting: "bits", values: ["8", "4"] }, { setting: "block", values: ["–", "32"] }]);
});
