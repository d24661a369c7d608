/**
 * Who causes the load of the last minute. A user's row leads to their runs.
 */

import { byId, h } from "../dom.js";
import { bytes, number } from "./format.js";
import { fill, keepRows, note, row } from "./rows.js";


export class UsersView {
  #rows = byId("users-rows");
  #choose;

  /** @param {(owner: string) => void} choose */
  constructor(choose) {
    this.#choose = choose;
  }

  draw(users, chosen) {
    note(byId("users-note"), users.length > 0 ? null : "Nobody is here.");
    byId("users-table").hidden = users.length === 0;
    keepRows(this.#rows, users, {
      key: (user) => user.owner,
      make: (user) => this.#make(user.owner),
      update: (line, user) => {
        line.firstElementChild.firstElementChild.setAttribute("aria-pressed", String(user.owner === chosen));
        fill(line, [undefined, number(user.connections), number(user.runs), number(user.events), bytes(user.bytes)]);
      },
    });
  }

  #make(owner) {
    const line = row("", "figure", "figure", "figure", "figure");
    line.firstElementChild.append(h("button", { type: "button", class: "link mono", title: "Show the runs", onclick: () => this.#choose(owner) }, owner));
    return line;
  }

  clear() {
    this.#rows.replaceChildren();
  }
}
