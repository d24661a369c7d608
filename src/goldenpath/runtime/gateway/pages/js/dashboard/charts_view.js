/**
 * The charts of the last ten minutes. Colours are the page's, so they follow it into the dark; all charts share one time
 * axis and one cursor.
 */

/* global uPlot */

import { byId, h, setText } from "../dom.js";
import { UNKNOWN, milliseconds, number } from "./format.js";

/** Seconds: the time axis is as long as the samples, but never shorter than this. */
const SHORTEST = 120;
const HEIGHT = 130;

const CHARTS = {
  first_token: { format: milliseconds, lines: [["p95", "first_token_p95_ms", "--chart-1"], ["p50", "first_token_p50_ms", "--chart-2"]] },
  runs: { format: number, lines: [["running", "runs_running", "--chart-1"], ["in the queue", "runs_waiting", "--chart-3"]] },
  connections: { format: number, lines: [["connections", "connections", "--chart-1"], ["users", "users", "--chart-2"]] },
  events: { format: number, lines: [["events /s", "events_per_s", "--chart-1"]], fill: true },
  ends: { format: number, lines: [["ended /s", "runs_per_s", "--chart-2"], ["failed /s", "failures_per_s", "--chart-3"]] },
  durations: { format: milliseconds, lines: [["run", "run_p95_ms", "--chart-1"], ["queue", "queue_wait_p95_ms", "--chart-3"]] },
  loop: { format: milliseconds, lines: [["loop lag", "loop_lag_p95_ms", "--chart-1"], ["commit", "commit_p95_ms", "--chart-2"]] },
  memory: { format: (value) => (value === null ? UNKNOWN : `${number(value)} MiB`), lines: [["memory", "rss_mb", "--chart-1"]], fill: true },
};

export class ChartsView {
  #plots = new Map();
  #columns = null;
  /** Of each chart, where the values of its lines and the time are written. */
  #keys = new Map();
  #sizes = new ResizeObserver((entries) => this.#fit(entries));

  constructor() {
    for (const [name, { lines }] of Object.entries(CHARTS)) {
      this.#sizes.observe(byId(`chart-${name}`));
      const values = [...lines, null].map(() => h("b", {}));
      const keys = lines.map(([label, , variable], line) => h("span", { class: "key", "data-colour": variable.slice(2) }, h("i"), `${label} `, values[line]));
      byId(`chart-${name}`).parentElement.append(h("p", { class: "keys" }, ...keys, h("span", { class: "at" }, values.at(-1))));
      this.#keys.set(name, values);
    }
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.#destroy();
      if (this.#columns !== null) this.draw(this.#columns);
    });
  }

  draw(columns) {
    this.#columns = columns;
    for (const [name, chart] of Object.entries(CHARTS)) {
      const data = [columns.time, ...chart.lines.map(([, column]) => columns[column] ?? columns.time.map(() => null))];
      const plot = this.#plots.get(name);
      if (plot === undefined) this.#make(name, chart, data);
      else plot.setData(data);
      this.#say(name, plot?.cursor.idx);
    }
  }

  /** Say the values under the cursor, or else those of now. */
  #say(name, place) {
    if (this.#columns === null) return;
    const { format, lines } = CHARTS[name];
    const values = this.#keys.get(name);
    lines.forEach(([, column], line) => setText(values[line], format(this.#columns[column]?.at(place ?? -1) ?? null)));
    const time = place === null || place === undefined ? null : this.#columns.time[place];
    setText(values[lines.length], time === null ? "" : new Date(time * 1000).toLocaleTimeString([], { hour12: false }));
  }

  clear() {
    this.#destroy();
    this.#columns = null;
  }

  #destroy() {
    for (const plot of this.#plots.values()) plot.destroy();
    this.#plots.clear();
  }

  #make(name, { format, lines, fill }, data) {
    const place = byId(`chart-${name}`);
    if (place.clientWidth === 0) return; // not shown yet
    const colour = (variable) => getComputedStyle(document.documentElement).getPropertyValue(variable).trim();
    const axis = { stroke: colour("--ink-2"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
    const times = (_, ticks) => ticks.map((tick) => new Date(tick * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false }));
    const options = {
      width: place.clientWidth,
      height: HEIGHT,
      padding: [8, 18, 0, 0],
      cursor: { sync: { key: "dashboard" }, y: false, drag: { x: false, y: false } },
      legend: { show: false },
      hooks: { setCursor: [(plot) => this.#say(name, plot.cursor.idx)] },
      scales: {
        x: { range: () => window_(this.#columns.time) },
        y: { range: (_, __, high) => [0, high > 0 ? high * 1.1 : 1] },
      },
      axes: [
        { ...axis, size: 26, space: 60, incrs: [60, 120, 300], values: times },
        { ...axis, size: 52, space: 34, values: (_, ticks) => ticks.map((tick) => format(tick)) },
      ],
      series: [
        {},
        ...lines.map(([, , variable]) => ({
          stroke: colour(variable),
          width: 1.6,
          fill: fill ? `${colour(variable)}22` : undefined,
          points: { show: false },
        })),
      ],
    };
    this.#plots.set(name, new uPlot(options, data, place));
  }

  #fit(entries) {
    for (const { target, contentRect } of entries) {
      const plot = this.#plots.get(target.id.replace("chart-", ""));
      if (plot !== undefined && contentRect.width > 0 && plot.width !== contentRect.width) {
        plot.setSize({ width: contentRect.width, height: HEIGHT });
      }
    }
  }
}

function window_(times) {
  const last = times.length > 0 ? times[times.length - 1] : 0;
  return [Math.min(times[0] ?? 0, last - SHORTEST), last];
}
