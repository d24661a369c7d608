/**
 * Says how the connection is, in words that change once a second at most, and aloud only when the kind changes.
 */

import { refusedAdvice, stopAdvice } from "./advice.js";
import { byId, setText } from "./dom.js";

const SPOKEN = {
  connected: "Connected.",
  waiting: "The connection was lost. Reconnecting.",
  offline: "You are offline.",
  stopped: "The connection was closed.",
};

export class StatusView {
  #pill = byId("link");
  #text = byId("link-text");
  #retry = byId("link-retry");
  #banner = byId("banner");
  #action = byId("banner-action");
  #spoken = "connected";
  #timer = null;
  #state = { kind: "connecting", refused: false };
  #advice = null;

  /** @param {{connect(): void, reload(): void}} actions */
  constructor(actions) {
    this.#retry.addEventListener("click", () => actions.connect());
    this.#action.addEventListener("click", () => {
      if (this.#advice?.action === "reload") actions.reload();
      else actions.connect();
    });
  }

  /** @param {import("./connection.js").State} state */
  show(state) {
    this.#state = state;
    clearInterval(this.#timer);
    this.#timer = state.kind === "waiting" ? setInterval(() => this.#draw(), 250) : null;
    this.#draw();
  }

  #draw() {
    const { kind, text } = this.#words();
    this.#pill.dataset.state = kind;
    setText(this.#text, text);
    this.#retry.hidden = this.#state.kind !== "waiting";
    this.#advice = this.#advise();
    this.#banner.hidden = this.#advice === null;
    if (this.#advice !== null) {
      setText(byId("banner-text"), this.#advice.text);
      setText(this.#action, this.#advice.action === "reload" ? "Reload the page" : "Try again");
    }
    if (SPOKEN[kind] === undefined || kind === this.#spoken) return;
    this.#spoken = kind;
    setText(byId("link-announcer"), SPOKEN[kind]);
  }

  #advise() {
    const { kind, code, refused } = this.#state;
    if (kind === "stopped") return code === 4401 ? null : stopAdvice(code);
    return refused ? { text: refusedAdvice(location.origin), action: "again" } : null;
  }

  #words() {
    switch (this.#state.kind) {
      case "connected":
        return { kind: "connected", text: "Connected" };
      case "waiting": {
        const seconds = Math.max(0, Math.ceil((this.#state.until - Date.now()) / 1000));
        const kind = navigator.onLine ? "waiting" : "offline";
        const when = seconds > 0 ? `in ${seconds} s` : "now";
        return { kind, text: kind === "offline" ? `Offline, trying ${when}` : `Reconnecting ${when}` };
      }
      case "stopped":
        return { kind: "stopped", text: "Disconnected" };
      default:
        return { kind: "connecting", text: "Connecting…" };
    }
  }
}
