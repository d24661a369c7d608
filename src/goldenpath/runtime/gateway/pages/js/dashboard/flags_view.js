/**
 * The feature flags, each with a switch for everybody; finer rules are for the command line.
 */

import { byId, h, setText } from "../dom.js";
import { flagCall, flagState } from "./flags.js";
import { keepRows, note } from "./rows.js";

export class FlagsView {
  #list = byId("flags-list");
  #decide;
  #told = new Map();

  constructor(decide) {
    this.#decide = decide;
  }

  draw({ flags, problem }) {
    this.#told = new Map(flags.map((flag) => [flag.name, flag]));
    note(byId("flags-note"), problem === null ? null : `The file of flags cannot be used: ${problem}`);
    keepRows(this.#list, flags, {
      key: (flag) => flag.name,
      make: (flag) => this.#make(flag.name),
      update: (line, flag) => update(line, flag),
    });
  }

  #make(name) {
    const title = h("span", { class: "flag-name", id: `flag-${name}` });
    const more = h("span", { class: "flag-more", id: `flag-more-${name}` });
    const state = h("span", { class: "flag-state" });
    const knob = h("button", { type: "button", role: "switch", class: "switch-button", "aria-labelledby": `flag-${name}`, "aria-describedby": `flag-more-${name}` }, h("i"));
    knob.addEventListener("click", () => this.#flip(name, knob.getAttribute("aria-checked") !== "true"));
    const clear = h("button", { type: "button", class: "link", "aria-label": `Take the rule of ${name} away` }, "Default");
    clear.addEventListener("click", () => this.#flip(name, null));
    return h("li", { class: "flag" }, h("div", {}, title, more), h("div", { class: "flag-end" }, state, clear, knob));
  }

  async #flip(name, on) {
    const flag = this.#told.get(name);
    if (flag === undefined) return;
    const what = on === null ? "Back to the default" : on ? "Switch on" : "Switch off";
    const text = `${flag.description.replaceAll("`", "") || "A flag of the application."} This holds for everybody, at once.`;
    const question = { title: `${what}: ${name}?`, text, action: what, danger: on === false };
    await this.#decide(question, (why) => flagCall(flag, on, why));
  }

  clear() {
    this.#list.replaceChildren();
  }
}

function update(line, flag) {
  const { kind, text } = flagState(flag);
  const [title, more] = line.querySelectorAll(".flag-name, .flag-more");
  const knob = line.querySelector(".switch-button");
  setText(title, flag.name);
  const meaning = flag.description.replaceAll("`", "");
  setText(more, flag.rule === null ? meaning : `${meaning} Why: ${flag.rule.why}`);
  setText(line.querySelector(".flag-state"), text);
  line.dataset.kind = kind;
  knob.hidden = kind === "variant";
  knob.setAttribute("aria-checked", String(kind === "on"));
  line.querySelector(".link").hidden = flag.rule === null || (kind !== "partial" && kind !== "variant");
}
