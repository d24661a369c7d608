/**
 * Spells out AG-UI's chunk events as START, CONTENT and END: a chunk names its message or call only when it opens one.
 * Each owner (a subagent, or the agent itself) has one open at a time.
 */

const KINDS = {
  TEXT_MESSAGE_CHUNK: { prefix: "TEXT_MESSAGE", id: "messageId", content: "TEXT_MESSAGE_CONTENT" },
  REASONING_MESSAGE_CHUNK: { prefix: "REASONING_MESSAGE", id: "messageId", content: "REASONING_MESSAGE_CONTENT" },
  TOOL_CALL_CHUNK: { prefix: "TOOL_CALL", id: "toolCallId", content: "TOOL_CALL_ARGS" },
};

export class Chunks {
  #open = new Map();

  /** The events that `event` stands for; none for what is no chunk, and for a chunk that continues nothing. */
  expand(event) {
    const kind = KINDS[event.type];
    if (kind === undefined) return [];
    const owner = event.subagentRunId ?? "";
    const current = this.#open.get(owner);
    const id = event[kind.id] ?? (current?.kind === kind ? current.id : undefined);
    if (id === undefined) return [];
    const events = [];
    if (current?.kind !== kind || current.id !== id) {
      if (kind.prefix === "TOOL_CALL" && event.toolCallName === undefined) return [];
      if (current !== undefined) events.push({ type: `${current.kind.prefix}_END`, [current.kind.id]: current.id });
      const { role, toolCallName } = event;
      events.push({ type: `${kind.prefix}_START`, [kind.id]: id, role, toolCallName });
      this.#open.set(owner, { kind, id });
    }
    if (event.delta !== undefined) events.push({ type: kind.content, [kind.id]: id, delta: event.delta });
    return events;
  }
}
