/**
 * Draws one item of the transcript. Each view has `node`, and `update(item)` for when the item grew or changed.
 */

import { adviceForRun } from "./advice.js";
import { copyButton, h, icon, setText } from "./dom.js";
import { MarkdownView } from "./markdown_view.js";
import { QuestionView } from "./question_view.js";

const PREVIEW = 120;
/** A message of the user's own of more characters or lines than this is folded. */
const LONG = 1_000;
const LONG_LINES = 14;
/** JSON longer than this is shown as it came. */
const MAX_PRETTY = 200_000;

/**
 * The view of an item.
 *
 * @param {object} item
 * @param {{answer(item: object, entries: object[]): void, retry(item: object): void, resend(item: object): void}} actions
 */
export function viewOf(item, actions) {
  switch (item.kind) {
    case "message":
      return item.role === "user" ? new UserView(item) : new AgentView(item);
    case "reasoning":
      return new ReasoningView(item);
    case "tool":
      return new ToolView(item);
    case "step":
      return new StepView(item);
    case "question":
      return new QuestionView(item, actions.answer);
    case "error":
      return new ErrorView(item, actions);
    case "stopped":
      return new LineView("stop", "Stopped.");
    default:
      return new DataView(item);
  }
}

/** A line of the list that comes from the agent's side. */
function agentLine(kind, ...children) {
  return h("li", { class: "item from-agent", "data-kind": kind }, ...children);
}

/** Who speaks, for those who do not see on which side it stands. */
function speaker(name) {
  return h("h2", { class: "visually-hidden" }, name);
}

class UserView {
  #bubble = h("div", { class: "bubble" });
  #more = h("button", { type: "button", class: "link", "aria-expanded": "false", hidden: true, onclick: () => this.#unfold() });

  constructor(item) {
    this.node = h("li", { class: "item from-user", "data-kind": "message" }, speaker("You"), this.#bubble, this.#more);
    this.update(item);
  }

  update({ text }) {
    setText(this.#bubble, text);
    this.#more.hidden = text.length < LONG && text.split("\n").length <= LONG_LINES;
    this.#fold(!this.#more.hidden);
  }

  #unfold() {
    this.#fold(this.#more.getAttribute("aria-expanded") === "true");
  }

  #fold(folded) {
    this.#bubble.classList.toggle("folded", folded);
    this.#more.setAttribute("aria-expanded", String(!folded));
    setText(this.#more, folded ? "Show all" : "Show less");
  }
}

class AgentView {
  #markdown = new MarkdownView();
  #text = "";

  constructor(item) {
    const note = item.role !== "assistant";
    const actions = h("div", { class: "actions" }, copyButton(() => this.#text, "Copy the message"));
    this.node = agentLine("message", speaker(note ? `Note (${item.role})` : "Agent"), this.#markdown.node, actions);
    this.node.classList.toggle("note", note);
    this.node.prepend(h("span", { class: "avatar", "aria-hidden": "true" }, icon("path", "mark")));
    this.update(item);
  }

  update(item) {
    this.#text = item.text;
    this.#markdown.update(item.text);
    this.node.classList.toggle("open", item.open);
  }
}

/** What can be unfolded. What is inside is drawn only while it is unfolded. */
class Fold {
  #body = h("div", { class: "fold-body" });
  #name = h("span", { class: "fold-name" });
  #preview = h("span", { class: "fold-preview", "aria-hidden": "true" });
  #status = h("span", { class: "fold-status" });
  #draw = () => {};

  constructor(drawing) {
    const summary = h(
      "summary",
      {},
      icon("chevron", "turn"),
      icon(drawing),
      this.#name,
      this.#preview,
      this.#status,
    );
    this.node = h("details", { class: "fold", ontoggle: () => this.#drawOpen() }, summary, this.#body);
  }

  /** `draw(body)` puts what is inside into `body`; it is called again after every change. */
  show({ name, preview = "", status = "", mood = "", draw }) {
    setText(this.#name, name);
    setText(this.#preview, preview);
    setText(this.#status, status);
    this.node.dataset.mood = mood;
    this.#draw = draw;
    this.#drawOpen();
  }

  #drawOpen() {
    if (this.node.open) this.#draw(this.#body);
  }
}

class ReasoningView {
  #fold = new Fold("thought");
  #markdown = new MarkdownView();

  constructor(item) {
    this.node = agentLine("reasoning", this.#fold.node);
    this.update(item);
  }

  update({ text, open }) {
    this.#fold.show({
      name: open ? "Thinking…" : "Thoughts",
      preview: open ? text.slice(-PREVIEW).replace(/\s+/g, " ").trim() : "",
      mood: open ? "busy" : "",
      draw: (body) => {
        this.#markdown.update(text);
        if (this.#markdown.node.parentNode !== body) body.replaceChildren(this.#markdown.node);
      },
    });
  }
}

class ToolView {
  #fold = new Fold("tool");

  constructor(item) {
    this.node = agentLine("tool", this.#fold.node);
    this.update(item);
  }

  update({ name, args, result, error, open }) {
    const [mood, status] = toolStatus({ result, error, open });
    this.#fold.show({
      name: name || "Tool",
      preview: args.slice(0, PREVIEW).replace(/\s+/g, " "),
      status,
      mood,
      draw: (body) => {
        const parts = [section("Arguments", pretty(args))];
        if (result !== null) parts.push(section("Result", pretty(result)));
        if (error !== null) parts.push(section("Error", error));
        replaceSections(body, parts);
      },
    });
  }
}

function toolStatus({ result, error, open }) {
  if (error !== null) return ["bad", "failed"];
  if (result !== null) return ["good", "done"];
  return open ? ["busy", "calling…"] : ["", "called"];
}

/** Everything that is a name and a value: custom events, activities, results. */
class DataView {
  #fold = new Fold("event");

  constructor(item) {
    this.node = agentLine(item.kind, this.#fold.node);
    this.update(item);
  }

  update(item) {
    const value = item.kind === "activity" ? item.content : item.value;
    const text = typeof value === "string" ? value : (JSON.stringify(value, null, 2) ?? "");
    this.#fold.show({
      name: item.kind === "result" ? "Result" : item.kind === "activity" ? item.type : item.name,
      preview: text.slice(0, PREVIEW).replace(/\s+/g, " "),
      status: item.count > 1 ? `${item.count} times` : "",
      draw: (body) => replaceSections(body, [section("", text)]),
    });
  }
}

function section(title, text) {
  return { title, text };
}

/** Keep the elements that are there, so that a selection and the scroll position in them stay. */
function replaceSections(body, sections) {
  while (body.children.length > sections.length) body.lastChild.remove();
  sections.forEach(({ title, text }, index) => {
    const known = body.children[index];
    if (known !== undefined) {
      setText(known.firstChild, title);
      setText(known.lastChild, text);
      return;
    }
    const heading = h("h3", {}, title);
    body.append(h("section", {}, heading, h("pre", { tabindex: 0, "aria-label": title || "Value" }, text)));
  });
}

function pretty(text) {
  if (text.length > MAX_PRETTY) return text;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

class StepView {
  #drawing = h("span", { class: "step-icon" });
  #name = h("span");

  constructor(item) {
    this.node = agentLine("step", h("p", { class: "line" }, this.#drawing, this.#name));
    this.update(item);
  }

  update({ name, open, failed }) {
    const mood = open ? "busy" : failed ? "bad" : "good";
    setText(this.#name, failed ? `${name}: failed` : name);
    if (this.node.dataset.mood === mood) return;
    this.node.dataset.mood = mood;
    this.#drawing.replaceChildren(open ? h("span", { class: "spinner" }) : icon(failed ? "alert" : "check"));
  }
}

class LineView {
  constructor(drawing, text) {
    this.node = agentLine("line", h("p", { class: "line" }, icon(drawing), h("span", {}, text)));
  }

  update() {}
}

/** The last item can be tried again in its place; of one before others only the same can be said once more, at the end. */
class ErrorView {
  constructor(item, { retry, resend }) {
    const { what, next, detail, again } = adviceForRun(item);
    const button = (name, text, action) =>
      h("button", { type: "button", class: `secondary ${name}`, onclick: () => action(item) }, icon("again"), text);
    const buttons = [button("while-last", "Try again", retry), button("once-passed", "Send it again", resend)];
    this.node = agentLine(
      "error",
      h(
        "div",
        { class: "callout error" },
        h("p", {}, icon("alert"), h("span", {}, h("strong", {}, what), " ", h("span", { class: "while-last" }, next))),
        h("p", { class: "detail" }, detail),
        again ? h("div", { class: "buttons" }, ...buttons) : null,
      ),
    );
  }

  update() {}
}
