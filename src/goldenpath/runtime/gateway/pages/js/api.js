/**
 * The server's HTTP calls, with the login's token. A token that the server refuses is refreshed once; if the next one
 * is refused as well, the login has ended.
 */

import { Problem, request } from "./http.js";

export class Api {
  #fetch;
  #base;
  #session;

  /**
   * @param {{fetch: typeof fetch, base: string, session: import("./session.js").Session}} parts `base` is the address
   *   of the page: the API lives beside it.
   */
  constructor({ fetch, base, session }) {
    this.#fetch = fetch;
    this.#base = base;
    this.#session = session;
  }

  async register(email, password) {
    this.#session.start(await this.#plain("POST", "v1/auth/register", { email, password }), email);
  }

  async login(email, password) {
    this.#session.start(await this.#plain("POST", "v1/auth/login", { email, password }), email);
  }

  /** Log in with an access token that an identity provider made. Nobody here can renew it. */
  async bring(token) {
    const { user_id, email } = await request(this.#fetch, "GET", new URL("v1/auth/me", this.#base), { token });
    this.#session.start({ user_id, access_token: token, refresh_token: null, expires_in: null }, email ?? user_id);
  }

  /** End the login on the server and here. Here it ends in any case; rejects when the server was not told. */
  async logout() {
    try {
      await this.call("POST", "v1/auth/logout");
    } finally {
      this.#session.end("logout");
    }
  }

  /** Who is logged in; also the way to ask whether the server answers and the token is good. */
  me() {
    return this.call("GET", "v1/auth/me");
  }

  async agents() {
    return (await this.call("GET", "v1/agents")).agents;
  }

  /** A page of threads, newest first, and the cursor of the next page (null: there is none). */
  threads(cursor = null, limit = 30) {
    const query = new URLSearchParams({ limit: String(limit) });
    if (cursor !== null) query.set("cursor", cursor);
    return this.call("GET", `v1/threads?${query}`);
  }

  thread(threadId) {
    return this.call("GET", `v1/threads/${encodeURIComponent(threadId)}`);
  }

  messages(threadId) {
    return this.call("GET", `v1/threads/${encodeURIComponent(threadId)}/messages`);
  }

  /** How the thread's runs ended, where they did not just finish: what the messages do not say. */
  ends(threadId) {
    return this.call("GET", `v1/threads/${encodeURIComponent(threadId)}/ends`);
  }

  run(threadId, runId) {
    return this.call("GET", `v1/threads/${encodeURIComponent(threadId)}/runs/${encodeURIComponent(runId)}`);
  }

  deleteThread(threadId) {
    return this.call("DELETE", `v1/threads/${encodeURIComponent(threadId)}`);
  }

  #plain(method, path, body) {
    return request(this.#fetch, method, new URL(path, this.#base), { body });
  }

  /** Any call of the server; `path` is relative to the page. Rejects with `Problem`. */
  async call(method, path, body) {
    const url = new URL(path, this.#base);
    const user = this.#session.login?.user_id;
    const token = await this.#session.token();
    try {
      return await request(this.#fetch, method, url, { token, body });
    } catch (problem) {
      if (problem.status !== 401) throw problem;
    }
    const renewed = await this.#session.renew(token);
    if (this.#session.login?.user_id !== user) {
      throw new Problem({ code: "unauthorized", message: "Another user has logged in.", status: 401 });
    }
    try {
      return await request(this.#fetch, method, url, { token: renewed, body });
    } catch (problem) {
      if (problem instanceof Problem && problem.status === 401) this.#session.end("expired");
      throw problem;
    }
  }
}

/** The call that `Session` refreshes with. */
export function refreshCall(fetch, base) {
  return (refreshToken) =>
    request(fetch, "POST", new URL("v1/auth/refresh", base), { body: { refresh_token: refreshToken } });
}
