/**
 * The titles of conversations: their first words. The server knows no titles, so each browser keeps those it has seen.
 */

const LONGEST = 80;
const KEPT = 500;

export class Titles {
  #storage;
  #key;
  #titles;

  constructor(storage, userId) {
    this.#storage = storage;
    this.#key = `goldenpath.titles.${userId}`;
    this.#titles = new Map(this.#read());
  }

  /** The title of a conversation, or null where it is not known. */
  of(threadId) {
    return this.#titles.get(threadId) ?? null;
  }

  /** Take the first words a user said as the title, if there is none. Answers whether that changed anything. */
  learn(threadId, text) {
    const characters = [...text.trim().replace(/\s+/g, " ")];
    const title = characters.length > LONGEST ? `${characters.slice(0, LONGEST - 1).join("").trimEnd()}…` : characters.join("");
    if (title === "" || this.#titles.has(threadId)) return false;
    this.#titles.set(threadId, title);
    if (this.#titles.size > KEPT) this.#titles.delete(this.#titles.keys().next().value);
    this.#save();
    return true;
  }

  forget(threadId) {
    if (this.#titles.delete(threadId)) this.#save();
  }

  /** Forget all: the user has logged out, and the next one shall not read them. */
  clear() {
    this.#titles.clear();
    this.#storage.removeItem(this.#key);
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
      this.#storage.setItem(this.#key, JSON.stringify([...this.#titles]));
    } catch {
      // The storage is full: titles are a comfort, not more.
    }
  }
}
