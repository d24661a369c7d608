/**
 * What the live view has told so far: the samples of the last ten minutes as columns, and the sections. No DOM, no I/O.
 */

const KEPT = 600;

export class Feed {
  /** @type {Record<string, (number | null)[]>} By name, equally long; `time` in Unix seconds. */
  columns = { time: [] };
  /** @type {Record<string, any>} The sections by name, as they were told last. */
  sections = {};
  /** @type {Record<string, any> | null} The newest sample. */
  sample = null;
  /** Whether the server tells who users are. */
  identities = false;
  /** When something was told last, in milliseconds; null: never. */
  heard = null;

  /**
   * Take a frame in. Returns the names of the sections that it changed, null for a frame that is none of ours.
   *
   * @param {object} frame
   * @param {number} now milliseconds
   */
  take(frame, now) {
    if (frame.type === "history") {
      this.columns = frame.columns;
      this.identities = frame.identities;
    } else if (frame.type === "snapshot") {
      this.#add(frame.sample);
      Object.assign(this.sections, frame.sections);
    } else {
      return null;
    }
    this.heard = now;
    return Object.keys(frame.sections ?? {});
  }

  /** Whether nothing came for so long that what is shown is not of now. */
  stale(now, limit = 4_000) {
    return this.heard !== null && now - this.heard > limit;
  }

  #add(sample) {
    this.sample = sample;
    const times = this.columns.time;
    if (times.length > 0 && times[times.length - 1] >= sample.time) return; // the history had it already
    const before = times.length;
    for (const [name, value] of Object.entries(sample)) {
      this.columns[name] ??= new Array(before).fill(null);
      this.columns[name].push(value);
    }
    const over = times.length - KEPT;
    if (over > 0) for (const column of Object.values(this.columns)) column.splice(0, over);
  }
}
