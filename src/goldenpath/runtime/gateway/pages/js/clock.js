/**
 * Time, as an argument: modules that wait take a clock, and their tests move it by hand.
 */

/** The browser's time. `later` returns what `clear` takes; clearing null, or twice, does nothing. */
export const systemClock = {
  /** Milliseconds since 1970. */
  now: () => Date.now(),
  /** Call `action` in `ms` milliseconds. */
  later: (ms, action) => setTimeout(action, Math.min(ms, 2 ** 31 - 1)),
  clear: (timer) => clearTimeout(timer ?? undefined),
};
