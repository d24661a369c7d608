// Drives one of the official AG-UI clients: one JSON command a line on stdin, one JSON answer a line on stdout.
//
//   {"op":"open", url, cancelUrl, headers, threadId}       a new HttpAgent
//   {"op":"say", message}                                  adds a message to the agent's list
//   {"op":"run", parameters, at}                           runs it to its end
//   {"op":"resume", status, payload}                       runs it with that answer to all its pending interrupts
//
// `at` acts in the middle of a run: {"type", "count", "do"} does "abort" (the client's own abortRun) or "cancel"
// (POST to cancelUrl) when the count-th event of the type arrives.
//
// Usage: node driver.mjs agui0|agui1

import { createInterface } from "node:readline";

const { HttpAgent } = await import(process.argv[2]);

const RUN_TIMEOUT = 30_000;

const warnings = [];
for (const level of ["warn", "error", "log"]) {
  console[level] = (...parts) => warnings.push(parts.map(String).join(" "));
}

let agent;
let cancelUrl;

const open = ({ url, cancelUrl: forCancel, headers, threadId }) => {
  agent = new HttpAgent({ url, headers, threadId });
  cancelUrl = forCancel;
  return {};
};

const say = ({ message }) => {
  agent.addMessage(message);
  return {};
};

const run = async ({ parameters, at }) => {
  const events = [];
  const ends = [];
  let cancelled;
  const subscriber = {
    onEvent({ event }) {
      events.push(event);
      if (at && event.type === at.type && events.filter(({ type }) => type === at.type).length === at.count) {
        if (at.do === "abort") agent.abortRun();
        else cancelled = fetch(cancelUrl, { method: "POST", headers: agent.headers });
      }
    },
    onRunFinishedEvent: ({ outcome, result, interrupts, pendingToolCallIds }) => {
      ends.push({ end: "finished", outcome, result, interrupts, pendingToolCallIds });
    },
    onRunErrorEvent: ({ event }) => {
      ends.push({ end: "error", code: event.code, message: event.message });
    },
    onRunFailed: ({ error }) => {
      ends.push({ end: "failed", message: String(error.message ?? error) });
    },
  };
  warnings.length = 0;
  let rejected;
  let outcome = {};
  let timer;
  const late = new Promise((resolve) => {
    timer = setTimeout(resolve, RUN_TIMEOUT, "late");
  });
  try {
    outcome = await Promise.race([agent.runAgent(parameters, subscriber), late]);
  } catch (error) {
    rejected = String(error.message ?? error);
  }
  clearTimeout(timer);
  if (outcome === "late") throw new Error(`the run did not end; so far: ${JSON.stringify({ events, ends, warnings })}`);
  return {
    events,
    ends,
    rejected,
    cancelStatus: cancelled && (await cancelled).status,
    result: outcome.result,
    newMessages: outcome.newMessages,
    messages: agent.messages,
    state: agent.state,
    pendingInterrupts: agent.pendingInterrupts,
    warnings: [...warnings],
  };
};

const resume = ({ status, payload, parameters }) =>
  run({
    parameters: {
      ...parameters,
      resume: agent.pendingInterrupts.map(({ id }) => ({
        interruptId: id,
        status,
        ...(payload === undefined ? {} : { payload }),
      })),
    },
  });

const operations = { open, say, run, resume };

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  let answer;
  try {
    answer = { ok: true, ...(await operations[command.op](command)) };
  } catch (error) {
    answer = { ok: false, error: String(error.stack ?? error) };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}
