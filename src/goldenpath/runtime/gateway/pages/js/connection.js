/**
 * The WebSocket: one for the page. Keeps the subscriptions' cursors, comes back after a cut, and repeats the commands
 * that were not answered.
 *
 * Nothing is lost and nothing doubled because of three rules: an event is passed on only if it is the next one of its
 * thread; after every cut each thread is attached after its last event; a `run` or `cancel` without an answer is sent
 * again, which is harmless because the client named the run.
 */

import { Commands } from "./commands.js";
import { Problem } from "./http.js";
import { afterClose, delay } from "./reconnect.js";
import { Subscription } from "./subscription.js";

const HANDSHAKE_MS = 15_000;
const PING_MS = 10_000;
/** A connection that lives this long was a good one: the next wait starts small again. */
const STABLE_MS = 5_000;
const MAX_ATTACHES = 4;
const NO_CODE = 1006;

/**
 * @typedef {({kind: "connecting" | "connected" | "closed"}
 *   | {kind: "waiting", until: number}
 *   | {kind: "stopped", code: number, reason: string}) & {refused: boolean}} State `until` is when the next attempt
 *   comes; `refused`: the server answers calls, but the last socket closed before it was open.
 */

export class Connection {
  #open;
  #token;
  #clock;
  #random;
  #on;
  #state = { kind: "closed", refused: false };
  #socket = null;
  #socketToken = null;
  #welcomed = false;
  /** Counts sockets; what belongs to an older one is ignored. */
  #turn = 0;
  #attempt = 0;
  #suspect = false;
  /** Whether the server answered a call just before this socket was opened. */
  #answers = false;
  #refused = false;
  #rejected = null;
  #commands = new Commands();
  #subscriptions = new Map();
  #heard = 0;
  #heartbeat = 25_000;
  #limits = null;
  #retryTimer = null;
  #watchTimer = null;
  #stableTimer = null;

  /**
   * @param {object} parts
   * @param {(token: string) => WebSocket} parts.open
   * @param {(hint: {suspect: boolean, rejected: string | null}) => Promise<string>} parts.token an access token;
   *   `suspect`: the last attempt was refused without a reason, so ask the server whether the token is good;
   *   `rejected`: a token that the server does not accept any more. Rejects with `Problem`.
   * @param {object} parts.clock
   * @param {() => number} parts.random
   * @param {{state(state: State): void, event(threadId: string, frame: object): void, deleted(threadId: string): void,
   *   missing(threadId: string): void, problem(threadId: string, problem: Problem): void,
   *   expiring(seconds: number): void, other?(frame: object): void}} parts.on what happens: the state changed; the next
   *   event of a thread; the thread was deleted; it is not there; it cannot be followed; the token ends in so many
   *   seconds; a frame came that only the socket of `open` has
   */
  constructor({ open, token, clock, random, on }) {
    this.#open = open;
    this.#token = token;
    this.#clock = clock;
    this.#random = random;
    this.#on = on;
  }

  /** @returns {State} */
  get state() {
    return this.#state;
  }

  /** How many bytes one message may have; what the server said last. */
  get maxMessageBytes() {
    return this.#limits?.max_message_bytes ?? 1 << 20;
  }

  /** Connect now, whatever the state: also the user's "try again". */
  connect() {
    this.#abandon();
    this.#connect();
  }

  /** Leave for good: every command that waits for an answer is rejected. */
  close() {
    this.#abandon();
    this.#subscriptions.clear();
    this.#commands.clear();
    this.#become({ kind: "closed" });
  }

  /** Follow a thread after a cursor (null: it does not exist yet, a `run` will make it). */
  follow(threadId, after) {
    const subscription = new Subscription(threadId, after);
    this.#subscriptions.set(threadId, subscription);
    if (this.#welcomed && after !== null) this.#attach(subscription);
  }

  /** Stop following a thread. */
  unfollow(threadId) {
    if (this.#subscriptions.delete(threadId)) this.#tell({ op: "detach", thread_id: threadId });
  }

  /** The cursor of a thread that is followed, else null. */
  cursor(threadId) {
    const subscription = this.#subscriptions.get(threadId);
    return subscription === undefined ? null : { epoch: subscription.epoch, seq: subscription.seq };
  }

  /** Start a run. Answers the server's reply; waits through cuts. `command.run_id` must be given. */
  run(command) {
    const accepted = (reply) => {
      const subscription = this.#subscriptions.get(command.thread_id);
      if (subscription !== undefined) subscription.started(reply);
      else this.#tell({ op: "detach", thread_id: command.thread_id }); // the run goes on, nobody here looks at it
    };
    return this.#send({ op: "run", ...command }, { repeat: true, accepted });
  }

  /** Ask a run to stop. Waits through cuts. */
  cancel(threadId, runId) {
    return this.#send({ op: "cancel", thread_id: threadId, run_id: runId }, { repeat: true });
  }

  /** Send a `run` that was not answered no more, and cancel it should it have arrived. */
  takeBack(threadId, runId) {
    this.#commands.forgetRun(runId);
    this.cancel(threadId, runId).catch(() => {}); // it is not known where it never arrived
  }

  /** Show the server a newer token, so that the socket lives on. */
  renew(token) {
    if (!this.#welcomed || token === this.#socketToken) return;
    this.#socketToken = token;
    this.#tell({ op: "refresh", token }); // a refusal ends in 4401, and that is handled
  }

  /** Ask whether the socket still lives, and drop it if no sign of life comes in `ms`. */
  check(ms = PING_MS) {
    if (!this.#welcomed) return;
    const heard = this.#heard;
    this.#tell({ op: "ping" });
    this.#clock.clear(this.#watchTimer);
    this.#watchTimer = this.#clock.later(ms, () => {
      if (this.#heard === heard) this.#cut();
      else this.#watch();
    });
  }

  /** The network is said to be back: do not wait any longer. */
  online() {
    if (this.#state.kind === "waiting") this.connect();
    else this.check();
  }

  // --- one socket ----------------------------------------------------------------------------------------------------

  async #connect() {
    const turn = ++this.#turn;
    this.#clock.clear(this.#retryTimer);
    this.#become({ kind: "connecting" });
    const suspect = this.#suspect;
    let token;
    try {
      token = await this.#token({ suspect, rejected: this.#rejected });
    } catch (problem) {
      if (turn === this.#turn) this.#withoutToken(problem);
      return;
    }
    if (turn !== this.#turn) return;
    this.#suspect = false;
    this.#rejected = null;
    this.#answers = suspect;
    const socket = this.#open(token);
    this.#socket = socket;
    this.#socketToken = token;
    socket.onmessage = (message) => {
      this.#received(message.data, turn);
    };
    socket.onclose = (event) => {
      if (turn === this.#turn) this.#lost(event.code, event.reason);
    };
    this.#watchTimer = this.#clock.later(HANDSHAKE_MS, () => this.#cut());
  }

  #withoutToken(problem) {
    // With 401 the login has ended, and whoever holds it closes this connection.
    this.#refused = false;
    if (problem.status === 401) this.#become({ kind: "stopped", code: 4401, reason: problem.message });
    else this.#retry(delay(this.#attempt++, this.#random));
  }

  /** One message: a frame a line. A frame may end this socket (its turn), and those after it then count no more. */
  #received(data, turn) {
    this.#heard = this.#clock.now();
    for (const line of String(data).split("\n")) {
      if (line.trim() !== "" && turn === this.#turn) this.#frame(JSON.parse(line));
    }
  }

  #frame(frame) {
    if (frame.event !== undefined) this.#event(frame);
    else if (frame.re !== undefined) this.#commands.answer(frame);
    else if (frame.type === "welcome") this.#welcome(frame);
    else if (frame.type === "token_expiring") this.#on.expiring(frame.expires_in);
    else if (frame.type === "detached") this.#detached(frame);
    else this.#on.other?.(frame);
  }

  #welcome(frame) {
    this.#welcomed = true;
    this.#refused = this.#answers = false;
    this.#limits = frame.limits;
    this.#heartbeat = frame.heartbeat * 1000;
    this.#stableTimer = this.#clock.later(STABLE_MS, () => {
      this.#attempt = 0;
    });
    this.#watch();
    for (const subscription of this.#subscriptions.values()) {
      if (subscription.phase === "cut") {
        subscription.attempts = 0;
        this.#attach(subscription);
      }
    }
    for (const line of this.#commands.repeated()) this.#socket.send(line);
    this.#become({ kind: "connected" });
  }

  /** The server is silent on purpose for long: ask it when a heartbeat has passed without a word. */
  #watch() {
    this.#clock.clear(this.#watchTimer);
    const silent = this.#clock.now() - this.#heard;
    this.#watchTimer = this.#clock.later(Math.max(this.#heartbeat - silent, 1000), () => {
      if (this.#clock.now() - this.#heard >= this.#heartbeat) this.check();
      else this.#watch();
    });
  }

  /** Give up on a socket that does not answer: its own close might take minutes. */
  #cut() {
    const welcomed = this.#welcomed;
    this.#abandon();
    this.#lost(NO_CODE, "", welcomed);
  }

  #abandon() {
    this.#turn += 1;
    const socket = this.#socket;
    this.#socket = null;
    if (socket !== null) {
      socket.onmessage = socket.onclose = null;
      socket.close();
    }
    this.#forgetSocket();
  }

  #forgetSocket() {
    this.#welcomed = false;
    for (const timer of [this.#retryTimer, this.#watchTimer, this.#stableTimer]) this.#clock.clear(timer);
    for (const subscription of this.#subscriptions.values()) subscription.cut();
    this.#commands.cut();
  }

  #lost(code, reason, welcomed = this.#welcomed) {
    this.#suspect = !welcomed;
    this.#refused = this.#answers && code === NO_CODE;
    if (code === 4401) this.#rejected = this.#socketToken;
    if (code === 1009) this.#commands.refuseLargest();
    this.#socket = null;
    this.#turn += 1;
    this.#forgetSocket();
    const action = afterClose(code);
    if (action === "stop") return this.#become({ kind: "stopped", code, reason });
    const first = this.#attempt === 0;
    const wait = delay(this.#attempt++, this.#random);
    if (action === "renew" && first) this.#connect();
    else this.#retry(action === "soon" && first ? wait / 2 : wait);
  }

  #retry(ms) {
    this.#become({ kind: "waiting", until: this.#clock.now() + ms });
    this.#retryTimer = this.#clock.later(ms, () => this.#connect());
  }

  #become(state) {
    this.#state = { ...state, refused: this.#refused };
    this.#on.state(this.#state);
  }

  // --- commands and subscriptions ------------------------------------------------------------------------------------

  #send(command, options) {
    const { line, reply } = this.#commands.add(command, options);
    if (this.#welcomed) this.#socket.send(line);
    return reply;
  }

  /** Send what is only worth sending now, and whose reply does not matter. */
  #tell(command) {
    if (this.#welcomed) this.#send(command).catch(() => {});
  }

  #attach(subscription) {
    if (subscription.attempts >= MAX_ATTACHES) return this.#cut();
    const current = () => this.#subscriptions.get(subscription.threadId) === subscription;
    this.#send(subscription.attach(), {
      accepted: (reply) => {
        if (current()) subscription.attached(reply);
      },
      refused: (problem) => {
        if (current() && problem.code !== "unreachable") this.#attachRefused(subscription, problem);
      },
    }).catch(() => {});
  }

  #attachRefused(subscription, problem) {
    const { threadId } = subscription;
    if (problem.code === "not_found") {
      subscription.missing();
      this.#on.missing(threadId);
      return;
    }
    subscription.cut();
    if (!problem.retryable) return this.#on.problem(threadId, problem);
    this.#clock.later((problem.retryAfter ?? 2) * 1000, () => {
      if (this.#welcomed && subscription.phase === "cut" && this.#subscriptions.get(threadId) === subscription) {
        this.#attach(subscription);
      }
    });
  }

  #event(frame) {
    const subscription = this.#subscriptions.get(frame.thread_id);
    if (subscription === undefined) return;
    const verdict = subscription.accept(frame);
    if (verdict === "apply") this.#on.event(frame.thread_id, frame);
    else if (verdict === "reattach") this.#attach(subscription);
  }

  #detached(frame) {
    const subscription = this.#subscriptions.get(frame.thread_id);
    if (subscription === undefined) return;
    if (frame.reason === "deleted") {
      this.#subscriptions.delete(frame.thread_id);
      this.#on.deleted(frame.thread_id);
    } else {
      subscription.cut();
      this.#attach(subscription);
    }
  }
}
