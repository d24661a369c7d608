/**
 * What operators, and the server itself, changed lately.
 */

import { byId } from "../dom.js";
import { fill, keepRows, note, row } from "./rows.js";


export class ActionsView {
  #rows = byId("actions-rows");

  draw(actions) {
    note(byId("actions-note"), actions.length > 0 ? null : "Nothing was changed yet.");
    byId("actions-table").hidden = actions.length === 0;
    keepRows(this.#rows, actions, {
      key: (each) => String(each.number),
      make: () => row("when", "", ""),
      update: (line, each) => {
        const when = new Date(each.at).toLocaleString([], { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit" });
        fill(line, [when, `${each.actor}: ${each.action} ${each.area} ${each.subject}${change(each)}`, each.why]);
      },
    });
  }

  clear() {
    this.#rows.replaceChildren();
  }
}

function change({ before, after }) {
  if (typeof before !== "string" || typeof after !== "string") return "";
  return `, ${before} → ${after}`;
}
