import assert from "node:assert/strict";
import test from "node:test";

import { parseBlocks, parseInline, safeAddress } from "../../../src/goldenpath/runtime/gateway/pages/js/markdown.js";

const bare = (text) => parseBlocks(text).map(({ start, end, ...block }) => block);

/** All the text of a tree, in order. */
function flat(node) {
  if (typeof node === "string") return node;
  if (Array.isArray(node)) return node.map(flat).join("");
  const { text, inline, children, blocks, items, head, rows } = node;
  return [text, inline, children, blocks, items, head, rows].filter((part) => part !== undefined).map(flat).join("");
}

test("plain text is one paragraph, kept as it is", () => {
  assert.deepEqual(bare("one\n  two"), [{ type: "paragraph", inline: ["one\n  two"] }]);
});

test("blank lines separate paragraphs", () => {
  assert.deepEqual(bare("one\n\n\ntwo\n").map(flat), ["one", "two"]);
});

test("headings have a level and may be closed", () => {
  assert.deepEqual(bare("## Title ##"), [{ type: "heading", level: 2, inline: ["Title"] }]);
  assert.equal(bare("#tag")[0].type, "paragraph");
  assert.equal(flat(bare("# C#")), "C#");
});

test("a fenced block keeps its text as it is, closed or not", () => {
  assert.deepEqual(bare("```js\n**a**\n\n<b>\n```\nafter"), [
    { type: "code", language: "js", text: "**a**\n\n<b>", closed: true },
    { type: "paragraph", inline: ["after"] },
  ]);
  assert.deepEqual(bare("```\nopen"), [{ type: "code", language: "", text: "open", closed: false }]);
});

test("lists nest, and keep their first number", () => {
  const [list] = bare("3. three\n4. four\n   - inner\n   - more");
  assert.equal(list.ordered, true);
  assert.equal(list.first, 3);
  assert.equal(list.items.length, 2);
  assert.equal(list.items[1][1].type, "list");
  assert.equal(list.items[1][1].items.length, 2);
});

test("blank lines between items do not end the list, and text after it does", () => {
  const blocks = bare("- a\n\n- b\n\nafter");
  assert.deepEqual(blocks.map((block) => block.type), ["list", "paragraph"]);
  assert.equal(blocks[0].items.length, 2);
});

test("a sentence that breaks before a number is no list", () => {
  assert.deepEqual(bare("It was in\n1984. Or so.").map((block) => block.type), ["paragraph"]);
});

test("quotes hold blocks", () => {
  const [quote] = bare("> # T\n> text");
  assert.deepEqual(quote.blocks.map((block) => block.type), ["heading", "paragraph"]);
});

test("tables have as many cells in each row as in the head", () => {
  const [table] = bare("| a | b |\n|:--|--:|\n| 1 |\n| 2 | 3 | 4 |");
  assert.deepEqual(table.align, ["left", "right"]);
  assert.deepEqual(table.rows.map((row) => row.map(flat)), [["1", ""], ["2", "3"]]);
});

test("a rule is three marks or more", () => {
  assert.equal(bare("---")[0].type, "rule");
  assert.equal(bare("--")[0].type, "paragraph");
});

test("marks inside a line", () => {
  assert.deepEqual(parseInline("a **b *c*** `d*` ~~e~~"), [
    "a ",
    { type: "strong", children: ["b ", { type: "emphasis", children: ["c"] }] },
    " ",
    { type: "code", text: "d*" },
    " ",
    { type: "strike", children: ["e"] },
  ]);
});

test("what only looks like a mark stays text", () => {
  for (const text of ["2 * 3 * 4", "snake_case_name", "a ** b", "**open", "`open", "[a] (b)", "\\", "* *"]) {
    assert.deepEqual(parseInline(text), [text]);
  }
  assert.deepEqual(parseInline("\\*not\\*"), ["*not*"]);
});

test("links go to the web and to mail, and nowhere else", () => {
  assert.deepEqual(parseInline("[a](https://example.com/x)"), [
    { type: "link", href: "https://example.com/x", children: ["a"] },
  ]);
  for (const target of ["javascript:alert(1)", "data:text/html,x", "vbscript:x", "/relative", "file:///etc", "JaVaScRiPt:x"]) {
    assert.equal(safeAddress(target), null, target);
    assert.deepEqual(parseInline(`[a](${target})`).every((node) => typeof node === "string"), true, target);
  }
});

test("a bare address is a link without the full stop after it", () => {
  assert.deepEqual(parseInline("see https://example.com/a."), [
    "see ",
    { type: "link", href: "https://example.com/a", children: ["https://example.com/a"] },
    ".",
  ]);
});

test("no text is lost, whatever it holds", () => {
  const letters = ["<b>", "&amp;", "ä", "😀", "x"];
  for (const text of letters) assert.equal(flat(parseBlocks(`${text} ${text}`)), `${text} ${text}`);
});

/** A small seeded generator: failures can be repeated. */
function* numbers(seed) {
  for (let state = seed; ; ) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    yield state / 2 ** 32;
  }
}

test("text at the end changes at most the last two blocks", () => {
  const parts = ["a", "b c", "\n", "\n\n", "- ", "1. ", "2. ", "# ", "> ", "```", "```\n", "---", "|", "|-|", "  ", "*", "x|y\n", "\n    "];
  const random = numbers(7);
  for (let round = 0; round < 3000; round++) {
    let text = "";
    let before = [];
    for (let step = 0; step < 14; step++) {
      text += parts[Math.floor(random.next().value * parts.length)];
      const blocks = parseBlocks(text);
      const kept = before.slice(0, -2);
      assert.deepEqual(blocks.slice(0, kept.length), kept, JSON.stringify(text));
      const restart = blocks.at(-2)?.start ?? blocks.at(-1)?.start ?? 0;
      assert.deepEqual(parseBlocks(text, restart), blocks.slice(-2), JSON.stringify(text));
      before = blocks;
    }
  }
});

test("hostile texts take time in proportion to their length", () => {
  const size = 60_000;
  const texts = ["*a ", "**a", "_a ", "[", "[a](", "`", "``` ", "> ", "- ", "|", "https://a.", "# ", "\\", "~~", "*_", "(", "![", "1. "];
  for (const part of [...texts, `#${" ".repeat(size)}x`, `https://a${".".repeat(1900)}x `]) {
    const text = part.repeat(Math.ceil(size / part.length));
    const started = performance.now();
    parseBlocks(text);
    parseBlocks(text.replaceAll(" ", "\n"));
    assert.ok(performance.now() - started < 2000, `${JSON.stringify(part.slice(0, 20))} took too long`);
  }
});

test("what is looked for in vain is not looked for again at each place", () => {
  const rising = Array.from({ length: 2000 }, (_, index) => "`".repeat(index + 1)).join(" ");
  for (const text of [rising, "http://[".repeat(500_000)]) {
    const started = performance.now();
    assert.deepEqual(parseInline(text), [text]);
    assert.ok(performance.now() - started < 1500, `${text.slice(0, 20)} took ${performance.now() - started} ms`);
  }
});

test("code ends at a run of as many backticks, and what looks like an address but is none is text", () => {
  const code = (text) => ({ type: "code", text });
  assert.deepEqual(parseInline("`a``b` ``c`d`` `e``"), [code("a``b"), " ", code("c`d"), " `e``"]);
  assert.deepEqual(parseInline("\\`a`b`"), ["`a", code("b")]);
  const link = { type: "link", href: "https://example.com/", children: ["b"] };
  assert.deepEqual(parseInline("http://[a [b](https://example.com/)"), ["http://[a ", link]);
});
