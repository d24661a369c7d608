/**
 * Folds the events of one thread into the items that show it. No DOM, no network: frames in, items out.
 *
 * It starts from the history, which is complete up to an event, and from how the runs in it ended; the events after it
 * continue the history, also in the middle of a message. `takeChanges` says what a view has to draw again.
 */

import { Chunks } from "./chunks.js";
import { HANDLERS, addResult, answerQuestion } from "./fold.js";
import { itemsOf, messageKey, resultOf, toolKey } from "./items.js";

export class Transcript {
  /** In the order in which they are shown. */
  items = [];
  /** The run that is active as far as the events say, else null. */
  activeRun = null;
  /** The agent's shared state; undefined while none is known. */
  state = undefined;
  /** Grows with every change of the state, which is changed in place. */
  stateVersion = 0;
  #byKey = new Map();
  #ended = new Set();
  #resumes = new Map();
  #chunks = new Chunks();
  #serial = 0;
  #changed = new Set();
  #reset = true;

  /** Start from a history. */
  load(messages) {
    this.#replace(messages.flatMap(itemsOf), messages);
  }

  /**
   * Show how the runs of a history ended that is complete up to event `seq`: each end after what its run said. What
   * ended later comes as an event.
   *
   * @param {{run_id: string, seq: number, event: object, after: string[], resume: object[] | null,
   *   answers: object[] | null}[]} ends in their order
   */
  settle(ends, seq) {
    const places = new Map(this.items.map((item, index) => [item.key, index + 1]));
    const placed = new Map();
    let place = 0;
    for (const { run_id: runId, event, after, resume, answers } of ends.filter((end) => end.seq <= seq)) {
      const known = after.flatMap((id) => [messageKey(id), toolKey(id)]).find((key) => places.has(key));
      place = Math.max(place, places.get(known) ?? 0);
      const items = placed.get(place) ?? [];
      placed.set(place, items);
      const last = () => items.at(-1) ?? this.items[place - 1];
      HANDLERS[event.type]({ ...this.#fold, add: (item) => items.push(item), last }, event, runId);
      if (resume !== null) this.#resumes.set(runId, resume);
      if (answers !== null) items.forEach((item) => answerQuestion(item, answers));
    }
    const settled = [undefined, ...this.items].flatMap((item, index) => [item, ...(placed.get(index) ?? [])]).slice(1);
    this.items = settled.filter((item) => (this.#byKey.get(item.key) ?? item) === item);
    for (const item of this.items) this.#byKey.set(item.key, item);
    this.#reset = true;
  }

  /**
   * Take what the thread's own record says: `runId` is running. For a history that begins in the middle of a run. Does
   * nothing when the run's end was seen meanwhile.
   */
  running(runId) {
    if (!this.#ended.has(runId)) this.activeRun = runId;
  }

  /** Whether the end of this run was seen here. */
  hasEnded(runId) {
    return this.#ended.has(runId);
  }

  /** What the run answered, where it was started to answer questions. */
  resumeOf(runId) {
    return this.#resumes.get(runId) ?? null;
  }

  /**
   * What to draw again: `reset` (everything), else the items in `changed`, which are new (always at the end) or differ.
   */
  takeChanges() {
    const changes = { reset: this.#reset, changed: this.#changed };
    this.#reset = false;
    this.#changed = new Set();
    return changes;
  }

  /** Have everything drawn again. */
  redraw() {
    this.#reset = true;
  }

  /** Fold one event frame. Types that are not known are left out. */
  apply({ run_id: runId, event }) {
    const isSnapshot = event.type === "MESSAGES_SNAPSHOT" && runId === null;
    const handler = HANDLERS[event.type];
    const terminal = event.type === "RUN_FINISHED" || event.type === "RUN_ERROR";
    if (runId !== null) this.activeRun = terminal ? null : runId;
    if (terminal) this.#end(runId);
    if (isSnapshot) this.#gap(event.messages);
    else if (handler !== undefined) handler(this.#fold, event, runId);
    else for (const expanded of this.#chunks.expand(event)) HANDLERS[expanded.type](this.#fold, expanded, runId);
  }

  /** What the handlers of fold.js may do. */
  #fold = {
    transcript: this,
    get: (key) => this.#byKey.get(key),
    add: (item) => this.#add(item),
    last: () => this.items.at(-1),
    next: (prefix) => `${prefix} ${++this.#serial}`,
    touch: (item) => this.#changed.add(item),
    snapshot: (messages) => this.#snapshot(messages),
    setState: (state) => {
      this.state = state;
      this.stateVersion += 1;
    },
    resumed: (runId, resume) => this.#resumes.set(runId, resume),
  };

  #add(item) {
    const known = this.#byKey.get(item.key);
    if (known !== undefined) return known;
    this.items.push(item);
    this.#byKey.set(item.key, item);
    this.#changed.add(item);
    return item;
  }

  /** Close what a run left open. */
  #end(runId) {
    this.#ended.add(runId);
    this.#chunks = new Chunks();
    for (let index = this.items.length - 1; index >= 0; index--) {
      const item = this.items[index];
      if (!item.open) continue;
      item.open = false;
      this.#changed.add(item);
    }
  }

  /** Events were lost: the snapshot is all there is, and whether a run is active is not known. */
  #gap(messages) {
    this.activeRun = null;
    this.#chunks = new Chunks();
    this.#replace(messages.flatMap(itemsOf), messages);
  }

  /**
   * An agent replaced the messages. Those that stay keep their places, and so does all that is no message; reasoning
   * and activities stay where the snapshot has none of their kind, because most agents leave them out.
   */
  #snapshot(messages) {
    const given = new Map(messages.flatMap(itemsOf).map((item) => [item.key, item]));
    const kinds = new Set([...given.values()].map((item) => item.kind));
    const replaced = new Set(["message", "tool", ...["reasoning", "activity"].filter((kind) => kinds.has(kind))]);
    const items = [];
    for (const item of this.items) {
      const fresh = given.get(item.key);
      given.delete(item.key);
      if (fresh !== undefined) items.push(fresh);
      else if (!replaced.has(item.kind)) items.push(item);
    }
    this.#replace([...items, ...given.values()], messages);
  }

  #replace(items, messages) {
    this.items = [];
    this.#byKey = new Map();
    for (const item of items) this.#add(item);
    for (const message of messages) addResult(this.#fold, resultOf(message));
    this.#changed = new Set();
    this.#reset = true;
  }
}
