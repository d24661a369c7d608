/**
 * The operator page's beginning: shows the login, the word that this user is no operator, or the dashboard.
 */

import { adviceFor } from "../advice.js";
import { Api, refreshCall } from "../api.js";
import { systemClock } from "../clock.js";
import { byId, setText } from "../dom.js";
import { LoginView } from "../login_view.js";
import { Session } from "../session.js";
import { Dashboard } from "./dashboard.js";

const OPERATOR = "operator";

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
  #loginView = new LoginView(
    {
      login: (email, password) => this.#api.login(email, password),
      register: (email, password) => this.#api.register(email, password),
      token: (token) => this.#api.bring(token),
    },
    { title: "For operators", lead: "Log in to see how the server does, and to change it." },
  );
  /** @type {Dashboard | null} */
  #dashboard = null;
  #userId = null;

  start() {
    this.#session.onChange((login, reason) => this.#show(login, reason));
    addEventListener("storage", () => this.#session.storageChanged());
    addEventListener("online", () => this.#dashboard?.awake(true));
    addEventListener("pageshow", (event) => event.persisted && this.#dashboard?.awake(true));
    document.addEventListener("visibilitychange", () => document.hidden || this.#dashboard?.awake(false));
    for (const id of ["logout", "other-user"]) byId(id).addEventListener("click", () => this.#logout());
    byId("ask-again").addEventListener("click", () => this.#open(this.#session.login));
    this.#show(this.#session.login, null);
  }

  #show(login, reason) {
    if (login !== null && login.user_id === this.#userId) return this.#dashboard?.renewed(login);
    this.#dashboard?.close();
    this.#dashboard = null;
    this.#userId = login?.user_id ?? null;
    this.#part(login === null ? "login" : "none");
    if (login === null) return this.#loginView.show(reason === "expired" ? "Your login has ended. Log in again." : "");
    this.#open(login);
  }

  /** Ask the server who this is before anything is shown: a token does not say it here. */
  async #open(login) {
    if (login === null || this.#dashboard !== null) return;
    let me;
    try {
      me = await this.#api.me();
    } catch (problem) {
      if (this.#session.login?.user_id !== login.user_id) return; // the login has ended, which was told
      const { what, next } = adviceFor(problem);
      return this.#refuse(what, next, true);
    }
    if (this.#userId !== login.user_id || this.#dashboard !== null) return;
    if (!me.permissions.includes(OPERATOR)) {
      const who = me.email ?? me.user_id;
      return this.#refuse(`${who} is no operator.`, "Ask whoever runs this server for the permission, or log in as somebody else.", false);
    }
    this.#part("dashboard");
    this.#dashboard = new Dashboard({ login, api: this.#api, session: this.#session, clock: systemClock });
    this.#dashboard.open();
  }

  #refuse(what, next, again) {
    this.#part("refused");
    setText(byId("refused-what"), what);
    setText(byId("refused-next"), next);
    byId("ask-again").hidden = !again;
  }

  #part(shown) {
    if (shown !== "login") this.#loginView.hide();
    byId("refused").hidden = shown !== "refused";
    byId("dashboard").hidden = shown !== "dashboard";
  }

  async #logout() {
    try {
      await this.#api.logout();
    } catch {
      // here it has ended in any case
    }
  }
}

new App().start();
