/**
 * Building DOM. Text becomes text nodes, always: nothing here ever reads HTML.
 */

/**
 * An element. In `attributes`, `on...` functions are listeners, `true` sets an empty attribute, and null, undefined or
 * false sets none. Children are nodes or strings; null and undefined are left out.
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** One of the page's drawings. It says nothing to those who do not see it: its button or text does. */
export function icon(name, extra = "") {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", `icon ${extra}`.trim());
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("focusable", "false");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/** The element of the page with this id. */
export function byId(id) {
  const element = document.getElementById(id);
  if (element === null) throw new Error(`the page has no #${id}`);
  return element;
}

/** Set text only where it differs, so that nothing is laid out or read aloud again for nothing. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A button that copies what `text()` returns; null where the browser does not let pages copy. */
export function copyButton(text, label) {
  if (!navigator.clipboard) return null;
  const button = h("button", { type: "button", class: "icon-button copy", "aria-label": label, title: label }, icon("copy"));
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text());
    button.replaceChildren(icon("check"));
    button.setAttribute("aria-label", "Copied");
    setTimeout(() => {
      button.replaceChildren(icon("copy"));
      button.setAttribute("aria-label", label);
    }, 1500);
  });
  return button;
}
