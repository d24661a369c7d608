/**
 * One sentence first: are users well served? Made of what the server says, worst first. No DOM.
 *
 * Unknown is never well: without news the verdict says so, whatever was told before.
 */

import { plural } from "./format.js";

/**
 * @typedef {{text: string, level: "bad" | "warn", to: string}} Reason `to`: the part of the page that says more.
 * @typedef {{level: "good" | "warn" | "bad" | "unknown", text: string, reasons: Reason[]}} Verdict
 */

/**
 * @param {Record<string, any>} sections
 * @param {{connected: boolean, stale: boolean}} link
 * @returns {Verdict}
 */
export function verdict(sections, { connected, stale }) {
  const { service } = sections;
  if (service === undefined) return unknown(connected ? "Waiting for the server…" : "Connecting…");
  const reasons = [...ofService(service), ...ofAlerts(sections.alerts), ...ofWork(sections)];
  reasons.sort((a, b) => Number(a.level === "warn") - Number(b.level === "warn"));
  if (!connected || stale) return { ...unknown("Not known: nothing is heard from the server."), reasons };
  if (reasons.some((reason) => reason.level === "bad")) return { level: "bad", text: "Users are not well served.", reasons };
  if (reasons.length > 0) return { level: "warn", text: "Users are served, with a warning.", reasons };
  return { level: "good", text: "Users are well served.", reasons };
}

function unknown(text) {
  return { level: "unknown", text, reasons: [] };
}

function bad(text, to) {
  return { text, level: "bad", to };
}

function warn(text, to) {
  return { text, level: "warn", to };
}

function ofService(service) {
  const found = [];
  if (service.state === "draining") found.push(bad("The server is shutting down.", "figures"));
  if (service.state === "not_ready") found.push(bad("The server is not ready.", "figures"));
  if (!service.log_healthy) found.push(bad("The log cannot be written.", "figures"));
  for (const each of service.breaches) found.push(bad(`Not kept: ${each}.`, "figures"));
  for (const each of service.dependencies) {
    if (each.verdict === "waiting") found.push(warn(`Waiting for ${each.what}: ${each.found}`, "figures"));
  }
  return found;
}

function ofAlerts(told) {
  const found = [];
  for (const alert of told?.alerts ?? []) {
    if (alert.state === "firing") found.push(bad(`Alert ${alert.name}: ${alert.summary}`, "alerts"));
    if (alert.state === "pending") found.push(warn(`Alert ${alert.name} may fire: ${alert.summary}`, "alerts"));
  }
  return found;
}

function ofWork({ degradation, breakers, rollback, overload, flags }) {
  const found = [];
  if (degradation !== undefined && degradation.level !== "normal") {
    const bySomebody = degradation.forced ? " An operator decided it." : "";
    found.push(warn(`Degraded to ${degradation.level}. ${degradation.meaning}${bySomebody}`, "controls"));
  }
  if (overload !== undefined && overload.taken < 1) {
    found.push(warn(`Overloaded: ${Math.round(overload.taken * 100)} % of new runs are taken.`, "figures"));
  }
  const open = (breakers ?? []).filter(({ breaker }) => isOpen(breaker));
  if (open.length > 0) found.push(warn(`${plural(open.length, "dependency").replace("ys", "ies")} may not be asked: ${open.map((each) => each.dependency).join(", ")}.`, "breakers"));
  if ((rollback?.in_effect ?? []).length > 0) found.push(warn(`Rolled back: ${rollback.in_effect.join(", ")}.`, "controls"));
  if (flags?.problem) found.push(warn(`The file of flags cannot be used: ${flags.problem}`, "flags"));
  return found;
}

/** Whether a circuit breaker refuses calls. */
export function isOpen(breaker) {
  return breaker.forced === "open" || (breaker.forced === null && breaker.state !== "closed");
}
