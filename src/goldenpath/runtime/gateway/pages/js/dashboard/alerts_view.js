/**
 * The alerts: those that fire or may, then the quiet ones folded away, then what fired before.
 */

import { byId, setText } from "../dom.js";
import { ago, number } from "./format.js";
import { fill, keepRows, note, row } from "./rows.js";

const SHOWN_PAST = 10;

export class AlertsView {
  #now = byId("alerts-now");
  #quiet = byId("alerts-quiet");
  #past = byId("alerts-past");

  draw({ alerts, history }, now) {
    const loud = alerts.filter((alert) => alert.state !== "inactive");
    const quiet = alerts.filter((alert) => alert.state === "inactive");
    this.#rows(this.#now, loud, now);
    this.#rows(this.#quiet, quiet, now);
    byId("alerts-table").hidden = loud.length === 0;
    note(byId("alerts-note"), loud.length > 0 ? null : alerts.length > 0 ? "No alert fires." : "No alert is configured.");
    setText(byId("alerts-quiet-title"), `${quiet.length} quiet`);
    byId("alerts-quiet-box").hidden = quiet.length === 0;
    byId("alerts-past-box").hidden = history.length === 0;
    keepRows(this.#past, history.slice(0, SHOWN_PAST), {
      key: (change) => `${change.alert} ${change.state} ${change.at}`,
      make: () => row("state", "", "figure", "figure"),
      update: (line, change) => {
        line.dataset.level = change.state === "firing" ? "bad" : "good";
        const when = ago(now - Date.parse(change.at));
        fill(line, [change.state === "firing" ? "fired" : "was resolved", change.alert, number(change.value), when]);
      },
    });
  }

  #rows(parent, alerts, now) {
    keepRows(parent, alerts, {
      key: (alert) => alert.name,
      make: () => row("state", "", "more", "figure", "figure"),
      update: (line, alert) => {
        line.dataset.level = alert.state === "firing" ? "bad" : alert.state === "pending" ? "warn" : "none";
        line.title = alert.summary;
        const since = alert.since === null ? "" : ago(now - Date.parse(alert.since));
        fill(line, [alert.state, alert.name, `${alert.signal} ${alert.bound}`, number(alert.value), since]);
      },
    });
  }

  clear() {
    for (const part of [this.#now, this.#quiet, this.#past]) part.replaceChildren();
  }
}
