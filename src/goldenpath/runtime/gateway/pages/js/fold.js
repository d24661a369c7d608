/**
 * What each type of event does to a transcript. No DOM.
 *
 * A handler gets `fold`, the few things it may do to the transcript: `get` an item by its key, `add` one at the end
 * (or get the one that has its key), see the `last` one, `touch` one that changed, name a `next` thing that has no id of its own.
 */

import {
  activityItem,
  contentText,
  errorItem,
  itemsOf,
  messageItem,
  messageKey,
  questionItem,
  resultOf,
  toolItem,
  toolKey,
} from "./items.js";
import { applyPatch } from "./json_patch.js";

/** Put a result where its call is; without a call it is shown alone. */
export function addResult(fold, result) {
  if (result === null) return;
  const item = fold.get(toolKey(result.toolCallId)) ?? fold.add(toolItem(result.toolCallId, "", "", false));
  item.result = result.text;
  item.error = result.error;
  item.open = false;
  fold.touch(item);
}

function grow(fold, key, field, delta, missing) {
  const item = fold.get(key) ?? (missing === undefined ? undefined : fold.add(missing()));
  if (item === undefined || item[field] === undefined) return;
  item[field] += delta;
  item.open = true;
  fold.touch(item);
}

function close(fold, key) {
  const item = fold.get(key);
  if (item === undefined) return;
  item.open = false;
  fold.touch(item);
}

function open(fold, item) {
  const known = fold.add(item);
  known.open = true;
  fold.touch(known);
}

function addOutcome(fold, outcome, runId) {
  if (outcome?.type === "cancelled") {
    fold.add({ key: `stopped ${runId}`, kind: "stopped", runId, open: false });
  } else if (outcome?.type === "interrupt") {
    fold.add(questionItem(runId, outcome.interrupts, false));
  } else if (outcome?.pendingToolCallIds?.length > 0) {
    const asked = outcome.pendingToolCallIds.map((id) => resultWanted(id, fold.get(toolKey(id))?.name));
    fold.add(questionItem(runId, asked, true));
  }
}

/** A tool call that a run left to the client, as a question: what is the result? */
function resultWanted(id, name = "a tool") {
  const message = `What is the result of ${name || "a tool"}?`;
  return { id, message, responseSchema: { type: "string", title: "Result", maxLength: 10_000 } };
}

/** A run began that brought `answers`: the questions before it are answered by it, or passed over. */
function answerQuestions(fold, answers) {
  for (const item of fold.transcript.items) if (answerQuestion(item, answers)) fold.touch(item);
}

/** Answer an item by what the next run brought. Returns whether it is a question that had no answers yet. */
export function answerQuestion(item, answers) {
  if (item.kind !== "question" || item.answers !== null) return false;
  const given = new Map(answers.map((entry) => [entry.interruptId, entry]));
  item.answers = item.interrupts.map(({ id }) => given.get(id) ?? { interruptId: id, status: "passed" });
  return true;
}

function answerOf({ toolCallId, text, error }) {
  return { interruptId: toolCallId, status: error === null ? "resolved" : "cancelled", payload: text };
}

/** What each type does: `(fold, event, runId)`. Types that are missing here change nothing that is shown. */
export const HANDLERS = {
  RUN_STARTED(fold, event, runId) {
    const resume = event.input?.resume ?? null;
    if (resume !== null) fold.resumed(runId, resume);
    const messages = event.input?.messages ?? [];
    const results = messages.map(resultOf).filter((result) => result !== null);
    answerQuestions(fold, [...(resume ?? []), ...results.map(answerOf)]);
    for (const message of messages) {
      for (const item of itemsOf(message)) fold.add(item);
    }
    for (const result of results) addResult(fold, result);
  },
  RUN_FINISHED(fold, event, runId) {
    if (event.result !== undefined && event.result !== null) {
      fold.add({ key: `result ${runId}`, kind: "result", value: event.result, open: false });
    }
    addOutcome(fold, event.outcome, runId);
  },
  RUN_ERROR(fold, event, runId) {
    const code = event.code ?? "agent_error";
    if (code === "cancelled") addOutcome(fold, { type: "cancelled" }, runId);
    else fold.add(errorItem(runId, code, event.message, fold.last()));
  },
  TEXT_MESSAGE_START(fold, { messageId, role }) {
    open(fold, messageItem(messageId, role ?? "assistant", "", true));
  },
  TEXT_MESSAGE_CONTENT(fold, { messageId, delta }) {
    // The history leaves an open message without text out, so the first text may find none.
    grow(fold, messageKey(messageId), "text", delta, () => messageItem(messageId, "assistant", "", true));
  },
  TEXT_MESSAGE_END(fold, { messageId }) {
    close(fold, messageKey(messageId));
  },
  REASONING_MESSAGE_START(fold, { messageId }) {
    open(fold, messageItem(messageId, "reasoning", "", true));
  },
  REASONING_MESSAGE_CONTENT(fold, { messageId, delta }) {
    grow(fold, messageKey(messageId), "text", delta, () => messageItem(messageId, "reasoning", "", true));
  },
  REASONING_MESSAGE_END(fold, { messageId }) {
    close(fold, messageKey(messageId));
  },
  TOOL_CALL_START(fold, { toolCallId, toolCallName }) {
    open(fold, toolItem(toolCallId, toolCallName, "", true));
  },
  TOOL_CALL_ARGS(fold, { toolCallId, delta }) {
    grow(fold, toolKey(toolCallId), "args", delta);
  },
  TOOL_CALL_END(fold, { toolCallId }) {
    close(fold, toolKey(toolCallId));
  },
  TOOL_CALL_RESULT(fold, { toolCallId, content }) {
    addResult(fold, { toolCallId, text: contentText(content), error: null });
  },
  STEP_STARTED(fold, { stepName }) {
    fold.add({ key: fold.next("step"), kind: "step", name: stepName, failed: false, open: true });
  },
  STEP_FINISHED(fold, { stepName }) {
    closeStep(fold, stepName, false);
  },
  SUBAGENT_STARTED(fold, { subagentRunId, name }) {
    fold.add({ key: `subagent ${subagentRunId}`, kind: "step", name, failed: false, open: true });
  },
  SUBAGENT_FINISHED(fold, { subagentRunId }) {
    close(fold, `subagent ${subagentRunId}`);
  },
  SUBAGENT_ERROR(fold, { subagentRunId }) {
    const item = fold.get(`subagent ${subagentRunId}`);
    if (item !== undefined) item.failed = true;
    close(fold, `subagent ${subagentRunId}`);
  },
  STATE_SNAPSHOT(fold, { snapshot }) {
    fold.setState(structuredClone(snapshot));
  },
  STATE_DELTA(fold, { delta }) {
    const patched = patch(fold.transcript.state ?? {}, delta);
    if (patched !== undefined) fold.setState(patched);
  },
  MESSAGES_SNAPSHOT(fold, { messages }) {
    fold.snapshot(messages);
  },
  ACTIVITY_SNAPSHOT(fold, { messageId, activityType, content, replace }) {
    const known = fold.get(messageKey(messageId));
    const own = structuredClone(content); // patches change it in place
    if (known === undefined) return void fold.add(activityItem(messageId, activityType, own));
    if (known.kind !== "activity" || replace === false) return;
    Object.assign(known, { type: activityType, content: own });
    fold.touch(known);
  },
  ACTIVITY_DELTA(fold, { messageId, activityType, patch: operations }) {
    const known = fold.get(messageKey(messageId));
    if (known?.kind !== "activity") return;
    const content = patch(known.content, operations);
    if (content === undefined) return;
    Object.assign(known, { type: activityType, content });
    fold.touch(known);
  },
  CUSTOM(fold, { name, value }) {
    const last = fold.transcript.items.at(-1);
    if (last?.kind === "custom" && last.name === name) {
      Object.assign(last, { value, count: last.count + 1 });
      fold.touch(last);
    } else {
      fold.add({ key: fold.next("custom"), kind: "custom", name, value, count: 1, open: false });
    }
  },
};

function closeStep(fold, name, failed) {
  const { items } = fold.transcript;
  for (let index = items.length - 1; index >= 0; index--) {
    const item = items[index];
    if (item.kind !== "step" || !item.open || item.name !== name) continue;
    item.open = false;
    item.failed = failed;
    fold.touch(item);
    return;
  }
}

/** Undefined where the patch does not fit: the document then stays as it was. */
function patch(document, operations) {
  try {
    return applyPatch(document, operations);
  } catch {
    return undefined;
  }
}
