import assert from "node:assert/strict";
import test from "node:test";

import { Api } from "../../../src/goldenpath/runtime/gateway/pages/js/api.js";
import { Problem } from "../../../src/goldenpath/runtime/gateway/pages/js/http.js";
import { Session } from "../../../src/goldenpath/runtime/gateway/pages/js/session.js";
import { ManualClock, settle } from "./manual_clock.mjs";

/** localStorage as several tabs share it: a change is told to the other tabs. */
class SharedStorage {
  #values = new Map();
  tabs = [];

  view() {
    const tell = (from) => this.tabs.filter((tab) => tab !== from).forEach((tab) => tab.changed?.());
    const view = {
      getItem: (key) => this.#values.get(key) ?? null,
      setItem: (key, value) => {
        this.#values.set(key, value);
        tell(view);
      },
      removeItem: (key) => {
        this.#values.delete(key);
        tell(view);
      },
    };
    this.tabs.push(view);
    return view;
  }
}

/** One lock, as navigator.locks gives it to all tabs. */
class Locks {
  #last = Promise.resolve();

  request(_, action) {
    const turn = this.#last.then(action);
    this.#last = turn.catch(() => {});
    return turn;
  }
}

class Browser {
  clock = new ManualClock();
  storage = new SharedStorage();
  locks = new Locks();
  refreshes = [];
  answer = async () => tokens(this.refreshes.length + 1);

  tab({ locks = this.locks } = {}) {
    const storage = this.storage.view();
    const session = new Session({
      storage,
      refresh: (refreshToken) => {
        this.refreshes.push(refreshToken);
        return this.answer();
      },
      clock: this.clock,
      locks,
    });
    storage.changed = () => session.storageChanged();
    return session;
  }
}

const tokens = (number, lifetime = 900, user = "u") => ({
  user_id: user,
  access_token: `access ${number}`,
  refresh_token: `refresh ${number}`,
  token_type: "Bearer",
  expires_in: lifetime,
});
const refused = new Problem({ code: "unauthorized", message: "no", status: 401 });

test("a login is there in every tab, and told to them", () => {
  const browser = new Browser();
  const [one, two] = [browser.tab(), browser.tab()];
  const seen = [];
  two.onChange((login) => seen.push(login?.email ?? null));
  one.start(tokens(1), "a@example.com");
  assert.equal(two.login.access_token, "access 1");
  one.end("logout");
  assert.equal(two.login, null);
  assert.deepEqual(seen, ["a@example.com", null]);
});

test("a token is used as long as it is good", async () => {
  const browser = new Browser();
  const session = browser.tab();
  session.start(tokens(1), "a@example.com");
  assert.equal(await session.token(), "access 1");
  assert.deepEqual(browser.refreshes, []);
});

test("tokens are refreshed in time, 90 s before they end", async () => {
  const browser = new Browser();
  const session = browser.tab();
  session.start(tokens(1), "a@example.com");
  await browser.clock.advance(809_000);
  assert.deepEqual(browser.refreshes, []);
  await browser.clock.advance(1_000);
  assert.deepEqual(browser.refreshes, ["refresh 1"]);
  assert.equal(session.login.access_token, "access 2");
  assert.equal(session.login.email, "a@example.com");
});

test("two tabs whose time has come refresh once", async () => {
  const browser = new Browser();
  const [one, two] = [browser.tab(), browser.tab()];
  one.start(tokens(1), "a@example.com");
  await browser.clock.advance(810_000);
  assert.deepEqual(browser.refreshes, ["refresh 1"]);
  assert.equal(two.login.access_token, "access 2");
});

test("without locks two tabs may both ask, and both hold what the server answered", async () => {
  const browser = new Browser();
  browser.answer = async () => tokens(2);
  const [one, two] = [browser.tab({ locks: undefined }), browser.tab({ locks: undefined })];
  one.start(tokens(1), "a@example.com");
  const got = await Promise.all([one.renew("access 1"), two.renew("access 1")]);
  assert.deepEqual(got, ["access 2", "access 2"]);
});

test("many callers in one tab share one refresh", async () => {
  const browser = new Browser();
  const session = browser.tab();
  session.start(tokens(1), "a@example.com");
  const got = await Promise.all([1, 2, 3].map(() => session.renew("access 1")));
  assert.deepEqual(got, ["access 2", "access 2", "access 2"]);
  assert.equal(browser.refreshes.length, 1);
  assert.equal(await session.renew("access 1"), "access 2");
  assert.equal(browser.refreshes.length, 1);
});

test("a refused refresh ends the login, with the reason", async () => {
  const browser = new Browser();
  const session = browser.tab();
  session.start(tokens(1), "a@example.com");
  const reasons = [];
  session.onChange((login, reason) => reasons.push([login, reason]));
  browser.answer = async () => {
    throw refused;
  };
  await assert.rejects(session.renew("access 1"), { status: 401 });
  assert.deepEqual(reasons, [[null, "expired"]]);
});

test("an unreachable server ends no login: it is asked again", async () => {
  const browser = new Browser();
  const session = browser.tab();
  session.start(tokens(1), "a@example.com");
  browser.answer = async () => {
    throw Problem.unreachable();
  };
  await browser.clock.advance(810_000);
  assert.equal(session.login.access_token, "access 1");
  browser.answer = async () => tokens(2);
  await browser.clock.advance(5_000);
  assert.equal(session.login.access_token, "access 2");
});

test("logging out during a refresh wins", async () => {
  const browser = new Browser();
  const session = browser.tab();
  session.start(tokens(1), "a@example.com");
  let release;
  browser.answer = () => new Promise((resolve) => (release = () => resolve(tokens(2))));
  const renewed = session.renew("access 1");
  await settle();
  session.end("logout");
  release();
  await assert.rejects(renewed, { status: 401 });
  assert.equal(session.login, null);
});

test("the server's warning never makes a loop, however short the tokens live", async () => {
  const browser = new Browser();
  const session = browser.tab();
  browser.answer = async () => tokens(browser.refreshes.length + 1, 30);
  session.onChange((login) => login && session.expiring(30));
  session.start(tokens(1, 30), "a@example.com");
  await browser.clock.advance(60_000);
  assert.equal(browser.refreshes.length, 4);
});

test("the server's warning counts where the clocks differ", async () => {
  const browser = new Browser();
  const session = browser.tab();
  session.start(tokens(1), "a@example.com");
  session.expiring(60);
  await browser.clock.advance(30_000);
  assert.equal(browser.refreshes.length, 1);
});

// --- the API on top of it ------------------------------------------------------------------------------------------------

function api(session, answers) {
  const calls = [];
  const fetch = async (url, { method, headers }) => {
    calls.push(`${method} ${url.pathname}${url.search} ${headers.Authorization ?? "-"}`);
    const [status, body] = answers.shift();
    return new Response(body === null ? null : JSON.stringify(body), { status });
  };
  return { calls, api: new Api({ fetch, base: "https://example.com/", session }) };
}

test("a token refused in between is renewed, and the call made once more", async () => {
  const browser = new Browser();
  const session = browser.tab();
  session.start(tokens(1), "a@example.com");
  const server = api(session, [[401, {}], [200, { agents: [] }]]);
  assert.deepEqual(await server.api.agents(), []);
  assert.deepEqual(server.calls, ["GET /v1/agents Bearer access 1", "GET /v1/agents Bearer access 2"]);
});

test("a login that the server ended is over here as well", async () => {
  const browser = new Browser();
  const session = browser.tab();
  session.start(tokens(1), "a@example.com");
  const server = api(session, [[401, {}], [401, {}]]);
  await assert.rejects(server.api.agents(), { status: 401 });
  assert.equal(session.login, null);
});

test("a call is never repeated for another user who logged in meanwhile", async () => {
  const browser = new Browser();
  const session = browser.tab();
  session.start(tokens(1), "a@example.com");
  const other = browser.tab();
  const server = api(session, []);
  const failing = new Api({
    fetch: async () => {
      other.end("logout");
      other.start(tokens(7, 900, "someone else"), "b@example.com");
      return new Response("{}", { status: 401 });
    },
    base: "https://example.com/",
    session,
  });
  await assert.rejects(failing.deleteThread("t"), { status: 401 });
  assert.deepEqual(server.calls, []);
  assert.equal(session.login.user_id, "someone else");
});

test("logging out ends the login here even if the server cannot be told", async () => {
  const browser = new Browser();
  const session = browser.tab();
  session.start(tokens(1), "a@example.com");
  const unreachable = new Api({
    fetch: async () => {
      throw new TypeError("network");
    },
    base: "https://example.com/",
    session,
  });
  await assert.rejects(unreachable.logout(), { code: "unreachable" });
  assert.equal(session.login, null);
});

test("a problem document says what is wrong and when to try again", async () => {
  const browser = new Browser();
  const session = browser.tab();
  session.start(tokens(1), "a@example.com");
  const body = { code: "rate_limited", detail: "too many", retryable: true, retry_after: 3 };
  const server = api(session, [[429, body]]);
  const facts = { code: "rate_limited", message: "too many", retryable: true, retryAfter: 3, status: 429 };
  await assert.rejects(server.api.threads("c"), facts);
  assert.deepEqual(server.calls, ["GET /v1/threads?limit=30&cursor=c Bearer access 1"]);
});

test("a page that a proxy puts in the way is a problem, not an answer", async () => {
  const browser = new Browser();
  const session = browser.tab();
  session.start(tokens(1), "a@example.com");
  const proxied = new Api({ fetch: async () => new Response("<html>", { status: 200 }), base: "https://example.com/", session });
  await assert.rejects(proxied.agents(), { code: "internal" });
});

test("a token from elsewhere is good until the server refuses it, and then the login has ended", async () => {
  const browser = new Browser();
  const session = browser.tab();
  const ends = [];
  session.start({ user_id: "u", access_token: "brought", refresh_token: null, expires_in: null }, "u@example.com");
  session.onChange((login, reason) => ends.push([login, reason]));
  session.expiring(0);
  await browser.clock.advance(365 * 86_400_000);
  await settle();
  assert.equal(await session.token(), "brought");
  await assert.rejects(session.renew("brought"), { code: "unauthorized" });
  assert.deepEqual(ends, [[null, "expired"]]);
  assert.deepEqual(browser.refreshes, []);
});
