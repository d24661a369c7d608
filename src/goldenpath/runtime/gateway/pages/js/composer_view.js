/**
 * Where messages are written: the text, the agent, send and stop. A draft is kept for each conversation until the tab
 * is closed.
 */

import { byId, h, setText } from "./dom.js";

const MAX_HEIGHT = 220;
const STOP_TITLES = { stopping: "Stopping…", away: "It can be stopped when the connection is back" };

export class ComposerView {
  #form = byId("composer");
  #text = byId("message");
  #agent = byId("agent");
  #send = byId("send");
  #stop = byId("stop");
  #note = byId("composer-note");
  #actions;
  #draftKey = "";

  /** @param {{send(text: string, agent: string): boolean, stop(): void, agent(name: string): void}} actions
   *    `send` answers whether the message was taken. */
  constructor(actions) {
    this.#actions = actions;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#text.addEventListener("input", () => this.#changed());
    this.#text.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#submit();
    });
    this.#agent.addEventListener("change", () => actions.agent(this.#agent.value));
    this.#stop.addEventListener("click", () => actions.stop());
  }

  /** Write for another conversation; its draft comes back. */
  open(draftKey) {
    this.#draftKey = draftKey;
    this.#text.value = read(draftKey);
    this.note("");
    this.#changed();
  }

  /** The conversation got its name after its first message: what is written from now on is a draft of it. */
  rename(draftKey) {
    write(this.#draftKey, "");
    this.#draftKey = draftKey;
  }

  setAgents(agents, selected) {
    this.#agent.replaceChildren(...agents.map(({ name }) => h("option", { value: name, selected: name === selected }, name)));
    this.#agent.disabled = agents.length < 2;
    this.#changed();
  }

  selectAgent(name) {
    if ([...this.#agent.options].some((option) => option.value === name)) this.#agent.value = name;
  }

  /** @param {"no" | "yes" | "stopping" | "away"} running `away`: something runs, and cannot be reached. */
  running(running) {
    const focused = document.activeElement === this.#stop;
    this.#stop.hidden = running === "no";
    this.#stop.disabled = running !== "yes";
    this.#stop.title = STOP_TITLES[running] ?? "Stop the answer";
    if (focused && running !== "yes") this.focus();
  }

  /** A sentence below the text, e.g. why it cannot be sent. */
  note(text) {
    setText(this.#note, text);
  }

  focus() {
    this.#text.focus({ preventScroll: true });
  }

  #submit() {
    const text = this.#text.value;
    if (text.trim() === "" || this.#agent.value === "") return;
    if (!this.#actions.send(text, this.#agent.value)) return;
    this.#text.value = "";
    this.note("");
    this.#changed();
    this.focus();
  }

  #changed() {
    this.#send.disabled = this.#text.value.trim() === "" || this.#agent.value === "";
    this.#text.style.height = "auto";
    this.#text.style.height = `${Math.min(this.#text.scrollHeight, MAX_HEIGHT)}px`;
    write(this.#draftKey, this.#text.value);
  }
}

function read(key) {
  return sessionStorage.getItem(key) ?? "";
}

function write(key, text) {
  if (key === "") return;
  try {
    if (text === "") sessionStorage.removeItem(key);
    else sessionStorage.setItem(key, text);
  } catch {
    // The storage is full: the draft lives as long as the page.
  }
}
