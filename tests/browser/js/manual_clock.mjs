/** A clock that tests move by hand. */
export class ManualClock {
  #now = 1_000_000;
  #timers = new Map();
  #nextId = 1;

  now = () => this.#now;

  later = (ms, action) => {
    const id = this.#nextId++;
    this.#timers.set(id, { at: this.#now + ms, action });
    return id;
  };

  clear = (id) => {
    this.#timers.delete(id);
  };

  /** How long until the next timer, in milliseconds; null: there is none. */
  get next() {
    const times = [...this.#timers.values()].map((timer) => timer.at);
    return times.length === 0 ? null : Math.min(...times) - this.#now;
  }

  /** Let `ms` pass: every timer that is due is called at its time, and what it started is given a turn. */
  async advance(ms) {
    const end = this.#now + ms;
    for (;;) {
      const due = [...this.#timers].filter(([, timer]) => timer.at <= end).sort((a, b) => a[1].at - b[1].at)[0];
      if (due === undefined) break;
      this.#timers.delete(due[0]);
      this.#now = Math.max(this.#now, due[1].at);
      due[1].action();
      await settle();
    }
    this.#now = end;
    await settle();
  }
}

/** Let everything that only waits for promises run. */
export function settle() {
  return new Promise((resolve) => setImmediate(resolve));
}
