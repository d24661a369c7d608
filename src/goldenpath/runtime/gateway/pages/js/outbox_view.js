/**
 * Draws what was asked for and has not begun: it stands below the transcript, where it will appear in it.
 */

import { adviceFor } from "./advice.js";
import { byId, h, icon } from "./dom.js";

export class OutboxView {
  #list = byId("outbox");
  #actions;
  #drawn = "";

  /** @param {{again(runId: string): void, drop(runId: string): void, withdraw(runId: string): void,
   *   takeBack(runId: string): void}} actions `withdraw` what the server has accepted, `takeBack` what it has not */
  constructor(actions) {
    this.#actions = actions;
  }

  /** @param {{connected: boolean, busy: boolean}} facts */
  render(entries, { connected, busy }) {
    const state = JSON.stringify([entries.map(({ run_id, status }) => [run_id, status]), connected, busy]);
    if (state === this.#drawn) return;
    this.#drawn = state;
    this.#list.replaceChildren(...entries.map((entry) => this.#draw(entry, connected, busy)));
  }

  #draw(entry, connected, busy) {
    const bubble = entry.text === null ? null : h("div", { class: "bubble waiting" }, entry.text);
    return h(
      "li",
      { class: "item from-user", "data-status": entry.status },
      h("h2", { class: "visually-hidden" }, "You, not begun yet"),
      bubble,
      this.#status(entry, connected, busy),
    );
  }

  #status(entry, connected, busy) {
    if (entry.status === "refused") return this.#refusal(entry);
    if (entry.status === "withdrawn") return h("p", { class: "sent-note" }, "Withdrawn.");
    if (entry.status === "accepted") {
      const withdraw = h("button", { type: "button", class: "link", onclick: () => this.#actions.withdraw(entry.run_id) }, "Withdraw");
      return h("p", { class: "sent-note" }, busy ? "Queued: it is next when this answer is complete. " : "Accepted. ", withdraw);
    }
    const what = entry.text === null ? "Sending your answer…" : "Sending…";
    if (connected) return h("p", { class: "sent-note" }, what);
    const back = h("button", { type: "button", class: "link", onclick: () => this.#actions.takeBack(entry.run_id) }, "Withdraw");
    return h("p", { class: "sent-note" }, "Will be sent when the connection is back. ", back);
  }

  #refusal(entry) {
    const { what, next, detail, again } = adviceFor(entry.problem);
    const button = h("button", { type: "button", class: "secondary", onclick: () => this.#actions.again(entry.run_id) }, icon("again"), "Try again");
    return h(
      "div",
      { class: "callout error", role: "alert" },
      h("p", {}, icon("alert"), h("span", {}, h("strong", {}, `Not sent. ${what}`), " ", next)),
      h("p", { class: "detail" }, detail),
      h(
        "div",
        { class: "buttons" },
        again ? button : null,
        h("button", { type: "button", class: "link", onclick: () => this.#actions.drop(entry.run_id) }, "Discard"),
      ),
    );
  }
}
