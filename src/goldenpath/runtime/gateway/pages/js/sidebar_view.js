/**
 * The list of conversations where the window is narrow: it lies over the page, and goes when it is not needed.
 */

import { byId } from "./dom.js";

export class SidebarView {
  #sidebar = byId("sidebar");
  #backdrop = byId("backdrop");
  #opener = byId("sidebar-open");
  #closer = byId("sidebar-close");
  #main = byId("main");
  #narrow = matchMedia("(max-width: 799px)");
  #isOpen = false;

  constructor() {
    this.#opener.addEventListener("click", () => this.#open());
    this.#closer.addEventListener("click", () => this.#return());
    this.#backdrop.addEventListener("click", () => this.#return());
    this.#sidebar.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.#isOpen) this.#return();
    });
    this.#narrow.addEventListener("change", () => this.close());
    this.#apply();
  }

  close() {
    this.#isOpen = false;
    this.#apply();
  }

  #open() {
    this.#isOpen = true;
    this.#apply();
    this.#closer.focus();
  }

  #return() {
    this.close();
    this.#opener.focus();
  }

  /** What is not to be seen is not to be reached either. */
  #apply() {
    const over = this.#narrow.matches && this.#isOpen;
    this.#sidebar.classList.toggle("open", over);
    this.#sidebar.inert = this.#narrow.matches && !this.#isOpen;
    this.#main.inert = over;
    this.#backdrop.hidden = !over;
    this.#opener.setAttribute("aria-expanded", String(over));
  }
}
