/**
 * What follows when a socket closes: the rules of the protocol's close codes, as data.
 */

const FIRST_MS = 500;
const LONGEST_MS = 30_000;

/**
 * How long to wait before attempt number `attempt` (0 is the first), in milliseconds: it doubles, and half of it is
 * drawn, so that many clients do not come back in the same instant.
 *
 * @param {number} attempt
 * @param {() => number} random uniform in [0, 1)
 */
export function delay(attempt, random) {
  const longest = Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(attempt, 16));
  return longest / 2 + (random() * longest) / 2;
}

/**
 * What to do after a close: `renew` the token and reconnect, reconnect `soon` or after a `wait`, or `stop` until the
 * user changes something.
 *
 * @param {number} code
 * @returns {"renew" | "soon" | "wait" | "stop"}
 */
export function afterClose(code) {
  if (code === 4401) return "renew";
  if (code >= 4400 && code < 4500) return "stop";
  return code === 1001 ? "soon" : "wait";
}
