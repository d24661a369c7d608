/**
 * The first line of the page: are users well served, and why not. Read aloud when the verdict changes, and only then.
 */

import { byId, h, setText } from "../dom.js";
import { ago } from "./format.js";
import { keepRows } from "./rows.js";
import { verdict } from "./verdict.js";

const TITLES = { good: "✓", warn: "!", bad: "✕", unknown: "?" };

export class VerdictView {
  #box = byId("verdict");
  #text = byId("verdict-text");
  #sign = byId("verdict-sign");
  #heard = byId("heard");
  #reasons = byId("reasons");

  /** @param {import("./feed.js").Feed} feed */
  draw(feed, connected, now) {
    const stale = feed.stale(now);
    const { level, text, reasons } = verdict(feed.sections, { connected, stale });
    this.#box.dataset.level = level;
    document.title = `${level === "good" || level === "unknown" ? "" : `(${reasons.length}) `}Goldenpath operators`;
    setText(this.#sign, TITLES[level]);
    setText(this.#text, text);
    byId("dashboard").dataset.stale = String(stale || !connected);
    setText(this.#heard, heard(feed.heard, stale || !connected, now));
    keepRows(this.#reasons, reasons, {
      key: (reason) => reason.text,
      make: (reason) => h("li", {}, h("a", { href: `#${reason.to}` }, reason.text)),
      update: (line, reason) => {
        line.dataset.level = reason.level;
      },
    });
    this.#reasons.hidden = reasons.length === 0;
  }

  clear() {
    this.#reasons.replaceChildren();
    setText(this.#text, "");
  }
}

function heard(at, old, now) {
  if (at === null) return "";
  return old ? `Shown as it was ${ago(now - at)}.` : "Live.";
}
