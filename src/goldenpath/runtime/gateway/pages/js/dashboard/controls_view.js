/**
 * What an operator can do to the server as a whole: the level of degradation, and roll-backs.
 */

import { byId, setText } from "../dom.js";
import { note } from "./rows.js";

const LEVELS = {
  automatic: "The server decides by its load.",
  normal: "Everything is taken, whatever the load.",
  shed_low: "New runs of the lowest tier are refused.",
  shed_most: "New runs of all tiers but the highest are refused.",
  refuse: "All new runs are refused; those at work go on.",
};
const ROLLBACKS = {
  flags: "Everything that is being rolled out goes off, and the kill switches of the time-outs go on. At once.",
  timeouts: "New runs get production's time-outs; running ones keep theirs.",
  code: "The deploy hook is called. This cannot be undone here.",
};

export class ControlsView {
  #level = byId("level");
  #decide;
  #now = "automatic";

  constructor(decide) {
    this.#decide = decide;
    this.#level.addEventListener("change", () => this.#setLevel());
    for (const level of Object.keys(ROLLBACKS)) byId(`rollback-${level}`).addEventListener("click", () => this.#rollBack(level));
    byId("rollback-undo").addEventListener("click", () => this.#undo());
  }

  draw({ degradation, rollback }) {
    if (degradation !== undefined) {
      this.#now = degradation.forced ? degradation.level : "automatic";
      if (document.activeElement !== this.#level) this.#level.value = this.#now;
      setText(byId("level-now"), `${degradation.level}: ${degradation.meaning}`);
      byId("level-now").dataset.level = degradation.level === "normal" ? "good" : "warn";
    }
    if (rollback === undefined) return;
    const inEffect = rollback.in_effect;
    setText(byId("rollback-now"), inEffect.length > 0 ? `Rolled back: ${inEffect.join(", ")}.` : "Nothing is rolled back.");
    byId("rollback-now").dataset.level = inEffect.length > 0 ? "warn" : "good";
    byId("rollback-undo").disabled = inEffect.length === 0;
    byId("rollback-code").disabled = rollback.deploy_hook !== "ready";
    byId("rollback-code").title = rollback.deploy_hook === "none" ? "No deploy hook is configured." : "";
    const triggers = Object.entries(rollback.triggers).map(([name, why]) => `${name} (${why})`);
    note(byId("rollback-triggers"), triggers.length > 0 ? `Called for by: ${triggers.join(", ")}` : null);
    setText(byId("rollback-automatic"), rollback.automatic ? "The server rolls back by itself where it must." : "The server does not roll back by itself.");
  }

  async #setLevel() {
    const level = this.#level.value;
    const question = { title: `Degradation: ${level}?`, text: LEVELS[level], action: "Set the level", danger: level === "refuse" };
    await this.#decide(question, (why) => ({ method: "POST", path: "v1/admin/degradation", body: { level, why } }));
    this.#level.value = this.#now;
  }

  #rollBack(level) {
    const question = { title: `Roll back the ${level}?`, text: ROLLBACKS[level], action: "Roll back", danger: true };
    return this.#decide(question, (why) => ({ method: "POST", path: "v1/admin/rollback", body: { level, why } }));
  }

  #undo() {
    const question = { title: "Undo the last roll-back?", text: "What it changed is as before, but for what was changed since.", action: "Undo" };
    return this.#decide(question, (why) => ({ method: "POST", path: "v1/admin/rollback/undo", body: { why } }));
  }
}
