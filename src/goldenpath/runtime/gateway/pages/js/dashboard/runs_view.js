/**
 * The runs of now and those that ended lately. A run's row opens its timeline, which never holds what was said.
 */

import { byId, h, setText } from "../dom.js";
import { ago, bytes, number, plural, seconds } from "./format.js";
import { fill, keepRows, note, row } from "./rows.js";
import { timeline } from "./timeline.js";

const LEVELS = { failed: "bad", interrupted: "bad", cancelled: "warn", running: "live", queued: "live" };
/** So many are shown; of these at least so many that ended, where there are. */
const MOST = 25;
const ENDED = 12;

export class RunsView {
  #rows = byId("runs-rows");
  #dialog = byId("run");
  #look;
  #opened = null;

  /** @param {{timeline(number: number): Promise<object | null>, all(): void}} actions */
  constructor({ timeline: look, all }) {
    this.#look = look;
    byId("runs-all").addEventListener("click", all);
    byId("run-close").addEventListener("click", () => this.#dialog.close());
    byId("run-again").addEventListener("click", () => this.#open(this.#opened));
  }

  draw({ active, ended }, owner, now) {
    const runs = [...active.slice(0, MOST - Math.min(ENDED, ended.length)), ...ended].slice(0, MOST);
    byId("runs-filter").hidden = owner === null;
    setText(byId("runs-owner"), owner ?? "");
    note(byId("runs-note"), runs.length > 0 ? null : "No run lately.");
    byId("runs-table").hidden = runs.length === 0;
    keepRows(this.#rows, runs, {
      key: (run) => String(run.number),
      make: (run) => this.#make(run.number),
      update: (line, run) => {
        line.dataset.level = LEVELS[run.status] ?? "none";
        fill(line, [
          undefined,
          run.owner,
          run.agent,
          stateOf(run),
          seconds(run.queue_wait),
          seconds(run.first_words),
          seconds(run.duration),
          run.events > 0 ? number(run.events) : "",
          ago(now - Date.parse(run.accepted_at)),
        ]);
      },
    });
  }

  #make(run) {
    const line = row("", "mono more", "", "state", "figure more", "figure more", "figure", "figure more", "figure more");
    const button = h("button", { type: "button", class: "link", "aria-label": `Timeline of run ${run}`, onclick: () => this.#open(run) }, `#${run}`);
    line.firstElementChild.append(button);
    return line;
  }

  async #open(number_) {
    const told = await this.#look(number_);
    if (told === null) return;
    this.#opened = number_;
    this.#draw(told);
    if (!this.#dialog.open) this.#dialog.showModal();
  }

  #draw(told) {
    const { run } = told;
    setText(byId("run-title"), `Run #${run.number} of ${run.agent}`);
    const facts = [
      ["State", stateOf(run)],
      ["Owner", run.owner],
      ["Tier", told.tier],
      ["Accepted", new Date(run.accepted_at).toLocaleTimeString()],
      ["Queue", seconds(run.queue_wait)],
      ["First words", seconds(run.first_words)],
      ["Took", seconds(run.duration)],
      ["Said", `${plural(run.events, "event")}, ${bytes(run.bytes)}`],
    ];
    if (told.thread_id !== null) facts.push(["Thread", told.thread_id], ["Run", told.run_id]);
    byId("run-facts").replaceChildren(...facts.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
    const { rows, length } = timeline(told);
    byId("run-rows").replaceChildren(...rows.map((each) => bar(each, length)));
    const words = told.moments.find(({ what }) => what === "first words");
    note(byId("run-words"), words === undefined ? null : `First words for all to see after ${seconds(words.after)}.`);
    note(byId("run-dropped"), told.steps_dropped > 0 ? `${plural(told.steps_dropped, "further step")} not kept.` : null);
  }

  clear() {
    this.#dialog.close();
    this.#rows.replaceChildren();
  }
}

function stateOf(run) {
  const why = run.timed_out === null ? run.error : `time-out: ${run.timed_out}`;
  return why === null ? run.status : `${run.status} (${why})`;
}

/** One row of the timeline. The drawing is for the eye; the words beside it say the same. */
function bar(each, length) {
  const line = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  line.setAttribute("viewBox", "0 0 100 10");
  line.setAttribute("preserveAspectRatio", "none");
  line.setAttribute("aria-hidden", "true");
  const rectangle = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  const from = (each.from / length) * 100;
  const width = Math.max(0.6, ((each.to - each.from) / length) * 100);
  for (const [name, value] of Object.entries({ x: Math.min(from, 99.4), y: 0, width, height: 10, rx: 1 })) rectangle.setAttribute(name, String(value));
  line.append(rectangle);
  const took = each.open && each.kind === "phase" ? `${seconds(each.to - each.from)} so far` : each.open ? "end not told" : seconds(each.to - each.from);
  const kind = each.kind === "phase" ? "" : `${{ tool: "tool", call: "call of", step: "step" }[each.kind]} `;
  return h(
    "li",
    { "data-kind": each.kind, "data-failed": String(each.failed) },
    h("span", { class: "bar-name" }, `${kind}${each.name}`),
    line,
    h("span", { class: "bar-took" }, each.failed ? `${took}, failed` : took),
  );
}
