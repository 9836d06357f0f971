// A conversation behind a link, to be read and no more: what its viewer may see of it.

import { ApiError, shared, type Citation } from "./api";
import { renderAnswer } from "./answer";
import { fileName, h, icon, place } from "./dom";
import type { Viewer } from "./viewer";

export class SharedView {
  readonly element = h("section", { class: "ask shared", "aria-label": "A shared conversation" });

  constructor(
    private readonly viewer: Viewer,
    private readonly onSignedOut: () => void,
  ) {}

  async show(token: string): Promise<void> {
    this.element.replaceChildren(h("p", { class: "thinking" }, "Reading…"));
    try {
      const c = await shared(token);
      const until = new Date(c.expires * 1000).toLocaleDateString();
      const parts: HTMLElement[] = [];
      let hidden = 0;
      for (const e of c.exchanges) {
        if (e.hidden) {
          hidden++;
          continue;
        }
        const text = h("div", { class: "answer-text" });
        renderAnswer(text, e.text ?? "", e.citations ?? [], (x, from) => void this.viewer.open(x, from));
        parts.push(h("article", { class: `exchange${e.carrel?.refused ? " refused" : ""}` }, h("h2", { class: "question" }, e.question ?? ""), text, this.sources(e.citations ?? [])));
      }
      this.element.replaceChildren(
        h("h1", { class: "shared-title" }, c.title || "A shared conversation"),
        h("p", { class: "hint" }, `Somebody here shared this with you. The link works until ${until}.`),
        ...parts,
      );
      if (hidden > 0) {
        const what = hidden === 1 ? "One question with its answer is not shown" : `${hidden} questions with their answers are not shown`;
        this.element.append(h("p", { class: "withheld", role: "note" }, `${what}: made from documents that you may not read, or asked after one that was.`));
      }
    } catch (e) {
      if (e instanceof ApiError && e.status === 401) return this.onSignedOut();
      this.element.replaceChildren(h("h1", { class: "shared-title" }, "A shared conversation"), h("p", { class: "problem", role: "alert" }, (e as Error).message));
    }
  }

  private sources(citations: Citation[]): HTMLElement {
    const list = h("ol", { class: "sources", "aria-label": "Sources" });
    for (const c of citations) {
      const button: HTMLButtonElement = h(
        "button",
        { type: "button", class: "source", onclick: () => void this.viewer.open(c, button) },
        h("span", { class: "n" }, String(c.number)),
        icon("file"),
        h("span", { class: "name" }, c.document.title || fileName(c.document.path)),
        h("span", { class: "place" }, place(c, c.page ? `p. ${c.page}` : "")),
      );
      list.append(h("li", {}, button));
    }
    return list;
  }
}
