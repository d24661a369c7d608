/**
 * The question before every change: what happens, why, and only then does it.
 */

import { adviceFor } from "../advice.js";
import { byId, setText } from "../dom.js";

export class Decision {
  #dialog = byId("decision");
  #form = byId("decision-form");
  #why = byId("decision-why");
  #error = byId("decision-error");
  #yes = byId("decision-yes");
  #change = null;
  #busy = false;

  constructor() {
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#confirm();
    });
    byId("decision-no").addEventListener("click", () => this.#dialog.close());
  }

  /**
   * Ask, and call `change` with the reason once it is confirmed; where that rejects, the operator reads why and may try
   * again. Resolves when the question is gone.
   *
   * @param {{title: string, text: string, action: string, danger?: boolean}} question
   * @param {(why: string) => Promise<void>} change
   */
  ask({ title, text, action, danger = false }, change) {
    this.#change = change;
    setText(byId("decision-title"), title);
    setText(byId("decision-text"), text);
    setText(this.#yes, action);
    this.#yes.className = danger ? "danger" : "primary";
    this.#why.value = "";
    this.#say("");
    this.#dialog.showModal();
    return new Promise((resolve) => {
      this.#dialog.addEventListener("close", resolve, { once: true });
    });
  }

  clear() {
    this.#dialog.close();
  }

  async #confirm() {
    const why = this.#why.value.trim();
    if (why === "") {
      this.#say("Say why: it stands in the journal beside your name.");
      return this.#why.focus();
    }
    if (this.#busy) return;
    this.#busy = true;
    this.#yes.setAttribute("aria-disabled", "true");
    try {
      await this.#change(why);
      this.#dialog.close();
    } catch (problem) {
      this.#say(problem.status >= 400 && problem.status < 500 ? problem.message : adviceFor(problem).what);
    } finally {
      this.#busy = false;
      this.#yes.removeAttribute("aria-disabled");
    }
  }

  #say(text) {
    setText(this.#error, text);
    this.#error.hidden = text === "";
    this.#why.setAttribute("aria-invalid", String(text !== ""));
  }
}
