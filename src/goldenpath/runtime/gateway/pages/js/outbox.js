/**
 * The runs this tab asked for and that have not begun: sent but not answered, queued behind another run, or refused.
 *
 * It is kept in sessionStorage, so that a reload in the wrong moment loses no message. Sending an entry again is
 * harmless, because the run id stays the same.
 */

/**
 * @typedef {{run_id: string, thread_id: string, agent: string, text: string | null, input: object | null,
 *   status: "waiting" | "accepted" | "withdrawn" | "refused", problem: object | null}} Entry
 *   `text` is what the user typed, null where the run answers a question or repeats another; `input` is then what is
 *   sent. `waiting`: no reply yet; `accepted`: the run has its place; `withdrawn`: it has, and will be stopped when its
 *   turn comes; `refused`: `problem` says why.
 */

export class Outbox {
  #storage;
  #key;
  /** @type {Entry[]} */
  #entries;

  /** Each user has an outbox of their own. */
  constructor(storage, userId) {
    this.#storage = storage;
    this.#key = `goldenpath.outbox.${userId}`;
    this.#entries = this.#read();
  }

  /** All entries, oldest first. */
  get entries() {
    return [...this.#entries];
  }

  /** Those of one thread, oldest first. */
  of(threadId) {
    return this.#entries.filter((entry) => entry.thread_id === threadId);
  }

  add({ run_id, thread_id, agent, text = null, input = null }) {
    const entry = { run_id, thread_id, agent, text, input, status: "waiting", problem: null };
    this.#entries.push(entry);
    this.#save();
    return entry;
  }

  /** Note what the server said; an entry that is gone meanwhile stays gone. */
  mark(runId, status, problem = null) {
    const entry = this.#entries.find((candidate) => candidate.run_id === runId);
    if (entry === undefined) return;
    entry.status = status;
    entry.problem = problem;
    this.#save();
  }

  /** The run began, or is not wanted any more. Returns the entry that was there, or undefined. */
  remove(runId) {
    const entry = this.#entries.find((candidate) => candidate.run_id === runId);
    if (entry === undefined) return undefined;
    this.#entries = this.#entries.filter((candidate) => candidate !== entry);
    this.#save();
    return entry;
  }

  removeThread(threadId) {
    this.#entries = this.#entries.filter((entry) => entry.thread_id !== threadId);
    this.#save();
  }

  /** Forget everything: the user has logged out. */
  clear() {
    this.#entries = [];
    this.#save();
  }

  /** The command that starts an entry's run. */
  static command(entry) {
    const { agent, thread_id, run_id, text, input } = entry;
    if (input === null) return { agent, thread_id, run_id, text };
    return { agent, thread_id, run_id, input: { ...input, threadId: thread_id, runId: run_id } };
  }

  #read() {
    try {
      return JSON.parse(this.#storage.getItem(this.#key) ?? "[]");
    } catch {
      return [];
    }
  }

  #save() {
    try {
      if (this.#entries.length === 0) this.#storage.removeItem(this.#key);
      else this.#storage.setItem(this.#key, JSON.stringify(this.#entries));
    } catch {
      // The storage is full: the entries live as long as the page.
    }
  }
}
