/**
 * The first page: log in, make an account, or bring a token; whatever this server lets people do.
 */

import { loginAdvice } from "./advice.js";
import { byId, setText } from "./dom.js";

const WORDS = {
  login: {
    title: "Welcome",
    lead: "Log in, and go on where you left off.",
    submit: "Log in",
    busy: "Logging in…",
  },
  register: {
    title: "Create your account",
    lead: "Your conversations are yours alone, and wait for you on every device.",
    submit: "Create account",
    busy: "Creating your account…",
  },
  token: {
    title: "Welcome",
    lead: "", // names the identity providers
    submit: "Log in",
    busy: "Checking the token…",
  },
};
const MIN_PASSWORD = 8;

export class LoginView {
  #page = byId("login");
  #form = byId("login-form");
  #email = byId("email");
  #password = byId("password");
  #token = byId("token");
  #error = byId("login-error");
  #submit = byId("login-submit");
  #actions;
  /** Whether anybody may make an account. */
  #open = this.#page.dataset.registration === "open";
  /** Where people may get access tokens: the names of identity providers. */
  #providers = this.#page.dataset.issuers.split(" ").filter((issuer) => issuer !== "").map(nameOf);
  /** @type {"login" | "register" | "token"} */
  #mode = "login";
  #busy = false;
  #words;

  /**
   * @param {{login(email: string, password: string): Promise<void>, register: Function,
   *   token(token: string): Promise<void>}} actions
   * @param {{title?: string, lead?: string}} words what a page says instead of the chat's welcome
   */
  constructor(actions, words = {}) {
    this.#actions = actions;
    this.#words = { ...WORDS, login: { ...WORDS.login, ...words } };
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    for (const mode of ["login", "register", "token"]) {
      byId(`to-${mode}-button`).addEventListener("click", () => {
        this.#setMode(mode);
        this.#focus();
      });
    }
    const show = byId("password-show");
    show.addEventListener("click", () => {
      const shown = this.#password.type === "password";
      this.#password.type = shown ? "text" : "password";
      show.setAttribute("aria-pressed", String(shown));
      setText(show, shown ? "Hide" : "Show");
    });
    setText(byId("to-token-text"), `An account at ${this.#providerNames}?`);
  }

  /** Show the page; `notice` says why, where the user did not ask for it. */
  show(notice = "") {
    this.#page.hidden = false;
    this.#setMode(this.#providers.length > 0 && !this.#open ? "token" : "login");
    this.#say(notice);
    this.#forget();
    this.#focus();
  }

  hide() {
    this.#page.hidden = true;
    this.#forget();
  }

  get #providerNames() {
    return this.#providers.join(" or ");
  }

  /** The fields of the present mode. */
  get #inputs() {
    return this.#mode === "token" ? [this.#token] : [this.#email, this.#password];
  }

  #forget() {
    this.#password.value = "";
    this.#token.value = "";
  }

  #focus() {
    (this.#inputs.find((input) => input.value === "") ?? this.#inputs.at(-1)).focus();
  }

  #setMode(mode) {
    this.#mode = mode;
    const words = this.#words[mode];
    const byToken = mode === "token";
    setText(byId("login-title"), words.title);
    setText(byId("login-lead"), byToken ? `Your account is at ${this.#providerNames}. Bring an access token from there.` : words.lead);
    setText(this.#submit, words.submit);
    byId("token-field").hidden = !byToken;
    byId("email-field").hidden = byToken;
    byId("password-field").hidden = byToken;
    byId("password-hint").hidden = mode !== "register";
    this.#password.autocomplete = mode === "register" ? "new-password" : "current-password";
    byId("to-login").hidden = mode === "login";
    setText(byId("to-login-text"), byToken ? "An account of this server's own?" : "Have an account already?");
    byId("to-register").hidden = mode !== "login" || !this.#open;
    byId("to-token").hidden = byToken || this.#providers.length === 0;
    byId("closed").hidden = this.#open || this.#providers.length > 0;
    this.#say("");
  }

  async #send() {
    if (this.#busy) return;
    const values = this.#inputs.map((input) => input.value.trim());
    if (this.#mode === "token") values[0] = values[0].replace(/^bearer\s+/i, "");
    else values[1] = this.#password.value; // as it was typed
    const wrong = this.#check(...values);
    if (wrong !== null) return this.#refuse(...wrong);
    this.#setBusy(true);
    try {
      await this.#actions[this.#mode](...values);
    } catch (problem) {
      this.#refuse(loginAdvice(problem, this.#mode, this.#open), this.#inputs.at(-1));
    } finally {
      this.#setBusy(false);
    }
  }

  #check(first, password) {
    if (this.#mode === "token") {
      return /^[!-~]+$/.test(first) ? null : ["Paste the access token: one long word.", this.#token];
    }
    if (!this.#email.checkValidity() || first === "") return ["Give your e-mail address, like name@example.com.", this.#email];
    if (password === "") return ["Give your password.", this.#password];
    if (this.#mode === "register" && new TextEncoder().encode(password).length < MIN_PASSWORD) {
      return [`A password has at least ${MIN_PASSWORD} characters.`, this.#password];
    }
    return null;
  }

  #setBusy(busy) {
    this.#busy = busy;
    this.#submit.setAttribute("aria-disabled", String(busy));
    setText(this.#submit, this.#words[this.#mode][busy ? "busy" : "submit"]);
  }

  #refuse(text, input) {
    this.#say(text);
    for (const each of this.#inputs) each.setAttribute("aria-invalid", String(each === input));
    input.focus();
  }

  #say(text) {
    setText(this.#error, text);
    this.#error.hidden = text === "";
    for (const each of [this.#email, this.#password, this.#token]) each.removeAttribute("aria-invalid");
  }
}

/** What people know an identity provider by: its host. */
function nameOf(issuer) {
  return URL.canParse(issuer) ? new URL(issuer).host : issuer;
}
