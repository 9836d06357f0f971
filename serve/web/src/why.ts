// Why this passage, and why not that document: asked of the appliance when it is opened, and only then.

import { explain, type Asked, type Citation, type Explained, type WhyNot, type WordUse } from "./api";
import { h } from "./dom";
import { documentPicker } from "./picker";

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

  constructor(private readonly asked: Asked) {}

  private explained(): Promise<Explained> {
    this.all ??= explain(this.asked).catch((e: unknown) => {
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
        body.replaceChildren(h("p", {}, "The passage is not found any more: the documents have changed since."));
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
    const said = h("div", { class: "reason-body", role: "status" });
    let turn = 0; // the newest choice wins
    const picker = documentPicker(async (document) => {
      const mine = ++turn;
      said.textContent = "Looking it up…";
      let nodes: (Node | string)[];
      try {
        nodes = whyNotInWords((await explain(this.asked, document.id)).why_not);
      } catch (e) {
        nodes = [`This cannot be explained now: ${(e as Error).message}`];
      }
      if (mine === turn) said.replaceChildren(...nodes);
    });
    return h("details", { class: "reason why-not" }, h("summary", {}, "Why not another document?"), picker, said);
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
