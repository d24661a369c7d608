/**
 * Draws Markdown, and goes on drawing while the text grows: only the last blocks are read and drawn again.
 */

import { copyButton, h } from "./dom.js";
import { parseBlocks } from "./markdown.js";

export class MarkdownView {
  /** Blocks on the page, in order: `{block, raw, start, node}`. */
  #drawn = [];
  #text = "";

  constructor() {
    this.node = h("div", { class: "prose" });
  }

  update(text) {
    if (text === this.#text) return;
    // Text at the end changes at most the last two blocks; any other change starts over.
    const kept = text.startsWith(this.#text) ? Math.max(0, this.#drawn.length - 2) : 0;
    this.#text = text;
    const stale = this.#drawn.splice(kept);
    const fresh = parseBlocks(text, stale[0]?.start ?? 0);
    fresh.forEach((block, index) => {
      const raw = text.slice(block.start, block.end);
      const old = stale[index];
      if (old === undefined) {
        const node = drawBlock(block);
        this.node.append(node);
        this.#drawn.push({ block, raw, start: block.start, node });
        return;
      }
      if (old.raw !== raw && !extend(old, block)) {
        const node = drawBlock(block);
        old.node.replaceWith(node);
        old.node = node;
      }
      this.#drawn.push({ block, raw, start: block.start, node: old.node });
    });
    for (const { node } of stale.slice(fresh.length)) node.remove();
  }
}

/** Add to a block that is on the page what is new at the end of its text, where that is all that changed. */
function extend({ block: old, node }, block) {
  const [before, after, element] = [growing(old), growing(block), node.querySelector("code") ?? node];
  if (before === null || after === null || old.type !== block.type || old.language !== block.language) return false;
  if (!after.startsWith(before) || !(element.lastChild instanceof Text)) return false;
  element.lastChild.appendData(after.slice(before.length));
  return true;
}

/** The text of a block that is nothing but text, else null. */
function growing(block) {
  if (block.type === "code") return block.text;
  const plain = block.type === "paragraph" && block.inline.length === 1 && typeof block.inline[0] === "string";
  return plain ? block.inline[0] : null;
}

function drawBlock(block) {
  switch (block.type) {
    case "heading":
      return h(`h${Math.min(block.level + 2, 6)}`, {}, ...drawInline(block.inline));
    case "code":
      return drawCode(block);
    case "list": {
      const items = block.items.map((blocks) => h("li", {}, ...drawItem(blocks)));
      return block.ordered ? h("ol", { start: block.first }, ...items) : h("ul", {}, ...items);
    }
    case "quote":
      return h("blockquote", {}, ...block.blocks.map(drawBlock));
    case "table":
      return drawTable(block);
    case "rule":
      return h("hr");
    default:
      return h("p", {}, ...drawInline(block.inline));
  }
}

/** A list item that is one paragraph needs no paragraph inside. */
function drawItem(blocks) {
  return blocks.flatMap((block, index) =>
    index === 0 && block.type === "paragraph" ? [h("span", { class: "line" }, ...drawInline(block.inline))] : [drawBlock(block)],
  );
}

function drawCode({ language, text }) {
  const code = h("code", {}, document.createTextNode(text));
  return h(
    "figure",
    { class: "code" },
    h("figcaption", {}, h("span", {}, language || "text"), copyButton(() => code.textContent, "Copy the code")),
    h("pre", { tabindex: 0, "aria-label": language ? `Code, ${language}` : "Code" }, code),
  );
}

function drawTable({ align, head, rows }) {
  const cell = (tag, inline, index) => h(tag, { class: align[index] }, ...drawInline(inline));
  return h(
    "div",
    { class: "table", tabindex: 0, role: "group", "aria-label": "Table" },
    h(
      "table",
      {},
      h("thead", {}, h("tr", {}, ...head.map((inline, index) => cell("th", inline, index)))),
      h("tbody", {}, ...rows.map((row) => h("tr", {}, ...row.map((inline, index) => cell("td", inline, index))))),
    ),
  );
}

const TAGS = { strong: "strong", emphasis: "em", strike: "s" };

function drawInline(nodes) {
  return nodes.map((node) => {
    if (typeof node === "string") return document.createTextNode(node);
    if (node.type === "code") return h("code", {}, node.text);
    if (node.type !== "link") return h(TAGS[node.type], {}, ...drawInline(node.children));
    const link = { href: node.href, target: "_blank", rel: "noopener noreferrer nofollow" };
    return h("a", link, ...drawInline(node.children));
  });
}
