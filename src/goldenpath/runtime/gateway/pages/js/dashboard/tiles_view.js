/**
 * The figures of now. The words stand in the page; here only the numbers change.
 */

import { byId, setText } from "../dom.js";
import { UNKNOWN, milliseconds, number, plural } from "./format.js";

const TILES = {
  connections: [(s) => number(s.connections), (s) => plural(s.users, "user")],
  runs: [(s) => number(s.runs_running), (s) => `${number(s.runs_waiting)} in the queue`],
  events: [(s) => number(s.events_per_s), (s) => `${number(s.runs_per_s)} runs ended /s`],
  failures: [(s) => number(s.failures_per_s), () => "failed or timed out"],
  first_token: [(s) => milliseconds(s.first_token_p95_ms), (s) => `half within ${milliseconds(s.first_token_p50_ms)}`],
  run: [(s) => milliseconds(s.run_p95_ms), (s) => `half within ${milliseconds(s.run_p50_ms)}`],
  queue: [(s) => milliseconds(s.queue_wait_p95_ms), () => "until a run begins"],
  lag: [(s) => milliseconds(s.loop_lag_p95_ms), (s) => `commit ${milliseconds(s.commit_p95_ms)}`],
  connect: [(s) => milliseconds(s.connect_p95_ms), () => "until welcome"],
  memory: [(s) => `${number(s.rss_mb)} MiB`, () => "of the process"],
};

export class TilesView {
  draw(sample) {
    for (const [name, [value, more]] of Object.entries(TILES)) {
      setText(byId(`tile-${name}`), value(sample));
      setText(byId(`tile-${name}-more`), more(sample));
    }
  }

  clear() {
    for (const name of Object.keys(TILES)) {
      setText(byId(`tile-${name}`), UNKNOWN);
      setText(byId(`tile-${name}-more`), "\u00a0");
    }
  }
}
