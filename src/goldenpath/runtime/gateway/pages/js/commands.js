/**
 * The commands that wait for their reply. No I/O.
 *
 * A command with `repeat` outlives its socket: it is sent again on the next one until it is answered. The others end
 * with the socket.
 */

import { Problem } from "./http.js";

export class Commands {
  #nextId = 1;
  #pending = new Map();

  /**
   * Add a command. Returns the line to send and the promise of its reply.
   *
   * `accepted(reply)` and `refused(problem)` are called while the reply is being read, before the next frame is looked
   * at: the promise is too late for what must be known when an event follows in the same message.
   */
  add(command, { repeat = false, accepted = () => {}, refused = () => {} } = {}) {
    const id = this.#nextId++;
    const line = JSON.stringify({ id, ...command });
    const run = command.op === "run" ? command.run_id : null;
    const reply = new Promise((resolve, reject) => {
      this.#pending.set(id, { line, run, repeat, accepted, refused, resolve, reject });
    });
    return { line, reply };
  }

  /** A reply came. */
  answer(frame) {
    const command = this.#pending.get(frame.re);
    if (command === undefined) return;
    // A server that shuts down closes the socket next; the command waits for the one that comes after it.
    if (!frame.ok && frame.error.code === "draining" && command.repeat) return;
    this.#pending.delete(frame.re);
    if (frame.ok) {
      command.accepted(frame);
      command.resolve(frame);
    } else {
      this.#refuse(command, Problem.ofReply(frame.error));
    }
  }

  /** The lines to send on a new socket, oldest first. */
  *repeated() {
    for (const command of this.#pending.values()) if (command.repeat) yield command.line;
  }

  /** The socket is gone: end the commands that do not outlive it. */
  cut() {
    this.#drop((command) => !command.repeat, Problem.unreachable());
  }

  /** End all of them. */
  clear() {
    this.#drop(() => true, closed());
  }

  /** End the command that starts a run. */
  forgetRun(runId) {
    this.#drop((command) => command.run === runId, closed());
  }

  /** The server closed because of a message over its limit: do not repeat the one that must have been it. */
  refuseLargest() {
    const sizes = [...this.#pending.values()].map((command) => command.line.length);
    const largest = Math.max(...sizes);
    const problem = new Problem({ code: "payload_too_large", message: "The message is too long for the server." });
    this.#drop((command) => command.line.length === largest, problem);
  }

  #drop(condition, problem) {
    for (const [id, command] of this.#pending) {
      if (!condition(command)) continue;
      this.#pending.delete(id);
      this.#refuse(command, problem);
    }
  }

  #refuse(command, problem) {
    command.refused(problem);
    command.reject(problem);
  }
}

function closed() {
  return new Problem({ code: "closed", message: "The connection was closed." });
}
