/**
 * One HTTP call, and what can go wrong with it. Knows nothing of logins.
 */

/** A refusal or a failure, as the server's problem documents and error replies say it. */
export class Problem extends Error {
  /**
   * @param {{code: string, message: string, status?: number, retryable?: boolean, retryAfter?: number | null}} facts
   *   `status` is 0 where no answer came; `retryAfter` is in seconds, null where waiting is not what helps.
   */
  constructor({ code, message, status = 0, retryable = false, retryAfter = null }) {
    super(message);
    this.name = "Problem";
    this.code = code;
    this.status = status;
    this.retryable = retryable;
    this.retryAfter = retryAfter;
  }

  /** The error of a WebSocket reply. */
  static ofReply(error) {
    return new Problem({
      code: error.code,
      message: error.message,
      retryable: error.retryable,
      retryAfter: error.retry_after ?? null,
    });
  }

  /** No answer came: no network, or no server. */
  static unreachable() {
    return new Problem({ code: "unreachable", message: "The server cannot be reached.", retryable: true });
  }
}

const TIMEOUT_MS = 20_000;

/**
 * Make one call and return the parsed body, or null where there is none. Rejects with `Problem` and nothing else.
 *
 * @param {typeof fetch} fetch
 * @param {string} method
 * @param {URL | string} url
 * @param {{token?: string, body?: unknown}} [options] `body` is sent as JSON.
 */
export async function request(fetch, method, url, { token, body } = {}) {
  const headers = { Accept: "application/json" };
  if (token !== undefined) headers.Authorization = `Bearer ${token}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  let text;
  try {
    response = await fetch(url, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
      credentials: "omit",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    text = await response.text();
  } catch {
    throw Problem.unreachable();
  }
  const answer = parse(text);
  if (response.ok && answer !== undefined) return answer;
  throw new Problem({
    code: answer?.code ?? "internal",
    message: answer?.detail ?? answer?.title ?? `The server answered ${response.status}.`,
    status: response.status,
    retryable: answer?.retryable ?? response.status >= 500,
    retryAfter: answer?.retry_after ?? null,
  });
}

/** Undefined where `text` is not JSON, as from a proxy that answers with a page of its own. */
function parse(text) {
  if (text === "") return null;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
