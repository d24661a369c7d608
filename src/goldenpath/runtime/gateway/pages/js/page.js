/**
 * The parts of the page, built once. What the user does goes to `delegate`: the chat of whoever is logged in, or nobody.
 */

import { ComposerView } from "./composer_view.js";
import { byId, h, icon, setText } from "./dom.js";
import { OutboxView } from "./outbox_view.js";
import { SidebarView } from "./sidebar_view.js";
import { StatusView } from "./status_view.js";
import { ThreadsView } from "./threads_view.js";
import { TranscriptView } from "./transcript_view.js";
import { WelcomeView } from "./welcome_view.js";

const NOTICE_MS = 7_000;

export class Page {
  /** @type {import("./chat.js").Chat | null} */
  delegate = null;
  #state = { button: byId("state-button"), panel: byId("state-panel"), text: byId("state-text"), value: undefined, version: "" };

  constructor() {
    const to = (name) => (...facts) => this.delegate?.[name](...facts);
    this.transcript = new TranscriptView({ answer: to("answer"), retry: to("retry"), resend: to("resend") }, to("draw"));
    this.outbox = new OutboxView({ again: to("sendAgain"), drop: to("drop"), withdraw: to("withdraw"), takeBack: to("takeBack") });
    this.status = new StatusView({ connect: to("connect"), reload: () => location.reload() });
    this.composer = new ComposerView({ send: to("send"), stop: to("stop"), agent: to("chooseAgent") });
    this.threads = new ThreadsView({ remove: to("removeThread"), more: to("moreThreads"), seen: to("threadSeen") });
    this.welcome = new WelcomeView(to("chooseAgentCard"));
    this.sidebar = new SidebarView();
    byId("new").addEventListener("click", () => {
      this.sidebar.close();
      this.composer.focus();
    });
    byId("skip").addEventListener("click", () => this.composer.focus());
    this.#state.button.addEventListener("click", () => this.#toggleState());
  }

  /** Show or hide the chat as a whole. */
  show(shown) {
    byId("chat").hidden = !shown;
    if (shown) return;
    for (const id of ["items", "outbox", "thread-groups", "announcer"]) byId(id).replaceChildren();
    this.transcript.clear();
    this.state(undefined, "");
    this.title(null, "");
    this.account("");
    this.loadError(null);
    this.sidebar.close();
  }

  title(title, untitled) {
    setText(byId("title"), title ?? untitled);
    document.title = title === null ? "Goldenpath" : `${title} · Goldenpath`;
  }

  account(email) {
    setText(byId("account-email"), email);
    byId("account-email").title = email;
    setText(byId("account-badge"), email.slice(0, 1).toUpperCase());
  }

  loading(shown) {
    byId("loading").hidden = !shown;
  }

  /** Why the conversation could not be loaded, null to take it away. */
  loadError(advice, retry) {
    const box = byId("load-error");
    box.hidden = advice === null;
    if (advice === null) return box.replaceChildren();
    const again = h("button", { type: "button", class: "secondary", onclick: retry }, icon("again"), "Try again");
    box.replaceChildren(
      h("p", {}, icon("alert"), h("span", {}, h("strong", {}, "The conversation could not be loaded. "), `${advice.what} ${advice.next}`)),
      h("div", { class: "buttons" }, again),
    );
  }

  /** The agent's shared state; undefined: there is none. It is drawn again only when `version` is another one. */
  state(value, version) {
    if (version === this.#state.version) return;
    Object.assign(this.#state, { value, version });
    this.#state.button.hidden = value === undefined;
    if (value === undefined && !this.#state.panel.hidden) this.#toggleState();
    this.#drawState();
  }

  #drawState() {
    const { panel, text, value } = this.#state;
    setText(text, panel.hidden ? "" : (JSON.stringify(value, null, 2) ?? ""));
  }

  #toggleState() {
    const shown = this.#state.panel.hidden;
    this.#state.panel.hidden = !shown;
    this.#state.button.setAttribute("aria-expanded", String(shown));
    this.#drawState();
  }

  /** Tell something that needs no answer. */
  notice(text) {
    const line = h("p", { class: "notice" }, text);
    byId("notices").append(line);
    setTimeout(() => line.remove(), NOTICE_MS);
  }

  /** Ask whether to delete. Resolves to the answer. */
  confirmDelete(title) {
    const dialog = byId("confirm");
    setText(byId("confirm-text"), `“${title}” and everything in it will be gone, for good and on every device.`);
    dialog.returnValue = "no";
    dialog.showModal();
    return new Promise((resolve) => {
      dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
    });
  }
}
