/**
 * The chat of one user who is logged in: the list of conversations, the open one, and the connection they share. Built
 * at the login and closed at its end; nothing of it outlives the user.
 */

import { adviceFor } from "./advice.js";
import { Connection } from "./connection.js";
import { Conversation } from "./conversation.js";
import { Outbox } from "./outbox.js";
import { ThreadList } from "./thread_list.js";
import { Titles } from "./titles.js";

const ROUTE = /^#\/t\/([A-Za-z0-9._:%-]+)$/;
const THREAD_ID = /^[A-Za-z0-9._:-]{1,128}$/;
const VISIBLE_CHECK_MS = 4_000;
/** What a command has beside its text, with room to spare. */
const ENVELOPE_BYTES = 2_000;

export class Chat {
  #login;
  #api;
  #session;
  #page;
  #outbox;
  #titles;
  #threads;
  #connection;
  #channel;
  #agents = [];
  /** @type {Conversation | null} */
  #conversation = null;
  /** Whether the open conversation has been begun by a message: a new one is not in the address yet. */
  #isNew = false;
  #untitled = [];
  #closed = false;

  /** @param {{login: object, api: object, session: object, page: import("./page.js").Page, clock: object}} parts */
  constructor({ login, api, session, page, clock }) {
    this.#login = login;
    this.#api = api;
    this.#session = session;
    this.#page = page;
    this.#outbox = new Outbox(sessionStorage, login.user_id);
    this.#titles = new Titles(localStorage, login.user_id);
    this.#threads = new ThreadList(api, () => this.#drawThreads());
    this.#channel = new BroadcastChannel(`goldenpath.threads.${login.user_id}`);
    this.#channel.onmessage = () => this.#threads.refresh();
    this.#connection = new Connection({
      open: (token) => new WebSocket(socketAddress(), ["goldenpath.v1", `bearer.${token}`]),
      token: (hint) => this.#token(hint),
      clock,
      random: Math.random,
      on: {
        state: (state) => this.#linkChanged(state),
        event: (threadId, frame) => this.#conversation?.threadId === threadId && this.#conversation.take(frame),
        deleted: (threadId) => this.#gone(threadId, "This conversation was deleted."),
        missing: (threadId) => this.#missing(threadId),
        problem: (threadId, problem) => page.notice(adviceFor(problem).what),
        expiring: (seconds) => session.expiring(seconds),
      },
    });
  }

  /** Show the chat. Does not reject. */
  open() {
    const { email } = this.#login;
    this.#page.delegate = this;
    this.#page.show(true);
    this.#page.account(email);
    this.#connection.connect();
    this.route();
    this.#threads.refresh();
    this.#readAgents();
    for (const entry of this.#outbox.entries) if (entry.status === "waiting") this.#dispatch(entry);
  }

  /** Take everything of this user off the page. `forget`: the user logged out, so forget what was kept as well. */
  close(forget) {
    this.#closed = true;
    this.#page.delegate = null;
    this.#channel.close();
    this.#conversation?.close();
    this.#connection.close();
    this.#conversation = null;
    this.#page.show(false);
    if (!forget) return;
    this.#outbox.clear();
    this.#titles.clear();
    for (const key of Object.keys(sessionStorage)) {
      if (key.startsWith(`goldenpath.draft.${this.#login.user_id}.`)) sessionStorage.removeItem(key);
    }
  }

  /** The login got newer tokens. */
  renewed(login) {
    this.#login = login;
    this.#connection.renew(login.access_token);
  }

  /** The page is looked at again, or the network is back. */
  awake(online) {
    if (online) this.#connection.online();
    else this.#connection.check(VISIBLE_CHECK_MS);
    if (navigator.onLine) this.#threads.refresh();
  }

  /** Open what the address names. */
  route() {
    const encoded = ROUTE.exec(location.hash)?.[1];
    const threadId = encoded === undefined ? "" : decoded(encoded);
    if (THREAD_ID.test(threadId)) this.#openThread(threadId, false);
    else this.#openThread(newId(), true);
  }

  // --- what the user does --------------------------------------------------------------------------------------------

  send(text, agent) {
    const room = this.#connection.maxMessageBytes - ENVELOPE_BYTES;
    const size = new TextEncoder().encode(JSON.stringify(text)).length;
    if (size > room) {
      this.#page.composer.note(`This message is too long by ${size - room} bytes. Shorten it.`);
      return false;
    }
    const conversation = this.#conversation;
    if (conversation.phase !== "ready") {
      this.#page.composer.note("The conversation is not loaded yet. Send it again in a moment.");
      return false;
    }
    this.#begun(text);
    this.#dispatch(conversation.say(text, agent));
    this.#page.transcript.follow();
    return true;
  }

  stop() {
    this.#conversation.stop();
  }

  answer(question, entries) {
    this.#ask((conversation) => conversation.answer(question, entries));
    this.#focus();
  }

  retry(failure) {
    this.#ask((conversation) => conversation.again(failure));
    this.#focus();
  }

  resend(failure) {
    this.#ask((conversation) => conversation.resend(failure));
    this.#page.transcript.follow();
    this.#focus();
  }

  sendAgain(runId) {
    const entry = this.#outbox.entries.find((candidate) => candidate.run_id === runId);
    if (entry === undefined) return;
    this.#outbox.mark(runId, "waiting");
    this.#dispatch(entry);
  }

  drop(runId) {
    this.#outbox.remove(runId);
    this.#page.transcript.schedule();
  }

  /** Take back what was sent but not answered: it is not sent again, and cancelled should it have arrived. */
  takeBack(runId) {
    const entry = this.#outbox.remove(runId);
    if (entry !== undefined) this.#connection.takeBack(entry.thread_id, runId);
    this.#page.transcript.schedule();
  }

  withdraw(runId) {
    this.#conversation.withdraw(runId).catch((problem) => this.#page.notice(adviceFor(problem).what));
  }

  connect() {
    this.#connection.connect();
  }

  chooseAgent(name) {
    this.#selectAgent(name);
    localStorage.setItem(this.#agentKey, name);
  }

  chooseAgentCard(name) {
    this.chooseAgent(name);
    this.#page.composer.focus();
  }

  async removeThread(thread) {
    const threadId = thread.thread_id;
    if (!(await this.#page.confirmDelete(this.#titles.of(threadId) ?? "This conversation"))) return;
    try {
      await this.#api.deleteThread(threadId);
    } catch (problem) {
      if (problem.code !== "not_found") {
        const { what, next } = adviceFor(problem);
        this.#page.notice(`It was not deleted. ${what} ${next}`);
        return;
      }
    }
    if (this.#closed) return;
    this.#channel.postMessage("changed");
    this.#gone(threadId, "The conversation is deleted.");
  }

  moreThreads() {
    this.#threads.more();
  }

  /** A conversation without a title has come into view: read what it begins with, one at a time. */
  threadSeen(threadId) {
    if (this.#titles.of(threadId) !== null || this.#untitled.includes(threadId)) return;
    this.#untitled.push(threadId);
    if (this.#untitled.length === 1) this.#readTitles();
  }

  // --- drawing -------------------------------------------------------------------------------------------------------

  /** Once a frame at most, when the transcript's view asks for it. */
  draw() {
    const conversation = this.#conversation;
    if (conversation === null) return;
    const { transcript, phase, problem, stopping, waiting } = conversation;
    const { activeRun } = transcript;
    const page = this.#page;
    const connected = this.#connection.state.kind === "connected";
    page.loading(phase === "loading");
    page.loadError(problem === null ? null : adviceFor(problem), () => conversation.load());
    page.welcome.show(conversation.isEmpty);
    page.transcript.render(transcript);
    page.outbox.render(waiting, { connected, busy: activeRun !== null });
    page.transcript.working(activeRun === null ? null : workingText(transcript, stopping, connected), connected);
    page.composer.running(activeRun === null ? "no" : stopping ? "stopping" : connected ? "yes" : "away");
    page.state(transcript.state, `${conversation.threadId} ${transcript.stateVersion}`);
    this.#learnTitle(conversation);
    page.title(this.#titles.of(conversation.threadId), this.#isNew ? "New conversation" : "Conversation");
  }

  #drawThreads() {
    if (this.#closed) return;
    const { threads, problem, isKnown, hasMore } = this.#threads;
    const none = isKnown && threads.length === 0 ? "Your conversations will be listed here." : "";
    this.#page.threads.render({
      threads,
      current: this.#conversation?.threadId ?? null,
      hasMore,
      note: problem === null ? none : `The list could not be read. ${adviceFor(problem).next}`,
      title: (threadId) => this.#titles.of(threadId),
    });
  }

  // --- conversations -------------------------------------------------------------------------------------------------

  #openThread(threadId, isNew) {
    if (this.#conversation?.threadId === threadId) return;
    this.#conversation?.close();
    this.#isNew = isNew;
    const conversation = new Conversation({
      threadId,
      api: this.#api,
      connection: this.#connection,
      outbox: this.#outbox,
      newId,
      on: {
        changed: () => this.#page.transcript.schedule(),
        agent: (name) => this.#conversation === conversation && this.#selectAgent(name),
        missing: () => this.#missing(threadId),
        moved: () => this.#threads.refresh(),
      },
    });
    this.#conversation = conversation;
    this.#page.composer.open(this.#draftKey);
    this.#page.sidebar.close();
    if (isNew) conversation.begin();
    else conversation.load();
    this.#focus();
    this.#drawThreads();
  }

  /** The first message gives a new conversation its place in the address and in the list. */
  #begun(text) {
    const { threadId } = this.#conversation;
    this.#titles.learn(threadId, text);
    if (!this.#isNew) return;
    this.#isNew = false;
    history.replaceState(null, "", `#/t/${threadId}`);
    this.#page.composer.rename(this.#draftKey);
  }

  async #ask(make) {
    const conversation = this.#conversation;
    try {
      this.#dispatch(await make(conversation));
    } catch (problem) {
      const { what, next } = adviceFor(problem);
      this.#page.notice(`${what} ${next}`);
      conversation.transcript.redraw();
      this.#page.transcript.schedule();
    }
  }

  /** Send an entry of the outbox. It may have been sent before: then the server answers the same run. */
  #dispatch(entry) {
    const { run_id: runId, thread_id: threadId } = entry;
    this.#page.transcript.schedule();
    this.#connection.run(Outbox.command(entry)).then(
      (reply) => {
        this.#outbox.mark(runId, "accepted");
        if (this.#conversation?.threadId === threadId) this.#conversation.accepted(reply);
        this.#channelChanged();
      },
      ({ code, message, retryAfter }) => {
        if (code === "closed") return;
        this.#outbox.mark(runId, "refused", { code, message, retryAfter });
        this.#page.transcript.schedule();
      },
    );
  }

  #channelChanged() {
    if (this.#closed) return;
    this.#channel.postMessage("changed");
    this.#threads.refresh();
  }

  #missing(threadId) {
    if (this.#outbox.of(threadId).length > 0) return; // its first run is under way
    this.#gone(threadId, "This conversation does not exist.");
  }

  #gone(threadId, text) {
    this.#outbox.removeThread(threadId);
    this.#titles.forget(threadId);
    this.#threads.remove(threadId);
    this.#page.notice(text);
    if (this.#conversation?.threadId !== threadId) return;
    history.replaceState(null, "", "#/");
    this.route();
  }

  /** Where to go on: the text, unless focusing it would bring up a keyboard on the screen. */
  #focus() {
    if (matchMedia("(pointer: fine)").matches) this.#page.composer.focus();
    else this.#page.transcript.focus();
  }

  // --- titles and agents ---------------------------------------------------------------------------------------------

  #learnTitle({ threadId, transcript }) {
    if (this.#titles.of(threadId) !== null) return;
    const first = transcript.items.find((item) => item.kind === "message" && item.role === "user");
    if (first !== undefined && this.#titles.learn(threadId, first.text)) this.#drawThreads();
  }

  async #readTitles() {
    while (this.#untitled.length > 0 && !this.#closed) {
      const [threadId] = this.#untitled;
      try {
        const { messages } = await this.#api.messages(threadId);
        const first = messages.find((message) => message.role === "user");
        const learned = typeof first?.content === "string" && this.#titles.learn(threadId, first.content);
        if (learned && !this.#closed) this.#drawThreads();
      } catch {
        // It keeps the title that says nothing.
      }
      this.#untitled.shift();
    }
  }

  async #readAgents() {
    try {
      this.#agents = await this.#api.agents();
    } catch (problem) {
      if (this.#closed) return;
      this.#page.composer.note(`The agents could not be read. ${adviceFor(problem).next}`);
      return;
    }
    if (this.#closed) return;
    this.#page.composer.note(this.#agents.length === 0 ? "No agent is available to you. Ask whoever runs this server." : "");
    const names = this.#agents.map((agent) => agent.name);
    const wanted = [this.#conversation?.agent, localStorage.getItem(this.#agentKey)].find((name) => names.includes(name));
    const selected = wanted ?? names[0] ?? null;
    this.#page.composer.setAgents(this.#agents, selected);
    this.#page.welcome.setAgents(this.#agents, selected);
  }

  #selectAgent(name) {
    this.#page.composer.selectAgent(name);
    this.#page.welcome.selectAgent(name);
  }

  get #agentKey() {
    return `goldenpath.agent.${this.#login.user_id}`;
  }

  /** All new conversations share a draft until they are begun. */
  get #draftKey() {
    return `goldenpath.draft.${this.#login.user_id}.${this.#isNew ? "" : this.#conversation.threadId}`;
  }

  // --- the connection ------------------------------------------------------------------------------------------------

  async #token({ suspect, rejected }) {
    if (rejected !== null) return this.#session.renew(rejected);
    if (suspect) await this.#api.me();
    return this.#session.token();
  }

  #linkChanged(state) {
    if (this.#closed) return;
    this.#page.status.show(state);
    this.#page.transcript.schedule();
    if (state.kind !== "connected") return;
    if (this.#conversation?.phase === "failed") this.#conversation.load();
    if (this.#agents.length === 0) this.#readAgents();
    if (this.#threads.problem !== null) this.#threads.refresh();
  }
}

function workingText(transcript, stopping, connected) {
  if (!connected) return "The answer goes on without this page. You will see it when the connection is back.";
  if (stopping) return "Stopping…";
  const last = transcript.items.at(-1);
  if (last?.kind === "tool" && last.result === null) return `Using ${last.name}…`;
  if (last?.kind === "reasoning" && last.open) return "Thinking…";
  return "Working…";
}

/** Empty where it is not well encoded. */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return "";
  }
}

/** The socket lies beside the page, wherever that is mounted. */
function socketAddress() {
  const address = new URL("v1/ws", document.baseURI);
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  address.hash = "";
  return address;
}

/** Ids that nobody else makes. crypto.randomUUID would need a secure context. */
function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
