/**
 * The dashboard of one operator who is logged in: the live view, and what they change. Built at the login and closed at
 * its end.
 */

import { adviceFor } from "../advice.js";
import { Connection } from "../connection.js";
import { byId, setText } from "../dom.js";
import { StatusView } from "../status_view.js";
import { ActionsView } from "./actions_view.js";
import { AlertsView } from "./alerts_view.js";
import { BreakersView } from "./breakers_view.js";
import { ChartsView } from "./charts_view.js";
import { ControlsView } from "./controls_view.js";
import { Decision } from "./decision.js";
import { Feed } from "./feed.js";
import { FlagsView } from "./flags_view.js";
import { RunsView } from "./runs_view.js";
import { TilesView } from "./tiles_view.js";
import { UsersView } from "./users_view.js";
import { VerdictView } from "./verdict_view.js";

const NOTICE_MS = 7_000;
const STALE_LOOK_MS = 1_000;

/** The views that outlive a login: the page has each once. What is done in them goes to `delegate`. */
let views = null;

function build() {
  const to = (name) => (...facts) => views.delegate?.[name](...facts);
  const decide = to("decide");
  return {
    delegate: null,
    status: new StatusView({ connect: to("connect"), reload: () => location.reload() }),
    verdict: new VerdictView(),
    tiles: new TilesView(),
    charts: new ChartsView(),
    decision: new Decision(),
    alerts: new AlertsView(),
    breakers: new BreakersView(decide),
    flags: new FlagsView(decide),
    controls: new ControlsView(decide),
    users: new UsersView(to("runsOf")),
    runs: new RunsView({ timeline: to("timeline"), all: () => to("runsOf")(null) }),
    actions: new ActionsView(),
  };
}

export class Dashboard {
  #login;
  #api;
  #clock;
  #connection;
  #feed = new Feed();
  #timer = null;
  #owner = null;
  #recorded = null;
  #closed = false;

  /** @param {{login: object, api: import("../api.js").Api, session: object, clock: object}} parts */
  constructor({ login, api, session, clock }) {
    this.#login = login;
    this.#api = api;
    this.#clock = clock;
    views ??= build();
    this.#connection = new Connection({
      open: (token) => new WebSocket(address(), ["goldenpath.v1", `bearer.${token}`]),
      token: ({ suspect, rejected }) => this.#token(session, suspect, rejected),
      clock,
      random: Math.random,
      on: {
        state: (state) => {
          views.status.show(state);
          this.#drawVerdict();
        },
        expiring: (seconds) => session.expiring(seconds),
        other: (frame) => this.#take(frame),
      },
    });
  }

  open() {
    views.delegate = this;
    setText(byId("account-email"), this.#login.email);
    this.#drawVerdict();
    this.#connection.connect();
    this.#watch();
  }

  close() {
    this.#closed = true;
    this.#clock.clear(this.#timer);
    this.#connection.close();
    views.delegate = null;
    for (const view of Object.values(views)) view?.clear?.();
  }

  renewed(login) {
    this.#login = login;
    this.#connection.renew(login.access_token);
  }

  awake(online) {
    if (online) this.#connection.online();
    else this.#connection.check();
  }

  connect() {
    this.#connection.connect();
  }

  async #token(session, suspect, rejected) {
    if (rejected !== null) return session.renew(rejected);
    if (suspect) await this.#api.me(); // says whether the token is good, and renews it where it is not
    return session.token();
  }

  // --- what the server tells -----------------------------------------------------------------------------------------

  #take(frame) {
    const changed = this.#feed.take(frame, this.#clock.now());
    if (changed === null) return;
    const { sample, sections, columns } = this.#feed;
    if (sample !== null) views.tiles.draw(sample);
    views.charts.draw(columns);
    for (const name of changed) this.#drawSection(name, sections);
    this.#drawVerdict();
  }

  #drawSection(name, sections) {
    const told = sections[name];
    if (name === "alerts") views.alerts.draw(told, this.#clock.now());
    else if (name === "breakers") views.breakers.draw(told);
    else if (name === "flags") views.flags.draw(told);
    else if (name === "degradation" || name === "rollback") views.controls.draw(sections);
    else if (name === "users") views.users.draw(told, this.#owner);
    else if (name === "runs") this.#drawRuns(told);
    else if (name === "service") this.#drawService(told);
    else if (name === "operators") this.#readActions(told.recorded);
  }

  #drawService({ environment, version }) {
    setText(byId("environment"), environment);
    setText(byId("version"), `Version ${version}`);
    byId("environment").dataset.environment = environment;
  }

  #drawVerdict() {
    const connected = this.#connection.state.kind === "connected";
    views.verdict.draw(this.#feed, connected, this.#clock.now());
  }

  /** What is shown grows old without a frame that would say so. */
  #watch() {
    this.#timer = this.#clock.later(STALE_LOOK_MS, () => {
      this.#drawVerdict();
      this.#watch();
    });
  }

  async #readActions(recorded) {
    if (recorded === this.#recorded) return;
    this.#recorded = recorded;
    const answer = await this.#ask("GET", "v1/admin/actions?limit=20");
    if (answer !== null) views.actions.draw(answer.actions);
  }

  // --- looking closer ------------------------------------------------------------------------------------------------

  /** Show the runs of one owner; null: of all. */
  async runsOf(owner) {
    this.#owner = owner;
    views.users.draw(this.#feed.sections.users ?? [], owner);
    await this.#drawRuns(this.#feed.sections.runs);
    if (owner !== null) byId("runs-title").scrollIntoView({ block: "start" });
  }

  async #drawRuns(told) {
    const owner = this.#owner;
    if (owner === null) return views.runs.draw(told, null, this.#clock.now());
    const found = await this.#ask("GET", `v1/admin/runs?${new URLSearchParams({ owner, limit: "25" })}`);
    if (found !== null && owner === this.#owner) views.runs.draw(found, owner, this.#clock.now());
  }

  /** The timeline of a run; null where there is none to show, which was told. */
  timeline(number) {
    return this.#ask("GET", `v1/admin/runs/${number}`);
  }

  // --- changing ------------------------------------------------------------------------------------------------------

  /**
   * Let the operator confirm a change with a reason, and make it.
   *
   * @param {{title: string, text: string, action: string, danger?: boolean}} question
   * @param {(why: string) => {method: string, path: string, body?: object}} call
   */
  async decide(question, call) {
    await views.decision.ask(question, async (why) => {
      const { method, path, body } = call(why);
      await this.#api.call(method, path, body);
      this.#notice(`Done: ${question.title}`);
    });
  }

  async #ask(method, path) {
    try {
      return await this.#api.call(method, path);
    } catch (problem) {
      if (!this.#closed) this.#notice(problem.status === 404 ? problem.message : adviceFor(problem).what);
      return null;
    }
  }

  #notice(text) {
    const line = document.createElement("p");
    line.className = "notice";
    line.textContent = text;
    byId("notices").append(line);
    setTimeout(() => line.remove(), NOTICE_MS);
  }
}

function address() {
  const url = new URL("v1/admin/live", document.baseURI);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url;
}
