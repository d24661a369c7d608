/**
 * Draws a conversation: the items, what waits below them, and where the reader is.
 *
 * Events only note that something changed; drawing happens once a frame at most, and less often when a frame is
 * expensive, so that a fast agent cannot freeze the page. The view follows the end only while the reader is there.
 */

import { byId, h, setText } from "./dom.js";
import { viewOf } from "./item_view.js";

const PAGE_ITEMS = 150;
const NEAR_PX = 48;
/** Drawing may take this part of the time. */
const SHARE = 0.25;
const ANNOUNCED = 1_000;

export class TranscriptView {
  #scroller = byId("scroller");
  #list = byId("items");
  #earlier = byId("earlier");
  #latest = byId("latest");
  #working = byId("working");
  #announcer = byId("announcer");
  #actions;
  #draw;
  #transcript = null;
  #views = new Map();
  #open = new Set();
  #first = 0;
  #following = true;
  #lastTop = 0;
  #scheduled = false;
  #restUntil = 0;

  /**
   * @param {{answer: Function, retry: Function, resend: Function}} actions of the items
   * @param {() => void} draw draws everything of the conversation, this view included; called once a frame
   */
  constructor(actions, draw) {
    this.#actions = actions;
    this.#draw = draw;
    this.#scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.#latest.addEventListener("click", () => this.follow());
    this.#earlier.addEventListener("click", () => this.#showEarlier());
    new ResizeObserver(() => this.#following && this.#toEnd()).observe(this.#scroller);
  }

  /** Draw soon. Cheap, call it for every event. */
  schedule() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    const frame = () => requestAnimationFrame(() => this.#frame());
    const rest = this.#restUntil - performance.now();
    if (rest > 0) setTimeout(frame, rest);
    else frame();
  }

  #frame() {
    this.#scheduled = false;
    const started = performance.now();
    this.#draw();
    if (this.#following) this.#toEnd(); // lays out, so that the time measured is all of it
    const cost = performance.now() - started;
    this.#restUntil = started + cost / SHARE - 16;
  }

  /** Bring the page up to date with `transcript`. */
  render(transcript) {
    const other = transcript !== this.#transcript;
    this.#transcript = transcript;
    const { reset, changed } = transcript.takeChanges();
    if (other || reset) {
      this.#redraw(other);
    } else {
      for (const item of changed) this.#show(item);
    }
    this.#earlier.hidden = this.#first === 0;
  }

  /** Forget the conversation: it was somebody else's. */
  clear() {
    this.#transcript = null;
    this.#views.clear();
    this.#open.clear();
  }

  /** Say that work is going on, or not (null). `moving`: whether it can be seen to go on. */
  working(text, moving) {
    this.#working.hidden = text === null;
    this.#working.dataset.moving = String(moving);
    if (text !== null) setText(byId("working-text"), text);
  }

  /** Go to the end, and stay there. */
  follow() {
    this.#following = true;
    this.#toEnd();
  }

  focus() {
    this.#scroller.focus({ preventScroll: true });
  }

  #redraw(other) {
    const { items } = this.#transcript;
    this.#views.clear();
    this.#open.clear();
    this.#first = Math.max(0, items.length - PAGE_ITEMS);
    const nodes = items.slice(this.#first).map((item) => this.#view(item).node);
    this.#list.replaceChildren(...nodes);
    for (const item of items) if (item.open) this.#open.add(item.key);
    if (other) this.#following = true;
  }

  #view(item) {
    const view = viewOf(item, this.#actions);
    this.#views.set(item.key, view);
    return view;
  }

  #show(item) {
    const view = this.#views.get(item.key);
    if (view !== undefined) view.update(item);
    else if (!this.#isEarlier(item)) this.#list.append(this.#view(item).node);
    this.#announce(item);
  }

  /** Whether an item that has no view is one of those that are not shown yet, rather than a new one. */
  #isEarlier(item) {
    return this.#first > 0 && this.#transcript.items.indexOf(item) < this.#first;
  }

  #showEarlier() {
    const { items } = this.#transcript;
    const next = Math.max(0, this.#first - PAGE_ITEMS);
    const bottom = this.#scroller.scrollHeight - this.#scroller.scrollTop;
    this.#list.prepend(...items.slice(next, this.#first).map((item) => this.#view(item).node));
    this.#first = next;
    this.#earlier.hidden = next === 0;
    this.#scroller.scrollTop = this.#scroller.scrollHeight - bottom;
    if (next === 0) this.#scroller.focus({ preventScroll: true });
  }

  /** Read a message aloud once it is complete, not while it grows; a question and a failure at once. */
  #announce(item) {
    if (item.open) {
      this.#open.add(item.key);
      return;
    }
    const completed = this.#open.delete(item.key) && item.kind === "message" && item.role !== "user";
    if (completed) this.#say(item.text.slice(0, ANNOUNCED));
    else if (item.kind === "question" && item.answers === null) this.#say("The agent asks you something.");
    else if (item.kind === "error") this.#say("The answer failed.");
    else if (item.kind === "stopped") this.#say("The answer was stopped.");
  }

  #say(text) {
    const lines = [...this.#announcer.children].slice(-3);
    this.#announcer.replaceChildren(...lines, h("p", {}, text));
  }

  // --- where the reader is -------------------------------------------------------------------------------------------

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    const distance = scrollHeight - clientHeight - scrollTop;
    const upwards = scrollTop < this.#lastTop - 1;
    this.#lastTop = scrollTop;
    if (upwards && distance > 2) this.#following = false;
    else if (distance < NEAR_PX) this.#following = true;
    this.#latest.hidden = this.#following || distance < NEAR_PX;
  }

  #toEnd() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#lastTop = this.#scroller.scrollTop;
    this.#latest.hidden = true;
  }
}
