// Ask, watch the answer stream, open its citations.

import { ApiError, chat, conversation, type Answer, type Citation, type Exchange, type Filter, type Turn, type Verdict } from "./api";
import { renderAnswer } from "./answer";
import { History } from "./conversations";
import { fileName, h, icon, place } from "./dom";
import { FilterBar, inWords } from "./filters";
import { thumbs } from "./thumbs";
import type { Viewer } from "./viewer";
import { Reasons } from "./why";

const MAX_TURNS = 20; // earlier turns sent along
const EARLIER_MAX = 8; // of them, questions that are searched too

export class AskView {
  readonly element: HTMLElement;
  private readonly log = h("div", { class: "log", role: "log", "aria-live": "off" });
  private readonly said = h("p", { class: "sr", role: "status", "aria-live": "polite" });
  private readonly input: HTMLTextAreaElement;
  private readonly button: HTMLButtonElement;
  private readonly welcome: HTMLElement;
  private readonly filters = new FilterBar();
  private turns: Turn[] = [];
  private running: AbortController | null = null;
  private kept: string | null = null; // the conversation that this is kept in
  private readonly history: History;

  constructor(
    private readonly viewer: Viewer,
    private readonly onSignedOut: () => void,
  ) {
    this.input = h("textarea", { id: "question", rows: "1", placeholder: "Ask your documents…", "aria-label": "Your question", maxlength: "8000", autocomplete: "off" });
    this.button = h("button", { class: "send", type: "submit", "aria-label": "Ask", title: "Ask (Enter)" }, icon("send"));
    const form = h("form", { class: "composer" }, this.input, this.button);
    form.addEventListener("submit", (e) => {
      e.preventDefault();
      if (this.running !== null) this.running.abort();
      else void this.ask();
    });
    this.input.addEventListener("keydown", (e) => {
      if (e.key === "Enter" && !e.shiftKey && !e.isComposing) {
        e.preventDefault();
        if (this.running === null) void this.ask();
      }
    });
    this.input.addEventListener("input", () => this.grow());
    this.welcome = h(
      "div",
      { class: "welcome" },
      h("h2", {}, "What would you like to know?"),
      h("p", {}, "Answers are made from your own documents, on this machine. Each sentence cites the page it comes from."),
    );
    this.history = new History({
      open: (id) => void this.open(id),
      gone: (id) => {
        if (id === null || id === this.kept) this.reset();
      },
      signedOut: onSignedOut,
    });
    const fresh = h("button", { class: "quiet new", type: "button", onclick: () => this.reset() }, icon("plus"), "New question");
    const section = h(
      "section",
      { class: "ask", "aria-label": "Ask" },
      h("h1", { class: "sr" }, "Ask your documents"),
      this.history.toggle,
      this.welcome,
      this.log,
      this.said,
      h("div", { class: "dock" }, this.filters.element, form, h("div", { class: "under" }, h("span", { class: "hint" }, "Enter to ask · Shift+Enter for a new line"), fresh)),
    );
    this.element = h("div", { class: "ask-room" }, this.history.element, section);
    void this.history.refresh();
  }

  focus(): void {
    this.input.focus();
  }

  private grow(): void {
    this.input.style.height = "auto";
    this.input.style.height = `${Math.min(this.input.scrollHeight, 220)}px`;
  }

  private reset(): void {
    this.running?.abort();
    this.clear();
    this.welcome.hidden = false;
    this.focus();
  }

  private clear(): void {
    this.turns = [];
    this.kept = null;
    this.history.mark(null);
    this.log.replaceChildren();
    this.viewer.close();
  }

  /** A conversation that was kept, to be gone on with. */
  private async open(id: string): Promise<void> {
    this.running?.abort();
    try {
      const c = await conversation(id);
      this.clear();
      this.welcome.hidden = true;
      this.kept = c.id;
      this.history.mark(c.id);
      const earlier: string[] = [];
      for (const e of c.exchanges) {
        this.past(e, earlier.slice(-EARLIER_MAX));
        earlier.push(e.question ?? "");
        this.turns.push({ role: "user", content: e.question ?? "" }, { role: "assistant", content: e.text ?? "" });
      }
      this.log.lastElementChild?.scrollIntoView({ block: "start" });
      this.focus();
    } catch (e) {
      if (e instanceof ApiError && e.status === 401) return this.onSignedOut();
      this.clear();
      this.log.append(h("p", { class: "problem", role: "alert" }, (e as Error).message));
      void this.history.refresh();
    }
  }

  /** A question that was answered before. */
  private past(e: Exchange, earlier: string[]): void {
    const facts = e.carrel ?? {};
    const text = h("div", { class: "answer-text" });
    const sources = h("ol", { class: "sources", "aria-label": "Sources" });
    const foot = h("p", { class: "foot" });
    const question = e.question ?? "";
    const exchange = h("article", { class: `exchange${facts.refused ? " refused" : ""}` }, h("h2", { class: "question" }, question), scope(e.filter), text, sources, foot);
    renderAnswer(text, e.text ?? "", e.citations ?? [], (c, from) => void this.viewer.open(c, from));
    const reasons = new Reasons({ query: question, earlier, rewritten: facts.rewritten, widen: facts.widen, filter: e.filter });
    const said = (passage: number) => e.feedback?.find((f) => f.passage === passage)?.verdict;
    this.listSources(sources, e.text ?? "", e.citations ?? [], reasons, e.answer, said);
    sources.after(reasons.whyNot());
    this.describe(foot, facts);
    if (e.answer && !facts.refused) foot.append(thumbs(e.answer, "this answer", undefined, said(0)));
    this.log.append(exchange);
  }

  private busy(on: boolean): void {
    this.button.replaceChildren(icon(on ? "stop" : "send"));
    this.button.setAttribute("aria-label", on ? "Stop" : "Ask");
    this.button.title = on ? "Stop" : "Ask (Enter)";
    this.element.classList.toggle("busy", on);
  }

  private async ask(): Promise<void> {
    const question = this.input.value.trim();
    if (question === "") return;
    this.welcome.hidden = true;
    this.input.value = "";
    this.grow();
    const text = h("div", { class: "answer-text", "aria-busy": "true" }, h("p", { class: "thinking" }, "Reading…"));
    const sources = h("ol", { class: "sources", "aria-label": "Sources" });
    const foot = h("p", { class: "foot" });
    const filter = this.filters.value();
    const exchange = h("article", { class: "exchange" }, h("h2", { class: "question" }, question), scope(filter), text, sources, foot);
    this.log.append(exchange);
    exchange.scrollIntoView({ block: "start", behavior: "smooth" });
    const abort = new AbortController();
    this.running = abort;
    this.busy(true);
    let answer = "";
    let citations: Citation[] = [];
    let facts: Answer = {};
    let failed = "";
    let due = 0;
    const paint = () => {
      due = 0;
      renderAnswer(text, answer, citations, (c, from) => void this.viewer.open(c, from));
    };
    this.turns.push({ role: "user", content: question });
    const earlier = this.turns.slice(-MAX_TURNS, -1).filter((t) => t.role === "user").map((t) => t.content).slice(-EARLIER_MAX);
    try {
      await chat(
        this.turns.slice(-MAX_TURNS),
        {
          onText: (delta) => {
            answer += delta;
            due ||= requestAnimationFrame(paint);
          },
          onCitations: (c) => {
            citations = c;
            due ||= requestAnimationFrame(paint);
          },
          onAnswer: (a) => (facts = { ...facts, ...a }),
        },
        abort.signal,
        filter,
        this.history.keeps ? (this.kept ?? "new") : undefined,
      );
      if (facts.conversation && this.running === abort) {
        this.kept = facts.conversation;
        this.history.mark(this.kept);
        void this.history.refresh();
      }
      this.turns.push({ role: "assistant", content: answer });
    } catch (e) {
      this.turns.pop();
      if (e instanceof ApiError && e.status === 401) return this.onSignedOut();
      const stopped = abort.signal.aborted;
      foot.classList.add(stopped ? "stopped" : "failed");
      failed = stopped ? "Stopped." : (e as Error).message;
      foot.append(failed, " ", this.again(question, exchange));
      if (answer === "") text.replaceChildren();
    } finally {
      cancelAnimationFrame(due);
      if (answer !== "") paint();
      text.setAttribute("aria-busy", "false");
      this.running = null;
      this.busy(false);
    }
    if (facts.refused) exchange.classList.add("refused");
    const reasons = new Reasons({ query: question, earlier, rewritten: facts.rewritten, widen: facts.widen, filter });
    this.listSources(sources, answer, citations, reasons, facts.answer_id);
    if (facts.answer_id) sources.after(reasons.whyNot());
    this.describe(foot, facts);
    if (facts.answer_id && answer !== "" && !facts.refused) foot.append(thumbs(facts.answer_id, "this answer"));
    this.said.textContent = failed === "" ? answer : failed;
  }

  /** What was asked in vain is asked once more in its place. */
  private again(question: string, exchange: HTMLElement): HTMLElement {
    return h("button", { class: "linklike", type: "button", onclick: () => {
      if (this.running !== null) return;
      exchange.remove();
      const typed = this.input.value;
      this.input.value = question;
      void this.ask();
      this.input.value = typed;
      this.grow();
    } }, "Ask again");
  }

  /** The passages that the answer cites, one line each. */
  private listSources(into: HTMLElement, answer: string, citations: Citation[], reasons: Reasons, id?: string, said?: (passage: number) => Verdict | undefined): void {
    const used = new Set<number>();
    for (const m of answer.matchAll(/\[([\d,\s]+)\]/g)) (m[1] ?? "").split(",").forEach((n) => used.add(Number(n)));
    for (const c of citations.filter((x) => used.has(x.number))) {
      const where = place(c, c.page ? `p. ${c.page}` : "");
      const button: HTMLButtonElement = h(
        "button",
        { type: "button", class: "source", onclick: () => void this.viewer.open(c, button) },
        h("span", { class: "n" }, String(c.number)),
        icon("file"),
        h("span", { class: "name" }, c.document.title || fileName(c.document.path)),
        h("span", { class: "place" }, where),
      );
      into.append(h("li", {}, button, id ? thumbs(id, `source ${c.number}`, c.number, said?.(c.number)) : null, reasons.why(c)));
    }
  }

  private describe(foot: HTMLElement, a: Answer): void {
    const how =
      a.engine === "extractive"
        ? "Quoted word for word from your documents; no language model was used."
        : a.engine
          ? `Written by ${a.model || a.engine}${a.route?.verdict === "external" ? ", outside this machine (allowed by policy)" : ""}.`
          : "";
    const found = foundBy(a.search);
    const read = a.rewritten ? `Read as: ${a.rewritten}` : "";
    for (const line of [read, a.note ?? "", how, found]) if (line !== "") foot.append(h("span", {}, line));
  }
}

/** Imported models that found the passages; the built-in encoder needs no naming. */
function foundBy(search: Answer["search"]): string {
  const by = search?.encoder_model ? [`found by ${search.encoder_model}`] : [];
  if (search?.reranker_model) by.push(`put in order by ${search.reranker_model}`);
  const line = by.join(", ");
  return line === "" ? "" : `Passages ${line}.`;
}

/** What a question was narrowed to, above its answer. */
function scope(filter: Filter | undefined): HTMLElement | null {
  if (filter === undefined) return null;
  const { as_of, ...rest } = filter;
  const narrowed = inWords(rest);
  return h(
    "p",
    { class: "scope" },
    as_of ? h("strong", {}, `The documents as they stood on ${as_of}.`) : null,
    narrowed.length > 0 ? h("span", {}, `Only ${narrowed.join(" · ")}`) : null,
  );
}
