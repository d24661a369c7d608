/**
 * A small, safe subset of Markdown, as data: text in, a tree of blocks out. No DOM, and no HTML: whatever is not
 * understood stays text.
 *
 * Blocks: paragraph, heading, list, quote, code, table, rule. Inside: strong, emphasis, strike, code, link, text.
 * All of it in time linear in the text (nesting is bounded), because the text comes from an agent and may be anything.
 */

const MAX_DEPTH = 6;

const FENCE = /^ {0,3}(```+|~~~+)[ \t]*([^`\s]*)/;
const HEADING = /^ {0,3}(#{1,6})[ \t]+(.*)$/;
const RULE = /^ {0,3}(?:-[ \t]*){3,}$|^ {0,3}(?:\*[ \t]*){3,}$|^ {0,3}(?:_[ \t]*){3,}$/;
const QUOTE = /^ {0,3}>[ ]?/;
const ITEM = /^( {0,3})([-*+]|(\d{1,9})[.)])([ \t]+)(?=\S)/;

/**
 * The blocks of `text` from `offset` on, which must be the start of a block. Each has `start` and `end`, its place in
 * `text`. Adding text at the end changes at most the last two blocks.
 */
export function parseBlocks(text, offset = 0) {
  const lines = [];
  for (let start = offset; start < text.length; ) {
    const newline = text.indexOf("\n", start);
    const end = newline < 0 ? text.length : newline;
    lines.push({ text: text.slice(start, end).replace(/\r$/, ""), start, end: newline < 0 ? end : end + 1 });
    start = newline < 0 ? text.length : newline + 1;
  }
  const found = [];
  for (let index = 0; index < lines.length; ) {
    if (lines[index].text.trim() === "") {
      index += 1;
      continue;
    }
    const { block, next } = blockAt(lines, index, 0);
    found.push({ ...block, start: lines[index].start, end: lines[next - 1].end });
    index = next;
  }
  return found;
}

function nested(texts, depth) {
  const lines = texts.map((text) => ({ text }));
  const blocks = [];
  for (let index = 0; index < lines.length; ) {
    if (lines[index].text.trim() === "") {
      index += 1;
      continue;
    }
    const { block, next } = blockAt(lines, index, depth);
    blocks.push(block);
    index = next;
  }
  return blocks;
}

function blockAt(lines, index, depth) {
  const { text } = lines[index];
  const fence = FENCE.exec(text);
  if (fence !== null) return codeAt(lines, index, fence);
  const heading = HEADING.exec(text);
  if (heading !== null) {
    const inline = parseInline(withoutClosingMarks(heading[2]));
    return { block: { type: "heading", level: heading[1].length, inline }, next: index + 1 };
  }
  if (RULE.test(text)) return { block: { type: "rule" }, next: index + 1 };
  if (depth < MAX_DEPTH && QUOTE.test(text)) return quoteAt(lines, index, depth);
  if (depth < MAX_DEPTH && ITEM.test(text)) return listAt(lines, index, depth);
  return tableAt(lines, index) ?? paragraphAt(lines, index, depth);
}

/** A heading may end with marks as well: `## Title ##`. */
function withoutClosingMarks(title) {
  const trimmed = title.trimEnd();
  let end = trimmed.length;
  while (end > 0 && trimmed[end - 1] === "#") end -= 1;
  const separate = end === 0 || /\s/.test(trimmed[end - 1]);
  return separate ? trimmed.slice(0, end).trimEnd() : trimmed;
}

function codeAt(lines, index, [, marks, language]) {
  let next = index + 1;
  while (next < lines.length && !closes(lines[next].text, marks)) next += 1;
  const code = lines.slice(index + 1, next).map((line) => line.text);
  const closed = next < lines.length;
  return { block: { type: "code", language, text: code.join("\n"), closed }, next: closed ? next + 1 : next };
}

function closes(text, marks) {
  const trimmed = text.trim();
  return trimmed.length >= marks.length && trimmed === marks[0].repeat(trimmed.length);
}

function quoteAt(lines, index, depth) {
  let next = index;
  const inner = [];
  while (next < lines.length && QUOTE.test(lines[next].text)) inner.push(lines[next++].text.replace(QUOTE, ""));
  return { block: { type: "quote", blocks: nested(inner, depth + 1) }, next };
}

function listAt(lines, index, depth) {
  const [, , marker, number] = ITEM.exec(lines[index].text);
  const ordered = number !== undefined;
  const items = [];
  let next = index;
  while (next < lines.length) {
    const match = ITEM.exec(lines[next].text);
    if (match === null || (match[3] !== undefined) !== ordered || RULE.test(lines[next].text)) break;
    if (!ordered && match[2] !== marker) break;
    const width = Math.min(match[0].length, match[1].length + match[2].length + 4);
    const inner = [lines[next++].text.slice(width)];
    next = itemEnd(lines, next, width, inner);
    items.push(nested(inner, depth + 1));
  }
  return { block: { type: "list", ordered, first: ordered ? Number(number) : 1, items }, next };
}

/** Collect the lines that belong to a list item into `inner`; returns the index of the first that does not. */
function itemEnd(lines, index, width, inner) {
  let next = index;
  let blank = 0;
  for (; next < lines.length; next++) {
    const { text } = lines[next];
    if (text.trim() === "") {
      blank += 1;
      continue;
    }
    const indent = text.length - text.trimStart().length;
    const indented = indent >= Math.min(width, 2);
    if (!indented && (blank > 0 || ITEM.test(text) || startsBlock(text))) break; // else a paragraph that goes on without indentation
    for (; blank > 0; blank--) inner.push("");
    inner.push(text.slice(indented ? Math.min(indent, width) : 0));
  }
  // Blank lines between two items belong to the list; before anything else they do not.
  return next < lines.length && ITEM.test(lines[next].text) ? next : next - blank;
}

function tableAt(lines, index) {
  if (index + 1 >= lines.length || !lines[index].text.includes("|")) return null;
  const marks = cells(lines[index + 1].text);
  const head = cells(lines[index].text);
  if (!lines[index + 1].text.includes("-") || marks.length !== head.length) return null;
  if (!marks.every((mark) => /^:?-+:?$/.test(mark))) return null;
  let next = index + 2;
  const rows = [];
  while (next < lines.length && lines[next].text.includes("|")) {
    const row = cells(lines[next++].text).slice(0, head.length);
    while (row.length < head.length) row.push("");
    rows.push(row.map((cell) => parseInline(cell)));
  }
  const align = marks.map((mark) => (mark.endsWith(":") ? (mark.startsWith(":") ? "center" : "right") : "left"));
  return { block: { type: "table", align, head: head.map((cell) => parseInline(cell)), rows }, next };
}

function cells(text) {
  let row = text.trim();
  if (row.startsWith("|")) row = row.slice(1);
  if (row.endsWith("|") && !row.endsWith("\\|")) row = row.slice(0, -1);
  return row.split(/(?<!\\)\|/).map((cell) => cell.replaceAll("\\|", "|").trim());
}

function paragraphAt(lines, index, depth) {
  let next = index + 1;
  while (next < lines.length) {
    const { text } = lines[next];
    if (text.trim() === "" || (depth < MAX_DEPTH ? startsBlock(text) : FENCE.test(text))) break;
    if (tableAt(lines, next) !== null) break;
    next += 1;
  }
  const text = lines.slice(index, next).map((line) => line.text);
  return { block: { type: "paragraph", inline: parseInline(text.join("\n")) }, next };
}

/** Whether a line cannot go on a paragraph. A number other than 1 can: a sentence may break before "1984." */
function startsBlock(text) {
  if (FENCE.test(text) || HEADING.test(text) || QUOTE.test(text) || RULE.test(text)) return true;
  const item = ITEM.exec(text);
  return item !== null && (item[3] === undefined || item[3] === "1");
}

// --- inside a block ----------------------------------------------------------------------------------------------------

const SPANS = [
  { mark: "**", type: "strong" },
  { mark: "__", type: "strong", word: true },
  { mark: "~~", type: "strike" },
  { mark: "*", type: "emphasis" },
  { mark: "_", type: "emphasis", word: true },
];
const SPECIAL = /[\\`*_~[]|https?:\/\//g;
/** The label has no brackets and the address no spaces or parentheses: then looking for it is never long. */
const LINK = /\[([^[\]]{1,1000})\]\(([^\s()]{1,2000})(?:[ ]"[^"]{0,200}")?\)/y;
const ADDRESS = /https?:\/\/[^\s<>"'`]{1,2000}/y;

/**
 * The nodes of a text inside one block: strings, and `{type, ...}` for what is marked.
 *
 * `known` is what was found out on the way, because looking again at each place would make it quadratic: marks that have
 * no end after the current place, where the runs of backticks are, and up to where there is no address.
 */
export function parseInline(text, depth = 0) {
  const nodes = [];
  const known = { hopeless: new Set(), backticks: null, addressFrom: 0 };
  let plain = "";
  let place = 0;
  const push = (node, end) => {
    if (plain !== "") nodes.push(plain);
    plain = "";
    nodes.push(node);
    place = end;
  };
  while (place < text.length) {
    SPECIAL.lastIndex = place;
    const special = SPECIAL.exec(text);
    if (special === null) break;
    plain += text.slice(place, special.index);
    place = special.index;
    const found = spanAt(text, place, depth, known);
    if (found === null) {
      plain += text[place];
      place += 1;
    } else if (typeof found.node === "string") {
      plain += found.node;
      place = found.end;
    } else {
      push(found.node, found.end);
    }
  }
  plain += text.slice(place);
  if (plain !== "") nodes.push(plain);
  return nodes;
}

function spanAt(text, place, depth, known) {
  switch (text[place]) {
    case "\\":
      return /[!-/:-@[-`{-~]/.test(text[place + 1] ?? "") ? { node: text[place + 1], end: place + 2 } : null;
    case "`":
      return codeSpanAt(text, place, known);
    case "[":
      return depth < MAX_DEPTH ? linkAt(text, place) : null;
    case "h":
      return depth < MAX_DEPTH ? addressAt(text, place, known) : null;
    default:
      return depth < MAX_DEPTH ? markedAt(text, place, depth, known.hopeless) : null;
  }
}

function codeSpanAt(text, place, known) {
  let width = 1;
  while (text[place + width] === "`") width += 1;
  known.backticks ??= backticksIn(text);
  const runs = known.backticks.get(width) ?? []; // none where the first of them was escaped
  while (runs.at(-1) < place + width) runs.pop();
  const end = runs.at(-1);
  if (end === undefined) return { node: "`".repeat(width), end: place + width };
  const inner = text.slice(place + width, end);
  const padded = inner.startsWith(" ") && inner.endsWith(" ") && inner.trim() !== "";
  return { node: { type: "code", text: padded ? inner.slice(1, -1) : inner }, end: end + width };
}

/** Where runs of backticks begin, by their length; the last first. */
function backticksIn(text) {
  const found = new Map();
  for (const { 0: run, index } of text.matchAll(/`+/g)) {
    if (!found.has(run.length)) found.set(run.length, []);
    found.get(run.length).push(index);
  }
  for (const places of found.values()) places.reverse();
  return found;
}

function linkAt(text, place) {
  LINK.lastIndex = place;
  const match = LINK.exec(text);
  if (match === null || match[1].trim() === "") return null;
  const href = safeAddress(match[2]);
  if (href === null) return null;
  return { node: { type: "link", href, children: parseInline(match[1], MAX_DEPTH) }, end: LINK.lastIndex };
}

function addressAt(text, place, known) {
  if (place < known.addressFrom) return null;
  ADDRESS.lastIndex = place;
  const match = ADDRESS.exec(text);
  if (match === null) return null;
  let length = match[0].length;
  while (".,;:!?)]}*_~".includes(match[0][length - 1])) length -= 1; // of the sentence around it
  const shown = match[0].slice(0, length);
  const href = safeAddress(shown);
  if (href === null) known.addressFrom = ADDRESS.lastIndex;
  return href === null ? null : { node: { type: "link", href, children: [shown] }, end: place + length };
}

/** The address if a browser may be sent there by a text: never `javascript:` and the like. Else null. */
export function safeAddress(address) {
  try {
    const url = new URL(address);
    return ["http:", "https:", "mailto:"].includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

function markedAt(text, place, depth, hopeless) {
  const span = SPANS.find(({ mark }) => text.startsWith(mark, place));
  if (span === undefined) return null;
  const { mark, type, word } = span;
  const inside = place + mark.length;
  if (hopeless.has(mark) || /\s/.test(text[inside] ?? " ")) return { node: mark, end: inside };
  if (word && /[\p{L}\p{N}]/u.test(text[place - 1] ?? "")) return { node: mark, end: inside }; // snake_case
  for (let end = text.indexOf(mark, inside + 1); end >= 0; end = text.indexOf(mark, end + 1)) {
    if (/\s/.test(text[end - 1])) continue;
    if (word && /[\p{L}\p{N}]/u.test(text[end + mark.length] ?? "")) continue;
    if (mark.length === 1 && (text[end + 1] === mark || text[end - 1] === mark)) continue;
    if (mark.length === 2 && text[end + 2] === mark[0]) end += 1; // of "***" the last two: one closes what is inside
    return { node: { type, children: parseInline(text.slice(inside, end), depth + 1) }, end: end + mark.length };
  }
  hopeless.add(mark);
  return { node: mark, end: inside };
}
