/**
 * The cursor of one thread: which events have been seen, and whether the next one fits. No I/O.
 *
 *     unborn --run accepted--> live            the thread does not exist yet: the first run makes it
 *     cut --attach sent--> attaching --reply--> live
 *                                    --reply with gap--> gap --snapshot--> live
 *     live --an event that is not the next one--> cut
 *     attaching, gap, live --socket lost--> cut
 */

export class Subscription {
  /**
   * @param {string} threadId
   * @param {{epoch: string | null, seq: number} | null} after the last event seen; null: the thread is unborn
   */
  constructor(threadId, after) {
    this.threadId = threadId;
    this.epoch = after?.epoch ?? null;
    this.seq = after?.seq ?? 0;
    /** @type {"unborn" | "cut" | "attaching" | "gap" | "live"} */
    this.phase = after === null ? "unborn" : "cut";
    /** Attaches since the last event that fitted; many in a row mean that something is wrong. */
    this.attempts = 0;
  }

  /** The attach command to send now; the phase becomes `attaching`. */
  attach() {
    this.phase = "attaching";
    this.attempts += 1;
    const after = this.epoch === null ? { seq: 0 } : { epoch: this.epoch, seq: this.seq };
    return { op: "attach", thread_id: this.threadId, after };
  }

  /** The reply to `attach`. */
  attached(reply) {
    this.epoch = reply.epoch;
    this.seq = reply.seq;
    this.phase = reply.gap ? "gap" : "live";
  }

  /** The reply to a `run` of this thread: where there was no subscription, it made one. */
  started(reply) {
    if (this.phase !== "unborn") return;
    this.attached(reply);
  }

  /** The thread turned out not to exist. */
  missing() {
    this.phase = "unborn";
    this.epoch = null;
    this.seq = 0;
  }

  /** The socket is gone. */
  cut() {
    if (this.phase !== "unborn") this.phase = "cut";
  }

  /**
   * Whether to apply an event frame. `reattach` moves the phase to `cut`: send `attach()` next.
   *
   * @returns {"apply" | "ignore" | "reattach"}
   */
  accept(frame) {
    if (this.phase === "live" && frame.seq === this.seq + 1) {
      this.seq = frame.seq;
      this.attempts = 0;
      return "apply";
    }
    if (this.phase === "gap" && frame.seq === this.seq && frame.event.type === "MESSAGES_SNAPSHOT") {
      this.phase = "live";
      this.attempts = 0;
      return "apply";
    }
    if (this.phase !== "live" && this.phase !== "gap") return "ignore"; // of a subscription that is no more
    this.phase = "cut";
    return "reattach";
  }
}
