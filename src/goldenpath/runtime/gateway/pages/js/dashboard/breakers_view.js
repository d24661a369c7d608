/**
 * What the server depends on, and whether it may be asked; with a switch that decides for the circuit breaker.
 */

import { byId, h } from "../dom.js";
import { number } from "./format.js";
import { fill, keepRows, note, row } from "./rows.js";
import { isOpen } from "./verdict.js";

const CHOICES = { automatic: "Decides itself", open: "Keep open: refuse all", closed: "Keep closed: let all through" };

export class BreakersView {
  #rows = byId("breakers-rows");
  #decide;
  #told = new Map();

  constructor(decide) {
    this.#decide = decide;
  }

  draw(breakers) {
    this.#told = new Map(breakers.map((each) => [each.dependency, each]));
    note(byId("breakers-note"), breakers.length > 0 ? null : "Nothing was asked lately.");
    byId("breakers-table").hidden = breakers.length === 0;
    keepRows(this.#rows, breakers, {
      key: (each) => each.dependency,
      make: (each) => this.#make(each.dependency),
      update: (line, { dependency, breaker, tenants_refused: users }) => {
        line.dataset.level = isOpen(breaker) ? "bad" : breaker.forced === "closed" ? "warn" : "good";
        const state = breaker.forced === null ? breaker.state.replace("_", "-") : `${breaker.forced}, decided`;
        const refused = users > 0 ? `${number(breaker.refused)}, and of ${number(users)} users` : number(breaker.refused);
        fill(line, [dependency, state, number(breaker.calls), number(breaker.failures), refused]);
        const select = line.querySelector("select");
        if (document.activeElement !== select) select.value = breaker.forced ?? "automatic";
      },
    });
  }

  #make(dependency) {
    const line = row("mono", "state", "figure more", "figure more", "figure more", "");
    const options = Object.entries(CHOICES).map(([value, text]) => h("option", { value }, text));
    const select = h("select", { "aria-label": `Circuit breaker of ${dependency}` }, ...options);
    select.addEventListener("change", () => this.#choose(dependency, select));
    line.lastElementChild.append(select);
    return line;
  }

  async #choose(dependency, select) {
    const decision = select.value;
    const text = {
      open: "Every call is refused at once: runs that need it end with an error.",
      closed: "Every call is let through, also while it fails.",
      automatic: "It decides again by how the calls go, from nothing.",
    }[decision];
    const question = { title: `${CHOICES[decision].split(":")[0]}: ${dependency}?`, text, action: "Decide", danger: decision === "open" };
    const path = `v1/admin/breakers/${encodeURIComponent(dependency)}`;
    await this.#decide(question, (why) => ({ method: "POST", path, body: { decision, why } }));
    select.value = this.#told.get(dependency)?.breaker.forced ?? "automatic"; // until the server says otherwise
  }

  clear() {
    this.#rows.replaceChildren();
  }
}
