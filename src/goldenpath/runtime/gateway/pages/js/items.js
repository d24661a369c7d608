/**
 * What a conversation is shown as: a list of items, and how AG-UI messages become items. No DOM.
 *
 * An item is a plain object with `key` (unique in the transcript), `kind`, and `open` while more of it may come:
 *
 *     message    id, role, text            what somebody said
 *     reasoning  id, text                  what the agent thought
 *     tool       id, name, args, result    a tool call; `result` null: none yet; `error` where the tool failed
 *     step       name, failed              a part of the work; also a subagent
 *     custom     name, value, count        an event of the application's own: the last of `count` in a row
 *     activity   id, type, content         structured progress, replaced and patched as it goes
 *     result     value                     what a run returned
 *     question   runId, interrupts, answers, wantsResults   a run stopped to ask; `answers` null: not answered yet;
 *                                      `wantsResults`: each interrupt is a tool call that waits for its result
 *     error      runId, code, message, begun   a run failed; `begun`: after it had said something
 *     stopped    runId                     a run was cancelled
 */

/** The text of a message's content: its own, or that of its parts, with a word for what is not text. */
export function contentText(content) {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return "";
  return content.map((part) => (typeof part.text === "string" ? part.text : `[${part.type}]`)).join("");
}

export const messageKey = (id) => `message ${id}`;
export const toolKey = (id) => `tool ${id}`;

export function messageItem(id, role, text, open) {
  const kind = role === "reasoning" ? "reasoning" : "message";
  return { key: messageKey(id), kind, id, role, text, open };
}

export function toolItem(id, name, args, open) {
  return { key: toolKey(id), kind: "tool", id, name, args, result: null, error: null, open };
}

/**
 * The items that one AG-UI message is shown as: an assistant message may have a text, tool calls, both or neither.
 * The result of a tool call is not an item of its own: `resultOf` says which one it belongs to.
 */
export function itemsOf(message) {
  switch (message.role) {
    case "tool":
      return [];
    case "activity":
      return [activityItem(message.id, message.activityType, message.content)];
    case "assistant": {
      const text = contentText(message.content);
      const items = text === "" ? [] : [messageItem(message.id, "assistant", text, false)];
      for (const call of message.toolCalls ?? []) {
        items.push(toolItem(call.id, call.function.name, call.function.arguments, false));
      }
      return items;
    }
    default:
      return [messageItem(message.id, message.role, contentText(message.content), false)];
  }
}

export function activityItem(id, type, content) {
  return { key: messageKey(id), kind: "activity", id, type, content, open: false };
}

export function questionItem(runId, interrupts, wantsResults) {
  return { key: `question ${runId}`, kind: "question", runId, interrupts, answers: null, wantsResults, open: false };
}

/** The error that ended a run; `last` is the item before it. */
export function errorItem(runId, code, message, last) {
  const begun = last?.kind !== "message" || last.role !== "user";
  return { key: `error ${runId}`, kind: "error", runId, code, message, begun, open: false };
}

/** What a message of role tool says about its call, else null. */
export function resultOf(message) {
  if (message.role !== "tool") return null;
  return { toolCallId: message.toolCallId, text: contentText(message.content), error: message.error ?? null };
}
