/**
 * What a feature flag is now, in words, and what switching it asks of the server. No DOM.
 */

const SHARES = { internal: "internal users", canary: "internal users and 10 %", staged: "internal users and 50 %" };

/**
 * @returns {{kind: "on" | "off" | "partial" | "variant", text: string}} `partial`: some users have it.
 */
export function flagState(flag) {
  const { rule } = flag;
  if (flag.variants !== null) return { kind: "variant", text: variantText(flag) };
  if (rule === null) return flag.default ? { kind: "on", text: "On" } : { kind: "off", text: "Off" };
  const where = limits(rule);
  if (rule.stage === "off" && !(rule.percent > 0)) return { kind: "off", text: "Off, by a rule" };
  const share = rule.percent === null ? SHARES[rule.stage] : `${rule.percent} %`;
  if ((share === undefined || rule.percent === 100) && where === "") return { kind: "on", text: "On, by a rule" };
  return { kind: "partial", text: `On for ${share ?? "everybody"}${where}` };
}

function variantText({ default: usual, rule }) {
  if (rule === null) return usual;
  if (rule.stage === "off") return `${usual}, by a rule`;
  const share = rule.percent === null ? SHARES[rule.stage] : `${rule.percent} %`;
  return `${rule.variant} for ${share ?? "everybody"}${limits(rule)}, else ${usual}`;
}

function limits(rule) {
  const found = [];
  if (rule.tiers.length > 0) found.push(`of the tiers ${rule.tiers.join(", ")}`);
  if (rule.environments.length > 0) found.push(`in ${rule.environments.join(", ")}`);
  return found.length > 0 ? ` ${found.join(" ")}` : "";
}

/**
 * The call that turns a boolean flag on or off for everybody, or (null) takes its rule away.
 *
 * @param {boolean | null} on
 * @param {string} why
 */
export function flagCall(flag, on, why) {
  const path = `v1/admin/flags/${encodeURIComponent(flag.name)}`;
  if (on === null || on === flag.default) return { method: "DELETE", path: `${path}?${new URLSearchParams({ why })}` };
  return { method: "PUT", path, body: { stage: on ? "full" : "off", why } };
}
