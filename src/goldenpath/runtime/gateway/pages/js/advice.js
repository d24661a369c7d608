/**
 * What goes wrong, in words for the person in front of the page: what happened, and what to do next. The codes are the
 * protocol's.
 */

const SENTENCES = {
  unreachable: ["The server cannot be reached.", "Check your network; the page keeps trying."],
  unauthorized: ["You are not logged in any more.", "Log in again."],
  forbidden: ["You are not allowed to do this.", "Ask whoever runs this server for access."],
  not_found: ["This does not exist any more.", "Start a new conversation."],
  unknown_agent: ["This agent is not available.", "Choose another agent."],
  thread_busy: ["The conversation is busy.", "Try again when the current answer is complete."],
  conflict: ["Something else happened at the same time.", "Try again."],
  payload_too_large: ["This conversation is full.", "Start a new one, and send your message there."],
  rate_limited: ["That was too fast.", "Wait a moment, then try again."],
  quota_exceeded: ["All of your places are taken.", "Wait until one of your other answers is complete, then try again."],
  agent_error: ["The agent failed.", "Try again. If it fails again, tell whoever runs this agent."],
  internal: ["The server failed.", "Try again. If it fails again, tell whoever runs this server."],
  queue_full: ["The server is busy.", "Try again in a moment."],
  overloaded: ["The server is busy.", "Try again in a moment."],
  draining: ["The server is restarting.", "Try again in a moment."],
  upstream_unavailable: ["Something the agent depends on is down.", "Try again in a moment."],
  not_configured: ["The agent is not set up.", "Tell whoever runs this server."],
  timeout: ["It took too long, and was ended.", "Try again, or ask for less at once."],
  cancelled: ["It was stopped.", "Send a message to go on."],
  run_interrupted: ["The server stopped in the middle of this answer.", "Nothing before it is lost. Try again."],
  bad_request: ["The agent cannot do this.", "Change the message and send it again."],
  bad_frame: ["The page and the server do not understand each other.", "Reload the page."],
};

/** What the same once more cannot help. */
const NOT_AGAIN = new Set(["payload_too_large"]);

/** Where a code says something else of an answer than of a message. */
const OF_AN_ANSWER = {
  payload_too_large: ["The answer was too large.", "Ask for less at once."],
};

/** The same of an answer that had not begun. */
const BEFORE_AN_ANSWER = {
  run_interrupted: ["The server stopped before this answer began.", "Nothing is lost. Try again."],
};

/** `adviceFor` the error that ended a run; `begun`: after it had said something. */
export function adviceForRun({ code, message, begun = true }) {
  const advice = adviceFor({ code, message });
  const [what, next] = (begun ? undefined : BEFORE_AN_ANSWER[code]) ?? OF_AN_ANSWER[code] ?? [advice.what, advice.next];
  return { ...advice, what, next };
}

/**
 * `{what, next, detail, again}` of an error: two sentences, what the server said, for who wants to know, and whether the
 * same once more may help.
 */
export function adviceFor({ code, message, retryAfter = null }) {
  const [what, next] = SENTENCES[code] ?? ["Something went wrong.", "Try again."];
  const wait = retryAfter !== null && retryAfter >= 2 ? `Try again in ${Math.ceil(retryAfter)} seconds.` : null;
  return { what, next: wait ?? next, detail: `${code}: ${message}`, again: !NOT_AGAIN.has(code) };
}

/** Why the connection stopped for good, and the one thing that helps: `again` or `reload`. */
export function stopAdvice(code) {
  switch (code) {
    case 4400:
      return { text: "The page and the server do not understand each other. Reload the page.", action: "reload" };
    case 4403:
      return { text: "The server does not let you stay connected. Ask whoever runs it, then try again.", action: "again" };
    case 4409:
      return { text: "You are connected somewhere else, and only one place at a time is allowed.", action: "again" };
    case 4429:
      return { text: "You have too many tabs or devices connected. Close one, then try again.", action: "again" };
    default:
      return { text: `The server closed the connection (${code}).`, action: "again" };
  }
}

/** What it may be when the server answers, but no connection comes about. `origin` is the page's own. */
export function refusedAdvice(origin) {
  return (
    `The server answers, but it lets this page not connect. Its log says why: mostly ${origin} is not in ` +
    "GOLDENPATH_ALLOWED_ORIGINS, or a proxy does not pass WebSockets on. Tell whoever runs it; the page keeps trying."
  );
}

/**
 * What the login page says about a problem, in one of its ways in: `login`, `register` or `token`.
 *
 * @param {boolean} open whether anybody may make an account
 */
export function loginAdvice(problem, mode, open) {
  switch (problem.status) {
    case 400:
      return mode === "register" ? "Give a valid e-mail address and a password of 8 characters or more." : problem.message;
    case 401:
      if (mode === "token") return "This token is not accepted here, or has ended. Get a new one, then try again.";
      return `This e-mail and password do not belong together. Check both${open ? ", or create an account" : ""}.`;
    case 403:
      return "New accounts are not open here. Ask whoever runs this server for one.";
    case 409:
      return "There is an account with this e-mail already. Log in instead.";
    case 429: {
      const seconds = Math.ceil(problem.retryAfter ?? 60);
      return `Too many attempts. Wait ${seconds < 90 ? `${seconds} seconds` : `${Math.ceil(seconds / 60)} minutes`}, then try again.`;
    }
    default: {
      const { what, next } = adviceFor(problem);
      if (problem.code === "unreachable") return `${what} Check your network, then try again.`;
      if (problem.code === "upstream_unavailable") return `The token cannot be checked at present. ${next}`;
      return `${what} ${next}`;
    }
  }
}
