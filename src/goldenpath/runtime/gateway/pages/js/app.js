/**
 * The page's beginning: builds its parts, and shows the login or the chat, whichever the login says.
 */

import { adviceFor } from "./advice.js";
import { Api, refreshCall } from "./api.js";
import { Chat } from "./chat.js";
import { systemClock } from "./clock.js";
import { byId } from "./dom.js";
import { LoginView } from "./login_view.js";
import { Page } from "./page.js";
import { Session } from "./session.js";

class App {
  #base = document.baseURI;
  #fetch = (...facts) => window.fetch(...facts);
  #session = new Session({
    storage: localStorage,
    refresh: refreshCall(this.#fetch, this.#base),
    clock: systemClock,
    locks: navigator.locks,
  });
  #api = new Api({ fetch: this.#fetch, base: this.#base, session: this.#session });
  #page = new Page();
  #loginView = new LoginView({
    login: (email, password) => this.#api.login(email, password),
    register: (email, password) => this.#api.register(email, password),
    token: (token) => this.#api.bring(token),
  });
  /** @type {Chat | null} */
  #chat = null;
  #userId = null;
  /** Where whoever logged out here was. */
  #left = { userId: null, hash: "#/" };

  start() {
    this.#session.onChange((login, reason) => this.#show(login, reason));
    addEventListener("storage", () => this.#session.storageChanged());
    addEventListener("hashchange", () => this.#chat?.route());
    addEventListener("online", () => this.#chat?.awake(true));
    addEventListener("offline", () => this.#chat?.awake(false));
    addEventListener("pageshow", (event) => event.persisted && this.#chat?.awake(true));
    document.addEventListener("visibilitychange", () => document.hidden || this.#chat?.awake(false));
    byId("logout").addEventListener("click", () => this.#logout());
    this.#show(this.#session.login, null);
  }

  #show(login, reason) {
    if (login !== null && login.user_id === this.#userId) return this.#chat.renewed(login);
    this.#chat?.close(reason === "logout");
    this.#chat = null;
    this.#userId = login?.user_id ?? null;
    if (login === null) {
      this.#loginView.show(reason === "expired" ? "Your login has ended. Log in again; nothing is lost." : "");
      document.title = "Goldenpath";
      return;
    }
    this.#loginView.hide();
    if (login.user_id === this.#left.userId) history.replaceState(null, "", this.#left.hash);
    this.#chat = new Chat({ login, api: this.#api, session: this.#session, page: this.#page, clock: systemClock });
    this.#chat.open();
  }

  async #logout() {
    this.#left = { userId: this.#userId, hash: location.hash };
    history.replaceState(null, "", "#/");
    try {
      await this.#api.logout();
    } catch (problem) {
      this.#page.notice(`You are logged out here. ${adviceFor(problem).what} It may not know it yet.`);
    }
  }
}

new App().start();
