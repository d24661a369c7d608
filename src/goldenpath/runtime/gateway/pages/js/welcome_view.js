/**
 * What an empty conversation shows: who can answer, to choose from.
 */

import { byId, h, icon } from "./dom.js";

export class WelcomeView {
  #page = byId("empty");
  #cards = byId("agent-cards");
  #choose;

  /** `choose(name)` is called with the agent of the card that was pressed. */
  constructor(choose) {
    this.#choose = choose;
  }

  show(shown) {
    this.#page.hidden = !shown;
  }

  setAgents(agents, selected) {
    this.#cards.replaceChildren(...agents.map((agent) => this.#card(agent, agent.name === selected)));
  }

  selectAgent(name) {
    for (const card of this.#cards.children) card.setAttribute("aria-pressed", String(card.dataset.agent === name));
  }

  #card({ name, description }, selected) {
    return h(
      "button",
      { type: "button", class: "card", "data-agent": name, "aria-pressed": String(selected), onclick: () => this.#choose(name) },
      h("span", { class: "card-name" }, name, icon("check")),
      description ? h("span", { class: "card-text" }, description) : null,
    );
  }
}
