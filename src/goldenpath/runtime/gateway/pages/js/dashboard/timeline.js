/**
 * One run's timeline as rows with places on a common scale. No DOM.
 */

/**
 * @typedef {{kind: string, name: string, from: number, to: number, open: boolean, failed: boolean}} Row `from` and `to`
 *   are seconds from the acceptance; `open`: it has not ended, as far as is known.
 */

/**
 * @param {object} told the server's answer
 * @returns {{rows: Row[], length: number}} `length` is that of the scale, in seconds, never 0.
 */
export function timeline({ run, moments, steps }) {
  const at = Object.fromEntries(moments.map(({ what, after }) => [what, after]));
  const begun = at["has its place"];
  const now = begun === undefined ? run.queue_wait : begun + (run.duration ?? 0);
  const end = at.ended ?? now;
  const last = Math.max(end, ...moments.map(({ after }) => after), ...steps.map((step) => step.ended ?? step.began));
  const rows = [];
  const phase = (name, from, to, open = false) => {
    if (from !== undefined) rows.push({ kind: "phase", name, from, to: to ?? last, open: open || to === undefined, failed: false });
  };
  phase("waits in the queue", 0, begun ?? at.ended, begun === undefined && at.ended === undefined);
  phase("history is loaded", begun, at["history loaded"] ?? at.ended);
  phase("engine is made", at["history loaded"], at["engine made"] ?? at.ended);
  phase("agent works", at["engine made"], at.ended, at.ended === undefined);
  for (const step of steps) {
    const open = step.ended === null;
    rows.push({ kind: step.kind, name: step.name, from: step.began, to: step.ended ?? end, open, failed: step.failed });
  }
  return { rows, length: Math.max(last, 0.001) };
}
