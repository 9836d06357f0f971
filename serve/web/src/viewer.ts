// The passage in its document: a PDF page with the passage's lines marked, or the text with it marked.

import { documentText, originalUrl, pagePicture, versions, type Citation } from "./api";
import { about } from "./about";
import { clear, fileName, h, icon, place } from "./dom";

type Box = NonNullable<Citation["boxes"]>[number];

/** Of a scan each word has its box: those that stand side by side in a line are marked as one. */
export function lines(boxes: Box[]): Box[] {
  const out: Box[] = [];
  for (const b of boxes) {
    const last = out[out.length - 1];
    const height = Math.min(b.y1 - b.y0, last ? last.y1 - last.y0 : 0);
    const overlap = last ? Math.min(b.y1, last.y1) - Math.max(b.y0, last.y0) : 0;
    const gap = last ? Math.max(b.x0 - last.x1, last.x0 - b.x1) : 0;
    if (last && overlap > height / 2 && gap < 2 * height) {
      out[out.length - 1] = { ...last, x0: Math.min(b.x0, last.x0), y0: Math.min(b.y0, last.y0), x1: Math.max(b.x1, last.x1), y1: Math.max(b.y1, last.y1) };
    } else {
      out.push(b);
    }
  }
  return out;
}

export class Viewer {
  readonly element: HTMLElement;
  private readonly title = h("h2", { id: "viewer-title" });
  private readonly where = h("p", { class: "where" });
  private readonly body = h("div", { class: "viewer-body", tabindex: "0" });
  private readonly pager = h("div", { class: "pager" });
  private readonly download = h("a", { class: "quiet", download: true, "aria-label": "Download the original", title: "Download the original" }, icon("download"));
  private readonly facts = about(() => this.shown);
  private readonly past = h("details", { class: "versions" });
  private shown = ""; // the document whose past is asked for
  private opener: HTMLElement | null = null;
  private picture: string | null = null;
  private turn = 0; // the newest request wins

  constructor() {
    const close = h("button", { class: "quiet", type: "button", "aria-label": "Close the source", title: "Close (Esc)", onclick: () => this.close() }, icon("close"));
    this.element = h(
      "aside",
      { class: "viewer", "aria-labelledby": "viewer-title", hidden: true },
      h("header", {}, h("div", { class: "viewer-head" }, this.title, this.where), this.pager, this.download, close),
      h("div", { class: "folds" }, this.facts, this.past),
      this.body,
    );
    this.past.addEventListener("toggle", () => {
      if (this.past.open) void this.listVersions();
    });
    document.addEventListener("keydown", (e) => {
      if (e.key === "Escape" && !this.element.hidden) this.close();
    });
  }

  close(): void {
    this.turn++;
    this.element.hidden = true;
    this.forgetPicture();
    document.body.classList.remove("with-viewer");
    for (const b of document.querySelectorAll(".mark[aria-current]")) b.removeAttribute("aria-current");
    this.opener?.focus();
  }

  async open(c: Citation, from: HTMLElement): Promise<void> {
    this.opener = from;
    for (const b of document.querySelectorAll(".mark[aria-current]")) b.removeAttribute("aria-current");
    from.setAttribute("aria-current", "true");
    this.title.textContent = c.document.title || fileName(c.document.path);
    this.download.href = originalUrl(c.document.id);
    this.element.hidden = false;
    document.body.classList.add("with-viewer");
    clear(this.pager);
    this.shown = c.document.id;
    this.facts.open = false;
    this.past.open = false;
    this.past.replaceChildren(h("summary", {}, "Versions"));
    // where a passage's place on the page is known, the page has a picture: PDFs, scans, pictures
    const pictured = (c.page ?? 0) > 0 && (c.document.path.toLowerCase().endsWith(".pdf") || (c.boxes ?? []).length > 0);
    if (pictured) await this.showPage(c, c.page ?? 1);
    else await this.showText(c);
    this.body.focus({ preventScroll: true });
  }

  private async listVersions(): Promise<void> {
    const id = this.shown;
    const said = h("div", { role: "status" }, "Looking them up…");
    this.past.replaceChildren(h("summary", {}, "Versions"), said);
    const day = (seconds: number) => new Date(seconds * 1000).toLocaleString();
    try {
      const list = await versions(id);
      if (id !== this.shown) return;
      const lines = list.map((v) =>
        h("li", {}, `${day(v.from)} – ${v.until === undefined ? "today" : day(v.until)}`, v.stored ? "" : ", no longer kept"),
      );
      said.replaceChildren(lines.length > 0 ? h("ul", {}, ...lines) : "Nothing is known of its past.");
    } catch (e) {
      if (id === this.shown) said.textContent = `The versions cannot be listed now: ${(e as Error).message}`;
    }
  }

  private describe(c: Citation, page?: number): void {
    this.where.textContent = [c.document.path, place(c, page ? `page ${page}` : "")].filter((p) => p !== "").join(" · ");
  }

  private forgetPicture(): void {
    if (this.picture !== null) URL.revokeObjectURL(this.picture);
    this.picture = null;
  }

  private async showPage(c: Citation, page: number): Promise<void> {
    const mine = ++this.turn;
    this.describe(c, page);
    this.pageButtons(c, page);
    this.body.replaceChildren(h("p", { class: "hint", role: "status" }, "Opening the page…"));
    try {
      const p = await pagePicture(c.document.id, page);
      if (mine !== this.turn) return URL.revokeObjectURL(p.url);
      this.forgetPicture();
      this.picture = p.url;
      const sheet = h("div", { class: "sheet" });
      const img = h("img", { src: p.url, alt: `Page ${page} of ${this.title.textContent}` });
      sheet.append(img);
      let first: HTMLElement | null = null;
      for (const b of lines((c.boxes ?? []).filter((x) => x.page === page))) {
        if (!(p.widthPoints > 0)) break;
        const box = h("span", { class: "box", "data-box": "" });
        box.style.left = `${(100 * b.x0) / p.widthPoints}%`;
        box.style.top = `${(100 * b.y0) / p.heightPoints}%`;
        box.style.width = `${(100 * (b.x1 - b.x0)) / p.widthPoints}%`;
        box.style.height = `${(100 * (b.y1 - b.y0)) / p.heightPoints}%`;
        sheet.append(box);
        first ??= box;
      }
      const quoted = h("details", { class: "quoted" }, h("summary", {}, "The passage as text"), h("blockquote", {}, c.text));
      this.body.replaceChildren(sheet, quoted);
      await img.decode().catch(() => undefined);
      first?.scrollIntoView({ block: "center" });
    } catch (e) {
      if (mine !== this.turn) return;
      this.body.replaceChildren(
        h("p", { class: "hint", role: "alert" }, `The page cannot be shown: ${(e as Error).message}`),
        h("blockquote", {}, c.text),
      );
    }
  }

  private pageButtons(c: Citation, page: number): void {
    const go = (to: number, name: "left" | "right", label: string) =>
      h("button", { class: "quiet", type: "button", "aria-label": label, title: label, disabled: to < 1, onclick: () => void this.showPage(c, to) }, icon(name));
    this.pager.replaceChildren(go(page - 1, "left", "Previous page"), go(page + 1, "right", "Next page"));
  }

  private async showText(c: Citation): Promise<void> {
    const mine = ++this.turn;
    this.describe(c, c.page);
    this.body.replaceChildren(h("p", { class: "hint", role: "status" }, "Opening the document…"));
    try {
      const { text } = await documentText(c.document.id);
      if (mine !== this.turn) return;
      const points = Array.from(text); // offsets count code points
      const mark = h("mark", {}, points.slice(c.start, c.end).join(""));
      this.body.replaceChildren(
        h("div", { class: "text" }, points.slice(0, c.start).join(""), mark, points.slice(c.end).join("")),
      );
      mark.scrollIntoView({ block: "center" });
    } catch (e) {
      if (mine !== this.turn) return;
      this.body.replaceChildren(
        h("p", { class: "hint", role: "alert" }, `The document cannot be shown: ${(e as Error).message}`),
        h("blockquote", {}, c.text),
      );
    }
  }
}
