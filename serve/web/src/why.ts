// Why this passage, and why not that document: asked of the appliance when it is opened, and only then.

import { documents, explain, type Citation, type Doc, type Explained, type Filter, type WhyNot, type WordUse } from "./api";
import { h } from "./dom";

const SHOWN_MAX = 500; // documents to choose from

const CONDITIONS: Record<string, string> = {
  collection: "its collection",
  label: "its label",
  tag: "its tags",
  language: "its language",
  format: "its format",
  from: "its date",
  until: "its date",
  under: "its folder",
  document: "the documents named",
};

function times(n: number): string {
  return n === 1 ? "once" : n === 2 ? "twice" : `${n} times`;
}

function usePhrase(u: WordUse): string {
  const parts = [u.in_text > 0 ? `${times(u.in_text)} in the text` : "", u.in_title ? "in the title" : ""].filter((p) => p !== "");
  const said = parts.length > 0 ? parts.join(", ") : "not there";
  return said + (u.function_word ? "; a common word, it says little" : "") + (u.earlier ? "; from an earlier question" : "");
}

function words(uses: WordUse[]): HTMLElement {
  const rows = uses.map((u) =>
    h(
      "li",
      {},
      h("strong", {}, u.word),
      h("progress", { max: "1", value: String(u.share), "aria-label": `What “${u.word}” adds` }),
      h("span", {}, usePhrase(u)),
    ),
  );
  return h("ul", { class: "uses" }, ...rows);
}

function place(list: string, rank: number | undefined, score: number | undefined): HTMLElement {
  if (rank === undefined) return h("p", {}, `${list}: not among the candidates.`);
  return h("p", {}, `${list}: place ${rank}${score === undefined ? "" : `, score ${score.toFixed(3)}`}.`);
}

/** How the question was read, where it was read as more or other than its words. */
function reading(e: Explained): HTMLElement[] {
  const lines: string[] = [];
  const i = e.interpreted;
  if (i?.phrases?.length) lines.push(`Side by side: ${i.phrases.join("; ")}.`);
  if (i?.excluded?.length) lines.push(`Left out: ${i.excluded.join("; ")}.`);
  if (i?.in_title?.length) lines.push(`In the title: ${i.in_title.join("; ")}.`);
  if (i?.filters?.length) lines.push(`Only: ${i.filters.join("; ")}.`);
  for (const s of e.similar ?? []) lines.push(`“${s.word}” was also searched as ${s.tried.join(", ")}.`);
  return lines.map((l) => h("p", {}, l));
}

/** The reasons for one answer's passages; one request serves all its panels. */
export class Reasons {
  private all: Promise<Explained> | null = null;
  private list: Promise<Doc[]> | null = null;

  constructor(
    private readonly question: string,
    private readonly filter?: Filter,
  ) {}

  private explained(): Promise<Explained> {
    this.all ??= explain(this.question, this.filter).catch((e: unknown) => {
      this.all = null; // opening the panel again tries again
      throw e;
    });
    return this.all;
  }

  /** "Why this?" at a source. */
  why(c: Citation): HTMLElement {
    const body = h("div", { class: "reason-body", role: "status" });
    const panel = h("details", { class: "reason" }, h("summary", { "aria-label": `Why this? Source ${c.number}` }, "Why this?"), body);
    panel.addEventListener("toggle", () => {
      if (panel.open && body.childElementCount === 0) void this.fill(body, c);
    });
    return panel;
  }

  private async fill(body: HTMLElement, c: Citation): Promise<void> {
    body.textContent = "Looking it up…";
    try {
      const e = await this.explained();
      const of = e.passages.filter((p) => p.document.id === c.document.id);
      const p = of.find((x) => x.start < c.end && x.end > c.start);
      if (p === undefined) {
        body.replaceChildren(h("p", {}, "For this question alone the passage is not found: it came from the conversation, or the documents have changed since."));
        return;
      }
      const folded = p.why.folded ?? [];
      body.replaceChildren(
        h("p", {}, `Score ${p.score.toFixed(3)}.`),
        place("By words", p.why.text_rank, p.why.text_score),
        place("By meaning", p.why.dense_rank, p.why.dense_score),
        ...(p.why.rerank_score !== undefined
          ? [h("p", {}, `Read again by the reranker ${e.reranker ?? ""}: score ${p.why.rerank_score.toFixed(2)}; before it at place ${p.why.rank_before}.`)]
          : []),
        ...(p.why.uses ? [words(p.why.uses)] : []),
        ...(folded.length > 0 ? [h("p", {}, `The same is also in: ${folded.join(", ")}.`)] : []),
        ...reading(e),
      );
    } catch (e) {
      body.replaceChildren(); // no child: opening it again asks again
      body.textContent = `This cannot be explained now: ${(e as Error).message}`;
    }
  }

  /** "Why not another document?" below the sources. */
  whyNot(): HTMLElement {
    const select = h("select", { "aria-label": "Document" }, h("option", { value: "" }, "Choose a document"));
    const said = h("div", { class: "reason-body", role: "status" });
    let turn = 0; // the newest choice wins
    select.addEventListener("change", async () => {
      const mine = ++turn;
      if (select.value === "") return said.replaceChildren();
      said.textContent = "Looking it up…";
      let nodes: (Node | string)[];
      try {
        nodes = whyNotInWords((await explain(this.question, this.filter, select.value)).why_not);
      } catch (e) {
        nodes = [`This cannot be explained now: ${(e as Error).message}`];
      }
      if (mine === turn) said.replaceChildren(...nodes);
    });
    const panel = h("details", { class: "reason why-not" }, h("summary", {}, "Why not another document?"), select, said);
    panel.addEventListener("toggle", () => {
      if (panel.open) void this.choices(select, said);
    });
    return panel;
  }

  private async choices(select: HTMLSelectElement, said: HTMLElement): Promise<void> {
    if (select.options.length > 1) return;
    this.list ??= documents().then((r) => r.documents.filter((d) => d.state === "ready"));
    try {
      const list = await this.list;
      if (select.options.length > 1) return;
      select.append(...list.slice(0, SHOWN_MAX).map((d) => h("option", { value: d.id }, d.path)));
      if (list.length > SHOWN_MAX) said.textContent = `The first ${SHOWN_MAX} of ${list.length} documents can be chosen.`;
    } catch (e) {
      this.list = null;
      said.textContent = `The documents cannot be listed now: ${(e as Error).message}`;
    }
  }
}

function whyNotInWords(w: WhyNot | undefined): (Node | string)[] {
  if (w === undefined || !w.known) return [h("p", {}, "There is no such document, or you may not read it.")];
  if (w.shown_rank !== undefined) return [h("p", {}, `It is among the passages found, at place ${w.shown_rank}.`)];
  if (w.filtered && w.filtered.length > 0) {
    const names = [...new Set(w.filtered.map((f) => CONDITIONS[f] ?? f))];
    return [h("p", {}, `It was left out by what you narrowed the question to: ${names.join(", ")}.`)];
  }
  const b = w.best;
  const why =
    b === undefined || b.text_rank !== undefined
      ? "Others fit better."
      : b.words > 0
        ? `Its best passage has too few of the question's words: they are worth ${b.words.toFixed(2)}, and ${b.words_needed.toFixed(2)} would have made it one of ${w.candidates} candidates.`
        : "It has none of the question's words that count.";
  const out: Node[] = [h("p", {}, why)];
  if (b?.text_rank !== undefined) out.push(place("Its best passage by words", b.text_rank, b.text_score));
  if (w.dense_rank !== undefined) out.push(place("Its best passage by meaning", w.dense_rank, undefined));
  if (b?.uses?.some((u) => u.share > 0)) out.push(words(b.uses));
  return out;
}
