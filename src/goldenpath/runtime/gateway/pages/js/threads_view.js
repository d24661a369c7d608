/**
 * Draws the list of conversations, by day, with a link and a delete button each.
 */

import { byId, h, icon, setText } from "./dom.js";

const DAY_MS = 86_400_000;

export class ThreadsView {
  #groups = byId("thread-groups");
  #note = byId("threads-note");
  #more = byId("threads-more");
  #actions;
  #rows = new Map();
  #seen;

  /**
   * @param {{remove(thread: object): void, more(): void, seen(threadId: string): void}} actions `seen`: a conversation
   *   without a title has come into view
   */
  constructor(actions) {
    this.#actions = actions;
    this.#more.addEventListener("click", () => actions.more());
    this.#seen = new IntersectionObserver((entries) => {
      for (const { isIntersecting, target } of entries) if (isIntersecting) actions.seen(target.dataset.thread);
    });
  }

  /** @param {{threads: object[], current: string | null, hasMore: boolean, note: string, title(id: string): string | null}} facts */
  render({ threads, current, hasMore, note, title }) {
    const focused = this.#groups.contains(document.activeElement) ? document.activeElement : null;
    const rows = new Map();
    const groups = new Map();
    for (const thread of threads) {
      const row = this.#rows.get(thread.thread_id) ?? this.#row(thread);
      this.#update(row, thread, current, title(thread.thread_id));
      rows.set(thread.thread_id, row);
      const day = dayOf(new Date(thread.updated_at));
      groups.set(day, [...(groups.get(day) ?? []), row.node]);
    }
    for (const [id, row] of this.#rows) if (!rows.has(id)) this.#seen.unobserve(row.node);
    this.#rows = rows;
    this.#groups.replaceChildren(
      ...[...groups].map(([day, nodes]) => h("section", {}, h("h2", {}, day), h("ul", {}, ...nodes))),
    );
    if (focused?.isConnected) focused.focus({ preventScroll: true });
    this.#more.hidden = !hasMore;
    setText(this.#note, note);
    this.#note.hidden = note === "";
  }

  #row(thread) {
    const id = thread.thread_id;
    const link = h("a", { href: `#/t/${encodeURIComponent(id)}` });
    const title = h("span", { class: "thread-title" });
    const time = h("time", { class: "thread-time" });
    link.append(title, time);
    const remove = h("button", { type: "button", class: "icon-button", onclick: () => this.#actions.remove(thread) }, icon("trash"));
    const node = h("li", { class: "thread", "data-thread": id }, link, remove);
    this.#seen.observe(node);
    return { node, link, title, time, remove };
  }

  #update(row, thread, current, title) {
    const shown = title ?? "Conversation";
    setText(row.title, shown);
    setText(row.time, timeOf(new Date(thread.updated_at)));
    row.time.dateTime = thread.updated_at;
    row.link.title = shown;
    row.remove.setAttribute("aria-label", `Delete “${shown}”`);
    row.remove.title = "Delete";
    if (thread.thread_id === current) row.link.setAttribute("aria-current", "page");
    else row.link.removeAttribute("aria-current");
  }
}

function dayOf(date) {
  const today = new Date();
  today.setHours(0, 0, 0, 0);
  if (date >= today) return "Today";
  if (date >= new Date(today.getTime() - DAY_MS)) return "Yesterday";
  if (date >= new Date(today.getTime() - 7 * DAY_MS)) return "This week";
  return date.toLocaleDateString([], { month: "long", year: "numeric" });
}

function timeOf(date) {
  const recent = Date.now() - date.getTime() < DAY_MS;
  return recent
    ? date.toLocaleTimeString([], { hour: "numeric", minute: "2-digit" })
    : date.toLocaleDateString([], { day: "numeric", month: "short" });
}
