import assert from "node:assert/strict";
import test from "node:test";

import { ThreadList } from "../../../src/goldenpath/runtime/gateway/pages/js/thread_list.js";
import { settle } from "./manual_clock.mjs";

const PAGE = 3;

/** A server with threads that the test changes; pages hold three. */
class Threads {
  rows = [];
  reads = 0;
  list = new ThreadList({ threads: (cursor) => this.#page(cursor) }, () => {});

  /** Make it the newest. */
  touch(id) {
    const minute = String(++this.minutes).padStart(2, "0");
    this.rows = [{ thread_id: id, updated_at: `2030-01-01T00:${minute}:00Z` }, ...this.rows.filter((row) => row.thread_id !== id)];
  }

  minutes = 0;

  async #page(cursor) {
    this.reads += 1;
    const start = cursor === null ? 0 : this.rows.findIndex((row) => row.thread_id === cursor) + 1;
    const threads = this.rows.slice(start, start + PAGE);
    const more = start + PAGE < this.rows.length;
    return { threads, next_cursor: more ? threads.at(-1).thread_id : null };
  }

  get ids() {
    return this.list.threads.map((row) => row.thread_id).join("");
  }
}

async function read(letters, pages = 1) {
  const server = new Threads();
  for (const letter of [...letters].reverse()) server.touch(letter);
  server.list.refresh();
  await settle();
  for (let page = 1; page < pages; page++) await server.list.more();
  return server;
}

test("pages are read one after another until there are no more", async () => {
  const server = await read("abcdefg");
  assert.equal(server.ids, "abc");
  assert.equal(server.list.hasMore, true);
  await server.list.more();
  await server.list.more();
  assert.equal(server.ids, "abcdefg");
  assert.equal(server.list.hasMore, false);
});

test("a refresh brings new and moved threads to the top and keeps the older pages", async () => {
  const server = await read("abcdefg", 2);
  server.touch("e");
  server.touch("x");
  server.list.refresh();
  await settle();
  assert.equal(server.ids, "xeabcdf");
  await server.list.more();
  assert.equal(server.ids, "xeabcdfg");
});

test("a refresh drops what was deleted", async () => {
  const server = await read("abcdefg", 2);
  server.rows = server.rows.filter((row) => row.thread_id !== "b");
  server.list.refresh();
  await settle();
  assert.equal(server.ids, "acdef");
});

test("after so many new ones that a page holds none that was known, the list starts again", async () => {
  const server = await read("abcdef", 2);
  for (const letter of "wxyz") server.touch(letter);
  server.list.refresh();
  await settle();
  assert.equal(server.ids, "zyx");
  await server.list.more();
  assert.equal(server.ids, "zyxwab");
});

test("refreshes asked for during a refresh are one more", async () => {
  const server = await read("abc");
  for (let call = 0; call < 5; call++) server.list.refresh();
  await settle();
  assert.equal(server.reads, 3);
});

test("a failure is kept until the next reading succeeds", async () => {
  const list = new ThreadList({ threads: async () => { throw new Error("no"); } }, () => {});
  list.refresh();
  await settle();
  assert.equal(list.problem.message, "no");
  assert.equal(list.isKnown, false);
});
