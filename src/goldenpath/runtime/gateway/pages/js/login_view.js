/**
 * The first page: log in, or make an account.
 */

import { loginAdvice } from "./advice.js";
import { byId, setText } from "./dom.js";

const WORDS = {
  login: {
    title: "Welcome",
    lead: "Log in, and go on where you left off.",
    submit: "Log in",
    busy: "Logging in…",
    question: "New here?",
    other: "Create an account",
    password: "current-password",
  },
  register: {
    title: "Create your account",
    lead: "Your conversations are yours alone, and wait for you on every device.",
    submit: "Create account",
    busy: "Creating your account…",
    question: "Have an account already?",
    other: "Log in",
    password: "new-password",
  },
};
const MIN_PASSWORD = 8;

export class LoginView {
  #page = byId("login");
  #form = byId("login-form");
  #email = byId("email");
  #password = byId("password");
  #error = byId("login-error");
  #submit = byId("login-submit");
  #actions;
  /** @type {"login" | "register"} */
  #mode = "login";
  #busy = false;

  /** @param {{login(email: string, password: string): Promise<void>, register: Function}} actions */
  constructor(actions) {
    this.#actions = actions;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    byId("switch").addEventListener("click", () => this.#setMode(this.#mode === "login" ? "register" : "login"));
    const show = byId("password-show");
    show.addEventListener("click", () => {
      const shown = this.#password.type === "password";
      this.#password.type = shown ? "text" : "password";
      show.setAttribute("aria-pressed", String(shown));
      setText(show, shown ? "Hide" : "Show");
    });
  }

  /** Show the page; `notice` says why, where the user did not ask for it. */
  show(notice = "") {
    this.#page.hidden = false;
    this.#setMode("login");
    this.#say(notice);
    this.#password.value = "";
    (this.#email.value === "" ? this.#email : this.#password).focus();
  }

  hide() {
    this.#page.hidden = true;
    this.#password.value = "";
  }

  #setMode(mode) {
    this.#mode = mode;
    const words = WORDS[mode];
    setText(byId("login-title"), words.title);
    setText(byId("login-lead"), words.lead);
    setText(this.#submit, words.submit);
    setText(byId("switch-text"), words.question);
    setText(byId("switch"), words.other);
    byId("password-hint").hidden = mode === "login";
    this.#password.autocomplete = words.password;
    this.#say("");
  }

  async #send() {
    if (this.#busy) return;
    const email = this.#email.value.trim();
    const password = this.#password.value;
    const wrong = this.#check(email, password);
    if (wrong !== null) return this.#refuse(...wrong);
    this.#setBusy(true);
    try {
      await this.#actions[this.#mode](email, password);
    } catch (problem) {
      this.#refuse(loginAdvice(problem, this.#mode === "register"), this.#password);
    } finally {
      this.#setBusy(false);
    }
  }

  #check(email, password) {
    if (!this.#email.checkValidity() || email === "") return ["Give your e-mail address, like name@example.com.", this.#email];
    if (password === "") return ["Give your password.", this.#password];
    if (this.#mode === "register" && new TextEncoder().encode(password).length < MIN_PASSWORD) {
      return [`A password has at least ${MIN_PASSWORD} characters.`, this.#password];
    }
    return null;
  }

  #setBusy(busy) {
    this.#busy = busy;
    this.#submit.setAttribute("aria-disabled", String(busy));
    setText(this.#submit, WORDS[this.#mode][busy ? "busy" : "submit"]);
  }

  #refuse(text, input) {
    this.#say(text);
    for (const each of [this.#email, this.#password]) each.setAttribute("aria-invalid", String(each === input));
    input.focus();
  }

  #say(text) {
    setText(this.#error, text);
    this.#error.hidden = text === "";
    for (const each of [this.#email, this.#password]) each.removeAttribute("aria-invalid");
  }
}
