/**
 * The login, shared by all tabs of this browser through one entry of localStorage.
 *
 * A refresh token may be used once (again within 5 s), so tabs must not refresh each with its own copy: whoever wants
 * to refresh takes a lock, looks into the storage again, and refreshes only if nobody else did meanwhile.
 */

import { Problem } from "./http.js";

const KEY = "goldenpath.session";
const LOCK = "goldenpath.session.refresh";
/** A token with less than this left is not worth sending. */
const SPARE_MS = 5_000;
/** Refresh this long before expiry; half the lifetime where that is shorter. */
const EARLY_MS = 90_000;
const RETRY_MS = 5_000;

/**
 * @typedef {{user_id: string, email: string, access_token: string, refresh_token: string | null, issued_at: number,
 *   expires_at: number | null}} Login Times are milliseconds since 1970. Both null: the access token is from elsewhere
 *   and good until the server refuses it.
 */

export class Session {
  #storage;
  #refresh;
  #clock;
  #locks;
  #listeners = new Set();
  #renewing = null;
  #timer = null;
  #seen = null;

  /**
   * @param {{storage: Storage, refresh: (refreshToken: string) => Promise<object>, clock: object,
   *   locks?: LockManager}} parts `refresh` makes the HTTP call; `locks` is absent where the page is not in a secure
   *   context: the server then forgives two refreshes within 5 s.
   */
  constructor({ storage, refresh, clock, locks }) {
    this.#storage = storage;
    this.#refresh = refresh;
    this.#clock = clock;
    this.#locks = locks;
    this.#seen = this.login?.access_token ?? null;
    this.#plan();
  }

  /** @returns {Login | null} null: nobody is logged in. */
  get login() {
    try {
      return JSON.parse(this.#storage.getItem(KEY) ?? "null");
    } catch {
      return null;
    }
  }

  /** Call `listener(login, reason)` after every change, whichever tab made it. `reason` says why a login ended. */
  onChange(listener) {
    this.#listeners.add(listener);
  }

  /** Take the tokens that a registration or a login answered, or one from elsewhere. */
  start(tokens, email) {
    this.#write(tokens, email);
  }

  /** Forget the login in every tab. */
  end(reason) {
    this.#storage.removeItem(KEY);
    this.#changed(reason);
  }

  /** Another tab changed the storage. */
  storageChanged() {
    this.#changed(null);
  }

  /** An access token that is still good. Rejects with `Problem`: `unauthorized` when the login has ended. */
  async token() {
    const login = this.login;
    if (login === null) throw ended();
    if (login.expires_at === null || login.expires_at - this.#clock.now() > SPARE_MS) return login.access_token;
    return this.renew(login.access_token);
  }

  /**
   * An access token other than `stale`, which the server refused or which is about to expire. Safe to call from many
   * places and tabs at once: one refresh serves them all.
   */
  async renew(stale) {
    const login = this.login;
    if (login === null) throw ended();
    if (login.access_token !== stale) return login.access_token;
    this.#renewing ??= this.#exclusive(() => this.#renew(stale)).finally(() => {
      this.#renewing = null;
    });
    return this.#renewing;
  }

  /**
   * The server warned that the socket's token ends in `seconds`. Where the login is not due for a refresh (a short
   * lifetime makes the warning come at once) the refresh waits, so that a warning never causes a loop.
   */
  expiring(seconds) {
    this.#plan(Math.max(0, seconds * 500));
  }

  #exclusive(action) {
    return this.#locks === undefined ? action() : this.#locks.request(LOCK, action);
  }

  async #renew(stale) {
    const before = this.login;
    if (before === null) throw ended();
    if (before.access_token !== stale) return before.access_token;
    if (before.refresh_token === null) {
      this.end("expired");
      throw ended();
    }
    let tokens;
    try {
      tokens = await this.#refresh(before.refresh_token);
    } catch (problem) {
      const now = this.login;
      if (now !== null && now.access_token !== stale) return now.access_token;
      if (problem.status === 401 && now !== null) this.end("expired");
      throw problem;
    }
    const now = this.login;
    if (now === null || now.user_id !== before.user_id) throw ended(); // logged out while the answer was under way
    this.#write(tokens, before.email);
    return tokens.access_token;
  }

  #write(tokens, email) {
    const now = this.#clock.now();
    /** @type {Login} */
    const login = {
      user_id: tokens.user_id,
      email,
      access_token: tokens.access_token,
      refresh_token: tokens.refresh_token,
      issued_at: now,
      expires_at: tokens.expires_in === null ? null : now + tokens.expires_in * 1000,
    };
    this.#storage.setItem(KEY, JSON.stringify(login));
    this.#changed(null);
  }

  #changed(reason) {
    const login = this.login;
    const token = login?.access_token ?? null;
    if (token === this.#seen) return;
    this.#seen = token;
    this.#plan();
    for (const listener of this.#listeners) listener(login, reason);
  }

  /** Set the timer of the next refresh: when it is due, and at the latest in `limit` milliseconds. */
  #plan(limit = Infinity) {
    this.#clock.clear(this.#timer);
    const login = this.login;
    if (login === null || login.expires_at === null) return;
    const lifetime = login.expires_at - login.issued_at;
    const due = login.issued_at + Math.max(lifetime - EARLY_MS, lifetime / 2);
    const wait = Math.min(Math.max(0, due - this.#clock.now()), limit);
    this.#timer = this.#clock.later(wait, () => this.#renewInTime(login.access_token));
  }

  #renewInTime(stale) {
    this.renew(stale).catch((problem) => {
      if (problem.status === 401 || this.login === null) return;
      this.#clock.clear(this.#timer);
      this.#timer = this.#clock.later(RETRY_MS, () => this.#renewInTime(stale));
    });
  }
}

function ended() {
  return new Problem({ code: "unauthorized", message: "You are not logged in.", status: 401 });
}
