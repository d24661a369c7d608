/**
 * How a question's JSON schema becomes a form: which fields to show, and the answer from what was filled in. No DOM.
 *
 * Schemas that a form cannot show (nested objects, alternatives) are answered as JSON text.
 */

/**
 * @typedef {{name: string, label: string, hint: string, required: boolean,
 *   type: "text" | "long" | "number" | "integer" | "boolean" | "choice" | "json", choices: unknown[], initial: unknown}}
 *   Field `name` is "" where the answer is the value itself.
 */

/** The fields of a schema. @returns {Field[]} */
export function fieldsOf(schema) {
  if (schema === undefined || schema === null) return [field("", {}, "Answer", true, "long")];
  if (schema.type !== "object" || schema.properties === undefined) return [field("", schema, "Answer", true)];
  const names = Object.keys(schema.properties);
  if (names.length === 0) return [];
  const required = new Set(schema.required ?? []);
  const fields = names.map((name) => field(name, schema.properties[name], title(name), required.has(name)));
  return fields.some((found) => found.type === "json") ? [field("", schema, "Answer, as JSON", true, "json")] : fields;
}

/** Whether the whole answer is yes or no: then two buttons say more than a form. */
export function isYesOrNo(schema) {
  const fields = fieldsOf(schema);
  return fields.length === 1 && fields[0].type === "boolean";
}

/** The answer, from the text or boolean of each field. Throws `TypeError` with a sentence for the user. */
export function answerFrom(schema, fields, values) {
  const answer = {};
  for (const [index, { name, label, type, required, choices }] of fields.entries()) {
    const value = convert(values[index], type, choices, label);
    if (value === undefined && required) throw new TypeError(`${label}: please fill this in.`);
    if (name === "") return value;
    if (value !== undefined) Object.defineProperty(answer, name, { value, enumerable: true });
  }
  return answer;
}

function convert(value, type, choices, label) {
  if (type === "boolean") return value;
  if (value === undefined || value === "") return undefined;
  if (type === "choice") return choices[Number(value)];
  if (type === "json") {
    try {
      return JSON.parse(value);
    } catch {
      throw new TypeError(`${label}: this is not JSON.`);
    }
  }
  if (type !== "number" && type !== "integer") return value;
  const number = Number(value);
  if (!Number.isFinite(number) || (type === "integer" && !Number.isInteger(number))) {
    throw new TypeError(`${label}: please give a ${type === "integer" ? "whole number" : "number"}.`);
  }
  return number;
}

function field(name, schema, label, required, type = typeOf(schema)) {
  const { title: given, description = "", enum: listed, const: only, default: initial } = schema;
  const choices = listed ?? (only === undefined ? [] : [only]);
  return { name, label: given ?? label, hint: description, required, type, choices, initial };
}

function typeOf(schema) {
  if (Array.isArray(schema.enum) || schema.const !== undefined) return "choice";
  if (["number", "integer", "boolean"].includes(schema.type)) return schema.type;
  if (schema.type === "string") return (schema.maxLength ?? 0) > 200 ? "long" : "text";
  return "json";
}

/** `send_now` and `sendNow` read "Send now". */
function title(name) {
  const words = name.replace(/([a-z])([A-Z])/g, "$1 $2").replace(/[_-]+/g, " ").trim().toLowerCase();
  return words.charAt(0).toUpperCase() + words.slice(1);
}
