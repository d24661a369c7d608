/**
 * Tables whose rows come and go while somebody reads them: a row that stays is changed, not made again, so that focus,
 * selection and the reader's place survive.
 */

import { h, setText } from "../dom.js";

/**
 * Bring the rows of a `tbody` (or another parent) in step with `items`.
 *
 * @param {HTMLElement} parent
 * @param {any[]} items
 * @param {{key(item: any): string, make(item: any): HTMLElement, update(row: HTMLElement, item: any): void}} how
 */
export function keepRows(parent, items, { key, make, update }) {
  const rows = new Map([...parent.children].map((row) => [row.dataset.key, row]));
  let before = null;
  for (const item of items) {
    const name = key(item);
    let row = rows.get(name);
    if (row === undefined) {
      row = make(item);
      row.dataset.key = name;
    }
    rows.delete(name);
    update(row, item);
    const next = before === null ? parent.firstElementChild : before.nextElementSibling;
    if (row !== next) parent.insertBefore(row, next);
    before = row;
  }
  for (const row of rows.values()) row.remove();
}

/** A row of cells, each with its class; "" for none. */
export function row(...classes) {
  return h("tr", {}, ...classes.map((name) => h("td", { class: name === "" ? null : name })));
}

/** Set the text of a row's cells, in order; undefined leaves a cell alone. */
export function fill(line, texts) {
  texts.forEach((text, place) => {
    if (text !== undefined) setText(line.children[place], text);
  });
}

/** Show `empty` where there is nothing in a table. */
export function note(element, text) {
  element.hidden = text === null;
  if (text !== null) setText(element, text);
}
