// How well search finds what it should, for administrators: runs over time, the difference of two, what people said.

import { ApiError, encoders, evaluate, evaluation, opinions, stopEvaluation, type Configuration, type Evaluation, type Interval, type Measures, type Opinions, type Run } from "./api";
import { h, icon, s } from "./dom";
import { LOOKS, mark, plot, type Line } from "./plot";

const POLL_MS = 1000;
const HISTORY = 60; // runs shown
const DAYS = 90; // of thumbs and questions

const MEASURES = [
  ["ndcg_10", "nDCG@10", "how high the right passage stands among the first ten"],
  ["recall_5", "Recall@5", "how often it is among the first five"],
  ["recall_20", "Recall@20", "how often it is among the first twenty"],
  ["mrr_10", "MRR@10", "one over its place, zero beyond the tenth"],
] as const;
type Measure = (typeof MEASURES)[number][0];

const MODES: Record<string, string> = {
  default: "As people search",
  bm25: "Words only, plain BM25",
  fused: "Without the reranker",
  text: "Words only",
  dense: "Meaning only",
};

const modeName = (mode: string) => MODES[mode] ?? mode;
const day = (at: number) => new Date(at * 1000).toLocaleDateString("en-GB", { day: "numeric", month: "short" });
const hour = (at: number) => new Date(at * 1000).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
const moment = (at: number) => new Date(at * 1000).toLocaleString("en-GB", { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" });
const figure = (n: number) => n.toFixed(3);
const within = (i: Interval) => `${figure(i.low)} to ${figure(i.high)}`;

function configuration(r: Run): string {
  return r.mode === "bm25" || r.mode === "text" || r.encoder === "" ? modeName(r.mode) : `${modeName(r.mode)}, ${r.encoder}`;
}

/** undefined: the collection was not asked about in that run. */
function measuresOf(r: Run, collection: string | null): Measures | undefined {
  return collection === null ? r.all : r.collections.find((c) => c.collection === collection);
}

/** "better", "worse", or that none is shown: what the interval allows to say. */
function verdict(i: Interval): ["better" | "same" | "worse", string] {
  const signed = (n: number) => (n < 0 ? "−" : "+") + figure(Math.abs(n));
  const by = `${figure(Math.abs(i.mean))} (95 % interval of the difference: ${signed(i.low)} to ${signed(i.high)})`;
  if (i.low === 0 && i.high === 0) return ["same", "no difference on any question"];
  if (i.low > 0) return ["better", `better by ${by}`];
  if (i.high < 0) return ["worse", `worse by ${by}`];
  return ["same", `no difference shown: ${i.mean < 0 ? "−" : "+"}${by}`];
}

export class QualityView {
  readonly element: HTMLElement;
  private readonly problem = h("p", { class: "problem", role: "alert", hidden: true });
  private readonly what = h("select", { "aria-label": "Measure" });
  private readonly start: HTMLButtonElement;
  private readonly stop: HTMLButtonElement;
  private readonly state = h("p", { class: "summary", role: "status" });
  private readonly bar = h("progress", { max: "1", value: "0", "aria-label": "Questions asked", hidden: true });
  private readonly collection = h("select", { "aria-label": "Collection" });
  private readonly collectionLabel = h("label", { class: "pick", hidden: true }, "Collection", this.collection);
  private readonly legend = h("ul", { class: "legend", "aria-label": "Lines" });
  private readonly plots = h("div", { class: "plots" });
  private readonly rows = h("tbody");
  private readonly first = h("select", { "aria-label": "Against run" });
  private readonly second = h("select", { "aria-label": "Run" });
  private readonly difference = h("div", { class: "difference", role: "status" });
  private readonly measured = h("div", { hidden: true });
  private readonly compared = h("section", { class: "panel", "aria-labelledby": "q-compare", hidden: true });
  private readonly people = h("section", { class: "panel", "aria-labelledby": "q-people" });
  private readonly empty = h("p", { class: "empty", hidden: true }, "Nothing has been measured so far. A run asks questions made from your own documents; it takes seconds to minutes and disturbs nobody.");
  private runs: Run[] = [];
  private timer = 0;
  private turn = 0; // the newest comparison wins
  private wasRunning = false;

  constructor(private readonly onSignedOut: () => void) {
    this.start = h("button", { class: "act", type: "button", onclick: () => void this.run() }, icon("play"), "Measure now");
    this.stop = h("button", { class: "act plain", type: "button", hidden: true, onclick: () => void this.halt() }, icon("stop"), "Stop");
    this.collection.addEventListener("change", () => this.paint());
    for (const select of [this.first, this.second]) select.addEventListener("change", () => void this.compare());
    this.measured.append(
      h(
        "section",
        { class: "panel", "aria-labelledby": "q-time" },
        h("div", { class: "panel-head" }, h("h2", { id: "q-time" }, "Over time"), this.collectionLabel),
        this.legend,
        this.plots,
        h("p", { class: "hint" }, "Each point is a run; its upright line is the 95 % interval. The questions use the documents' own words, so the figures are better than people's questions would give: compare them with each other, not with 1."),
        h(
          "details",
          { class: "numbers" },
          h("summary", {}, "The same as numbers"),
          h(
            "div",
            { class: "scroll", tabindex: "0", role: "region", "aria-label": "Runs as numbers" },
            h("table", { class: "figures" }, h("caption", { class: "sr" }, "Runs, newest first"), h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Run"), h("th", { scope: "col" }, "What was measured"), h("th", { scope: "col", class: "num" }, "Questions"), ...MEASURES.map(([, name]) => h("th", { scope: "col", class: "num" }, name)))), this.rows),
          ),
        ),
      ),
    );
    this.compared.append(
      h("h2", { id: "q-compare" }, "Two runs compared"),
      h("div", { class: "picks" }, h("label", { class: "pick" }, "Run", this.second), h("label", { class: "pick" }, "against", this.first)),
      this.difference,
    );
    this.element = h(
      "section",
      { class: "quality", "aria-label": "Quality" },
      h("h1", {}, "Quality"),
      h("p", { class: "lead" }, "Does search find what it should, in your own documents?"),
      h("div", { class: "runbar" }, h("label", { class: "pick" }, "Measure", this.what), this.start, this.stop, this.state),
      this.bar,
      this.problem,
      this.empty,
      this.measured,
      this.compared,
      this.people,
    );
  }

  show(): void {
    void this.choices();
    void this.refresh(true);
    void this.opinions();
  }

  hide(): void {
    clearTimeout(this.timer);
    this.timer = 0;
  }

  private unreached = false; // the message is about a refresh that failed

  private failed(e: unknown): void {
    if (e instanceof ApiError && e.status === 401) return this.onSignedOut();
    this.problem.textContent = (e as Error).message;
    this.problem.hidden = false;
  }

  /** What can be measured: the ways to search, and each encoder that has vectors. */
  private async choices(): Promise<void> {
    const options = [
      h("option", { value: "[{}]" }, "Search as people use it"),
      h("option", { value: '[{"mode":"bm25"},{"mode":"default"}]' }, "Plain words against search as it is"),
      h("option", { value: '[{"mode":"text"},{"mode":"dense"},{"mode":"default"}]' }, "Words, meaning, and both together"),
    ];
    try {
      for (const e of await encoders()) {
        if (e.state === "published" || e.vectors === 0) continue;
        options.push(h("option", { value: JSON.stringify([{}, { encoder: e.name }]) }, `Encoder ${e.name} against today's`));
      }
    } catch {
      // the ways to search can be measured all the same
    }
    const chosen = this.what.value;
    this.what.replaceChildren(...options);
    if (options.some((o) => o.value === chosen)) this.what.value = chosen;
  }

  private async run(): Promise<void> {
    this.problem.hidden = true;
    this.start.disabled = true;
    try {
      await evaluate(JSON.parse(this.what.value) as Configuration[]);
      await this.refresh(false);
      this.stop.focus();
    } catch (e) {
      this.failed(e);
      this.start.disabled = false;
    }
  }

  private async halt(): Promise<void> {
    try {
      await stopEvaluation();
    } catch (e) {
      this.failed(e);
    }
    await this.refresh(false);
  }

  private async refresh(anew: boolean): Promise<void> {
    clearTimeout(this.timer);
    let e: Evaluation;
    try {
      e = await evaluation(HISTORY);
    } catch (x) {
      this.failed(x);
      this.unreached = true;
      this.timer = window.setTimeout(() => this.element.isConnected && void this.refresh(anew), 5 * POLL_MS);
      return;
    }
    if (this.unreached) this.problem.hidden = true;
    this.unreached = false;
    this.progressed(e);
    if (anew || e.runs[0]?.id !== this.runs[0]?.id) {
      this.runs = e.runs;
      this.collections();
      this.paint();
      this.offer();
    }
    if (e.running && this.element.isConnected) this.timer = window.setTimeout(() => void this.refresh(false), POLL_MS);
  }

  private progressed(e: Evaluation): void {
    const ended = this.wasRunning && !e.running;
    const focused = document.activeElement === this.stop;
    this.wasRunning = e.running;
    this.start.disabled = e.running;
    this.what.disabled = e.running;
    this.stop.hidden = !e.running;
    this.bar.hidden = !e.running;
    if (e.total > 0) this.bar.value = e.done / e.total;
    else this.bar.removeAttribute("value");
    this.state.textContent = e.running ? (e.total > 0 ? `${e.done} of ${e.total} questions asked` : "Making questions from the documents…") : ended ? (e.failed ? "" : "Measured.") : "";
    if (ended && e.failed) {
      this.problem.textContent = `The run gave nothing: ${e.failed}`;
      this.problem.hidden = false;
    }
    if (ended && focused) this.start.focus();
    this.empty.hidden = e.running || e.runs.length > 0;
  }

  private collections(): void {
    const names = [...new Set(this.runs.flatMap((r) => r.collections.map((c) => c.collection)))].sort();
    const chosen = this.collection.value;
    this.collection.replaceChildren(h("option", { value: "all" }, "all"), ...names.map((n) => h("option", { value: `=${n}` }, n)));
    if (names.includes(chosen.slice(1))) this.collection.value = chosen;
    this.collectionLabel.hidden = names.length < 2;
  }

  private paint(): void {
    const collection = this.collection.value.startsWith("=") ? this.collection.value.slice(1) : null;
    const runs = this.runs.filter((r) => measuresOf(r, collection) !== undefined).reverse(); // oldest first
    this.measured.hidden = this.runs.length === 0;
    const names: string[] = []; // newest first, so that what is used today has the first looks
    for (const r of [...runs].reverse()) if (!names.includes(configuration(r))) names.push(configuration(r));
    const lines = (m: Measure, label: string): Line[] =>
      names.map((name, i) => ({
        name,
        look: i < LOOKS ? i : -1,
        points: runs.flatMap((r, at) => {
          if (configuration(r) !== name) return [];
          const v = measuresOf(r, collection)![m];
          return [{ at, mean: v.mean, low: v.low, high: v.high, said: `${label} ${figure(v.mean)} (${within(v)}). Run ${r.id}, ${moment(r.at)}. ${name}` }];
        }),
      }));
    const oneDay = runs.length > 0 && day(runs[0]!.at) === day(runs[runs.length - 1]!.at);
    const ticks = [...new Set([0, Math.floor((runs.length - 1) / 2), runs.length - 1])]
      .filter((at) => at >= 0 && at < runs.length)
      .map((at) => ({ at, text: oneDay ? hour(runs[at]!.at) : day(runs[at]!.at) }))
      .filter((t, i, all) => i === 0 || t.text !== all[i - 1]!.text);
    this.plots.replaceChildren(...MEASURES.map(([m, label]) => plot(label, lines(m, label), runs.length, ticks)));
    this.legend.replaceChildren(...names.slice(0, LOOKS).map((n, i) => h("li", {}, key(i), n)), ...(names.length > LOOKS ? [h("li", {}, key(-1), `${names.length - LOOKS} earlier`)] : []));
    this.rows.replaceChildren(...[...runs].reverse().map((r) => this.row(r, measuresOf(r, collection)!)));
  }

  private row(r: Run, m: Measures): HTMLElement {
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, `${r.id}`, h("span", { class: "folder" }, moment(r.at))),
      h("td", {}, configuration(r)),
      h("td", { class: "num" }, String(m.questions)),
      ...MEASURES.map(([k]) => h("td", { class: "num" }, figure(m[k].mean), h("span", { class: "folder" }, within(m[k])))),
    );
  }

  /** The last two runs, unless others are chosen. */
  private offer(): void {
    const options = () => this.runs.map((r) => h("option", { value: String(r.id) }, `${r.id}: ${day(r.at)}, ${configuration(r)}`));
    this.first.replaceChildren(...options());
    this.second.replaceChildren(...options());
    this.compared.hidden = this.runs.length < 2;
    if (this.runs.length < 2) return;
    this.second.value = String(this.runs[0]!.id);
    this.first.value = String(this.runs[1]!.id);
    void this.compare();
  }

  private async compare(): Promise<void> {
    const mine = ++this.turn;
    const a = Number(this.first.value);
    const b = Number(this.second.value);
    let nodes: HTMLElement[];
    if (a === b) {
      nodes = [h("p", {}, "Choose two different runs.")];
    } else {
      try {
        nodes = this.inWords((await evaluation(1, a, b)).difference);
      } catch (e) {
        const none = e instanceof ApiError && e.status === 404;
        nodes = [h("p", {}, none ? "These two runs share no question: the documents have changed too much between them." : (e as Error).message)];
      }
    }
    if (mine === this.turn) this.difference.replaceChildren(...nodes);
  }

  private inWords(d: Measures | undefined): HTMLElement[] {
    if (d === undefined) return [h("p", {}, "There is nothing to compare.")];
    const list = MEASURES.map(([k, name, meaning]) => {
      const [kind, words] = verdict(d[k]);
      return h("li", { class: kind }, h("strong", {}, name), h("span", {}, words, h("span", { class: "folder" }, meaning)));
    });
    const n = d.questions;
    return [h("p", {}, `On the ${n} ${n === 1 ? "question" : "questions"} that both were asked:`), h("ul", { class: "verdicts" }, ...list)];
  }

  private async opinions(): Promise<void> {
    let o: Opinions;
    try {
      o = await opinions(DAYS);
    } catch (e) {
      this.people.replaceChildren(h("h2", { id: "q-people" }, "What people said"), h("p", { class: "problem" }, (e as Error).message));
      return;
    }
    const count = (n: number, what: string, name?: "up" | "down") => h("li", {}, h("strong", {}, name ? icon(name) : null, String(n)), h("span", {}, what));
    this.people.replaceChildren(
      h("h2", { id: "q-people" }, "What people said"),
      h("p", { class: "hint" }, `In the last ${DAYS} days.`),
      h("ul", { class: "counts" }, count(o.answers, "answers"), count(o.liked, "answers helpful", "up"), count(o.disliked, "answers not helpful", "down"), count(o.passages_liked, "sources helpful", "up"), count(o.passages_disliked, "sources not helpful", "down")),
      h("h3", {}, "Questions that found nothing"),
      o.unanswered.length === 0
        ? h("p", { class: "hint" }, "Every question found something in the documents.")
        : h(
            "ul",
            { class: "unanswered" },
            ...o.unanswered.map((u) => h("li", {}, h("span", { class: "said" }, u.question), h("span", { class: "folder" }, u.times > 1 ? `${u.times} times, last on ${day(u.at)}` : day(u.at)))),
          ),
      o.refused > o.unanswered.length && o.unanswered.length > 0 ? h("p", { class: "hint" }, `${o.refused} of ${o.answers} answers said that the documents do not tell.`) : h("p", { class: "hint", hidden: true }),
    );
  }
}

/** A line's look in the legend. */
function key(look: number): SVGSVGElement {
  return s("svg", { viewBox: "0 0 26 12", class: "key", "aria-hidden": "true" }, s("line", { class: `ln look${look}`, x1: 1, x2: 25, y1: 6, y2: 6 }), mark(look, 13, 6));
}
