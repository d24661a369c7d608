/**
 * A question of an agent to a person, with the controls to answer it. One form for all that the run asked at once,
 * because they are answered together.
 */

import { answerFrom, fieldsOf, isYesOrNo } from "./answers.js";
import { h, icon, setText } from "./dom.js";

export class QuestionView {
  #answer;
  #item;
  #forms = [];
  #error = h("p", { class: "form-error", role: "alert", hidden: true });

  /** `answer(item, entries)` is called with AG-UI's resume entries. */
  constructor(item, answer) {
    this.#item = item;
    this.#answer = answer;
    this.node = h("li", { class: "item from-agent", "data-kind": "question" });
    this.#draw();
  }

  update(item) {
    this.#item = item;
    this.#draw();
  }

  #draw() {
    const { interrupts, answers } = this.#item;
    if (answers !== null) {
      const lines = interrupts.map((interrupt, index) => answered(interrupt, answers[index]));
      this.node.replaceChildren(h("div", { class: "callout question done" }, ...lines));
      return;
    }
    this.#forms = interrupts.map((interrupt) => new InterruptForm(interrupt));
    const form = h(
      "form",
      { class: "callout question", novalidate: true, onsubmit: (event) => this.#submit(event) },
      ...this.#forms.map((found) => found.node),
      this.#error,
      h("div", { class: "buttons" }, ...this.#buttons()),
    );
    this.node.replaceChildren(form);
  }

  #buttons() {
    const decline = h("button", { type: "submit", class: "secondary", value: "decline" }, "Do not answer");
    const [only] = this.#item.interrupts;
    if (this.#item.interrupts.length === 1 && isYesOrNo(only.responseSchema)) {
      return [
        h("button", { type: "submit", class: "primary", value: "yes" }, "Yes"),
        h("button", { type: "submit", class: "secondary", value: "no" }, "No"),
        decline,
      ];
    }
    return [h("button", { type: "submit", class: "primary", value: "answer" }, "Answer"), decline];
  }

  #submit(event) {
    event.preventDefault();
    const choice = event.submitter?.value ?? "answer";
    let entries;
    try {
      entries = this.#forms.map((form) => form.entry(choice));
    } catch (error) {
      setText(this.#error, error.message);
      this.#error.hidden = false;
      return;
    }
    for (const control of this.node.querySelectorAll("button, input, select, textarea")) control.disabled = true;
    this.#answer(this.#item, entries);
  }
}

/** One question of possibly several. */
class InterruptForm {
  #interrupt;
  #fields;
  #controls;

  constructor(interrupt) {
    this.#interrupt = interrupt;
    this.#fields = fieldsOf(interrupt.responseSchema);
    const yesOrNo = isYesOrNo(interrupt.responseSchema);
    this.#controls = this.#fields.map((field, index) => control(field, `answer-${interrupt.id}-${index}`));
    const rows = yesOrNo ? [] : this.#fields.map((field, index) => row(field, this.#controls[index]));
    this.node = h("fieldset", {}, h("legend", {}, icon("question"), h("span", {}, question(interrupt))), expiry(interrupt), ...rows);
  }

  entry(choice) {
    const interruptId = this.#interrupt.id;
    if (choice === "decline") return { interruptId, status: "cancelled" };
    const values =
      choice === "answer"
        ? this.#controls.map((input) => (input.type === "checkbox" ? input.checked : input.value))
        : [choice === "yes"];
    const payload = answerFrom(this.#interrupt.responseSchema, this.#fields, values);
    return { interruptId, status: "resolved", payload };
  }
}

function control(field, id) {
  const described = field.hint === "" ? null : `${id}-hint`;
  const common = { id, "aria-describedby": described, required: field.required && field.type !== "boolean" };
  const initial = field.initial;
  switch (field.type) {
    case "boolean":
      return h("input", { ...common, type: "checkbox", checked: initial === true });
    case "choice": {
      const options = field.choices.map((choice, index) =>
        h("option", { value: index, selected: choice === initial }, typeof choice === "string" ? choice : JSON.stringify(choice)),
      );
      return h("select", common, h("option", { value: "" }, "Choose…"), ...options);
    }
    case "long":
    case "json": {
      const text = initial === undefined ? "" : field.type === "json" ? JSON.stringify(initial, null, 2) : String(initial);
      return h("textarea", { ...common, rows: field.type === "json" ? 5 : 2, spellcheck: field.type === "json" ? "false" : null }, text);
    }
    case "text":
      return h("input", { ...common, type: "text", value: initial });
    default:
      return h("input", { ...common, type: "number", step: field.type === "integer" ? 1 : "any", value: initial });
  }
}

function row(field, input) {
  const label = h("label", { for: input.id }, field.label, field.required ? null : h("span", { class: "optional" }, " (optional)"));
  const hint = field.hint === "" ? null : h("p", { class: "hint", id: `${input.id}-hint` }, field.hint);
  if (field.type === "boolean") return h("div", { class: "field check" }, input, label, hint);
  return h("div", { class: "field" }, label, hint, input);
}

function question({ message, reason }) {
  return message ?? `The agent needs your answer (${reason}).`;
}

function expiry({ expiresAt }) {
  if (expiresAt === undefined) return null;
  const time = new Date(expiresAt);
  if (Number.isNaN(time.getTime())) return null;
  return h("p", { class: "hint" }, `Answer before ${time.toLocaleString([], { dateStyle: "medium", timeStyle: "short" })}.`);
}

function answered(interrupt, answer) {
  return h("p", {}, icon("question"), h("span", {}, question(interrupt), " ", h("strong", {}, said(answer))));
}

function said({ status, payload }) {
  if (status === "passed") return "Not answered.";
  if (status === "cancelled") return "You did not want to answer.";
  if (payload === undefined || payload === null) return "Answered.";
  if (typeof payload === "boolean") return payload ? "Yes" : "No";
  if (typeof payload === "string") return payload;
  const values = typeof payload === "object" ? Object.entries(payload) : [];
  if (values.length === 1 && typeof values[0][1] === "boolean") return values[0][1] ? "Yes" : "No";
  return JSON.stringify(payload);
}
