/**
 * Numbers as people read them: few digits, the unit beside them, a dash where nothing is known. No DOM.
 */

export const UNKNOWN = "–";

/** Three digits at most: 0.042, 4.2, 42, 4,200. */
export function number(value) {
  if (value === null || value === undefined) return UNKNOWN;
  if (Math.abs(value) >= 100 || Number.isInteger(value)) return Math.round(value).toLocaleString("en");
  return String(Number(value.toPrecision(2)));
}

/** Milliseconds: 0.4 ms, 42 ms, 1.2 s, 3 min. */
export function milliseconds(value) {
  if (value === null || value === undefined) return UNKNOWN;
  if (value < 1000) return `${number(value)} ms`;
  return value < 120_000 ? `${number(value / 1000)} s` : `${number(value / 60_000)} min`;
}

export function seconds(value) {
  return value === null || value === undefined ? UNKNOWN : milliseconds(value * 1000);
}

/** Bytes: 812 B, 4.2 KB, 12 MB. */
export function bytes(value) {
  if (value === null || value === undefined) return UNKNOWN;
  const units = ["B", "KB", "MB", "GB", "TB"];
  let place = 0;
  while (value >= 1000 && place < units.length - 1) {
    value /= 1000;
    place += 1;
  }
  return `${number(value)} ${units[place]}`;
}

/** How long ago, in words that change rarely. */
export function ago(ms) {
  const past = Math.max(0, Math.round(ms / 1000));
  if (past < 60) return `${past} s ago`;
  if (past < 3600) return `${Math.floor(past / 60)} min ago`;
  return past < 172_800 ? `${Math.floor(past / 3600)} h ago` : `${Math.floor(past / 86_400)} days ago`;
}

/** "1 run", "2 runs". */
export function plural(count, word) {
  return `${number(count)} ${word}${count === 1 ? "" : "s"}`;
}
