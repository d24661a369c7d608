/**
 * One open conversation: its history, the events that follow, and what this tab asked for. No DOM.
 *
 * Opening reads the history, which is complete up to an event, then how the runs in it ended, which the messages do not
 * say, and follows the thread from that event.
 */

import { Outbox } from "./outbox.js";
import { Transcript } from "./transcript.js";

const NOT_ANSWERED = "The user did not want to answer.";

export class Conversation {
  transcript = new Transcript();
  /** @type {"loading" | "ready" | "failed"} */
  phase = "loading";
  /** Why it could not be loaded, else null. */
  problem = null;
  /** Whether the user asked the active run to stop, and it has not yet. */
  stopping = false;
  /** The agent of the last run that is known, else null. */
  agent = null;
  #api;
  #connection;
  #outbox;
  #newId;
  #on;
  #closed = false;

  /**
   * @param {object} parts
   * @param {string} parts.threadId
   * @param {import("./api.js").Api} parts.api
   * @param {import("./connection.js").Connection} parts.connection
   * @param {Outbox} parts.outbox
   * @param {() => string} parts.newId
   * @param {{changed(): void, agent(name: string): void, missing(): void, moved(): void}} parts.on something is to be
   *   drawn; the agent of the last run is known; the thread is not there; a run began or ended
   */
  constructor({ threadId, api, connection, outbox, newId, on }) {
    this.threadId = threadId;
    this.#api = api;
    this.#connection = connection;
    this.#outbox = outbox;
    this.#newId = newId;
    this.#on = on;
  }

  /** What was asked for and has not begun. */
  get waiting() {
    return this.#outbox.of(this.threadId);
  }

  /** Whether there is nothing to show. */
  get isEmpty() {
    return this.phase === "ready" && this.transcript.items.length === 0 && this.waiting.length === 0;
  }

  /** Begin a thread that does not exist yet: its first run makes it. */
  begin() {
    this.#connection.follow(this.threadId, null);
    this.phase = "ready";
    this.#on.changed();
  }

  /** Read the history and follow what comes after. Also the user's "try again". Does not reject. */
  async load() {
    this.phase = "loading";
    this.problem = null;
    this.#on.changed();
    const accepted = this.waiting.filter(isAccepted);
    try {
      const history = await this.#api.messages(this.threadId);
      const [thread, ends] = await Promise.all([this.#api.thread(this.threadId), this.#api.ends(this.threadId)]);
      if (this.#closed) return;
      this.transcript.load(history.messages);
      if (ends.epoch === history.epoch) this.transcript.settle(ends.ends, history.seq);
      this.#takeRuns(thread.runs, accepted);
      this.#connection.follow(this.threadId, { epoch: history.epoch, seq: history.seq });
      this.phase = "ready";
      this.#learnAgent(thread.runs);
    } catch (problem) {
      if (this.#closed) return;
      if (problem.code === "not_found" && this.waiting.length > 0) return this.begin();
      if (problem.code === "not_found") return this.#on.missing();
      this.phase = "failed";
      this.problem = problem;
    }
    this.#on.changed();
  }

  /** Leave: the runs go on without us. */
  close() {
    this.#closed = true;
    this.#connection.unfollow(this.threadId);
  }

  /** The next event of this thread. */
  take(frame) {
    const { event, run_id: runId } = frame;
    this.transcript.apply(frame);
    if (event.type === "RUN_STARTED") this.#began(runId);
    if (event.type === "RUN_FINISHED" || event.type === "RUN_ERROR") {
      this.stopping = false;
      this.#on.moved();
    }
    if (event.type === "MESSAGES_SNAPSHOT" && runId === null) this.#reviewRuns(frame.seq);
    this.#on.changed();
  }

  /** A run of ours was accepted. What began before our cursor is in the history already. */
  accepted(reply) {
    const cursor = this.#connection.cursor(this.threadId);
    const begun = reply.status !== "queued" && cursor?.epoch === reply.epoch && cursor.seq > reply.seq;
    if (this.phase === "ready" && begun) this.#outbox.remove(reply.run_id);
    this.#on.changed();
  }

  /** Ask the active run to stop. */
  stop() {
    const runId = this.transcript.activeRun;
    if (runId === null || this.stopping) return;
    this.stopping = true;
    this.#on.changed();
    this.#connection.cancel(this.threadId, runId).catch(() => {
      this.stopping = false;
      this.#on.changed();
    });
  }

  /** Take back a run that waits for its turn: it is listed as stopped when its turn comes. Rejects with `Problem`. */
  async withdraw(runId) {
    await this.#connection.cancel(this.threadId, runId);
    this.#outbox.mark(runId, "withdrawn");
    this.#on.changed();
  }

  /** The entry of the outbox that says `text` to `agent`. */
  say(text, agent) {
    return this.#ask({ agent, text });
  }

  /** The entry that answers the questions of a run: the agent that asked gets the answers. Rejects with `Problem`. */
  async answer(question, answers) {
    const agent = await this.#agentOf(question.runId);
    if (!question.wantsResults) return this.#ask({ agent, input: { messages: [], resume: answers } });
    return this.#ask({ agent, input: { messages: answers.map((answer) => resultMessage(this.#newId(), answer)) } });
  }

  /**
   * The entry that runs again what failed: the same answers, or the last message with its id, so that it is not said
   * twice. Rejects with `Problem`.
   */
  async again(failure) {
    const agent = await this.#agentOf(failure.runId);
    const resume = this.transcript.resumeOf(failure.runId);
    if (resume !== null) return this.#ask({ agent, input: { messages: [], resume } });
    const said = this.#saidBefore(failure);
    const messages = said === undefined ? [] : [{ id: said.id, role: "user", content: said.text }];
    return this.#ask({ agent, input: { messages } });
  }

  /**
   * The entry that says once more, at the end, what failed before other things were said. Rejects with `Problem`.
   */
  async resend(failure) {
    const said = this.#saidBefore(failure);
    if (said === undefined || this.transcript.resumeOf(failure.runId) !== null) return this.again(failure);
    return this.#ask({ agent: await this.#agentOf(failure.runId), text: said.text });
  }

  /** The last message of the user's before an item, else undefined. */
  #saidBefore(item) {
    const { items } = this.transcript;
    return items.slice(0, items.indexOf(item)).findLast(({ kind, role }) => kind === "message" && role === "user");
  }

  #ask({ agent, text = null, input = null }) {
    this.agent = agent;
    return this.#outbox.add({ run_id: this.#newId(), thread_id: this.threadId, agent, text, input });
  }

  async #agentOf(runId) {
    return (await this.#api.run(this.threadId, runId)).agent;
  }

  #began(runId) {
    const entry = this.#outbox.remove(runId);
    if (entry !== undefined) this.agent = entry.agent;
    this.#on.moved();
  }

  /** After a gap it is not known whether a run is active, nor how those before `seq` ended. */
  async #reviewRuns(seq) {
    try {
      const [thread, ends] = await Promise.all([this.#api.thread(this.threadId), this.#api.ends(this.threadId)]);
      if (this.#closed) return;
      this.#takeRuns(thread.runs, this.waiting.filter(isAccepted));
      if (ends.epoch === this.#connection.cursor(this.threadId)?.epoch) this.transcript.settle(ends.ends, seq);
      this.#on.changed();
    } catch {
      // The next event of the run says the same.
    }
  }

  #takeRuns(runs, accepted) {
    const running = runs.find((run) => run.status === "running");
    if (running !== undefined) this.transcript.running(running.run_id);
    const queued = new Set(runs.filter((run) => run.status === "queued").map((run) => run.run_id));
    for (const { run_id: runId } of accepted) if (!queued.has(runId)) this.#outbox.remove(runId);
  }

  async #learnAgent(runs) {
    const last = runs.at(-1);
    if (last === undefined) return;
    try {
      this.agent = await this.#agentOf(last.run_id);
      if (!this.#closed) this.#on.agent(this.agent);
    } catch {
      // Whatever is chosen stays chosen.
    }
  }
}

/** The answer to a tool call that waits for its result, as the message that brings it. */
function resultMessage(id, { interruptId, status, payload }) {
  const message = { id, role: "tool", toolCallId: interruptId };
  if (status === "resolved") return { ...message, content: payload };
  return { ...message, content: NOT_ANSWERED, error: NOT_ANSWERED };
}

/** Whether the server has an entry's run: then the thread's record says whether it has begun. */
function isAccepted({ status }) {
  return status === "accepted" || status === "withdrawn";
}
