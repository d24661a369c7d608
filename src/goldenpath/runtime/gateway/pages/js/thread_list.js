/**
 * The user's conversations, newest first, page by page. No DOM.
 */

export class ThreadList {
  /** Rows as the server gives them, newest first. */
  threads = [];
  /** Why the list could not be read, else null. */
  problem = null;
  #api;
  #cursor = null;
  #complete = false;
  #changed;
  #reading = null;

  /** @param {import("./api.js").Api} api @param {() => void} changed */
  constructor(api, changed) {
    this.#api = api;
    this.#changed = changed;
  }

  /** Whether there are older ones than those that were read. */
  get hasMore() {
    return this.#cursor !== null;
  }

  /** Whether the first page has been read. */
  get isKnown() {
    return this.#complete;
  }

  /** Read the newest page again; older pages that were read stay. Calls during a reading share one more after it. */
  refresh() {
    if (this.#reading !== null) {
      this.#reading.again = true;
      return;
    }
    const reading = { again: false };
    this.#reading = reading;
    this.#read(null).finally(() => {
      this.#reading = null;
      if (reading.again) this.refresh();
    });
  }

  /** Read the next page. */
  async more() {
    if (this.#cursor !== null) await this.#read(this.#cursor);
  }

  remove(threadId) {
    this.threads = this.threads.filter((thread) => thread.thread_id !== threadId);
    this.#changed();
  }

  async #read(cursor) {
    try {
      const page = await this.#api.threads(cursor);
      this.#take(page, cursor);
      this.problem = null;
    } catch (problem) {
      this.problem = problem;
    }
    this.#changed();
  }

  #take({ threads, next_cursor: next }, cursor) {
    const fresh = new Set(threads.map((thread) => thread.thread_id));
    const first = cursor === null;
    if (first) {
      const older = this.#olderThan(threads, next, fresh);
      if (older.length === 0) this.#cursor = next;
      this.threads = [...threads, ...older];
      this.#complete = true;
    } else {
      this.threads = [...this.threads.filter((thread) => !fresh.has(thread.thread_id)), ...threads];
      this.#cursor = next;
    }
  }

  /**
   * What stays of the older pages when the newest was read again: what is as new as that page and not in it is gone. If
   * nothing of the page was known before, there may be more between, and the older pages have to be read again.
   */
  #olderThan(threads, next, fresh) {
    if (next === null || !this.threads.some((thread) => fresh.has(thread.thread_id))) return [];
    const oldest = Date.parse(threads.at(-1).updated_at);
    return this.threads.filter((thread) => !fresh.has(thread.thread_id) && Date.parse(thread.updated_at) <= oldest);
  }
}
