// Every file's state, and a place to drop new ones.

import { ApiError, documents, originalUrl, pause, progress, remove, upload, type Doc, type Progress } from "./api";
import { fileName, h, icon, size } from "./dom";

const POLL_MS = 1500;
const SHOWN_MAX = 500;

function timeLeft(seconds: number): string {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

const stateWords: Record<Doc["state"], string> = { queued: "Queued", working: "Working", ready: "Ready", failed: "Failed" };

export class DocumentsView {
  readonly element: HTMLElement;
  private readonly rows = h("tbody");
  private readonly summary = h("p", { class: "summary", role: "status" });
  private readonly bar = h("progress", { max: "1", value: "0", "aria-label": "Documents read", hidden: true });
  private readonly uploads = h("ul", { class: "uploads", "aria-label": "Uploads" });
  private readonly filter = h("input", { type: "search", placeholder: "Filter by name", "aria-label": "Filter by name" });
  private readonly problem = h("p", { class: "problem", role: "alert", hidden: true });
  private readonly empty = h("p", { class: "empty", hidden: true }, "No documents here so far. Drop files above, or copy them into the watched folder.");
  private readonly pauser = h("button", { class: "quiet", type: "button", hidden: true, onclick: () => void this.togglePause() });
  private paused = false;
  private all: Doc[] = [];
  private timer = 0;
  private seen = "";

  constructor(private readonly onSignedOut: () => void) {
    const pick = h("input", { type: "file", multiple: true, class: "sr", tabindex: "-1", "aria-hidden": "true", id: "pick" });
    pick.addEventListener("change", () => {
      void this.send(pick.files);
      pick.value = "";
    });
    const drop = h(
      "button",
      { class: "drop", type: "button", onclick: () => pick.click() },
      icon("upload"),
      h("strong", {}, "Drop documents here"),
      h("span", {}, "or press to choose: PDF, Word, tables, slides, books, web pages, mail, text"),
    );
    this.filter.addEventListener("input", () => this.paint());
    this.element = h(
      "section",
      { class: "documents", "aria-label": "Documents" },
      h("h1", {}, "Documents"),
      pick,
      drop,
      this.uploads,
      this.problem,
      h("div", { class: "tools" }, this.summary, this.pauser, this.filter),
      this.bar,
      h(
        "table",
        {},
        h("thead", {}, h("tr", {}, ...["Name", "State", "Passages", "Size", ""].map((t, i) => h("th", { scope: "col", class: i > 1 ? "num" : "" }, t || h("span", { class: "sr" }, "Actions"))))),
        this.rows,
      ),
      this.empty,
    );
    this.acceptDrops(drop);
  }

  /** Files may be dropped anywhere on this view. */
  private acceptDrops(zone: HTMLElement): void {
    let depth = 0;
    const over = (on: boolean) => zone.classList.toggle("over", on);
    this.element.addEventListener("dragenter", (e) => {
      e.preventDefault();
      over(++depth > 0);
    });
    this.element.addEventListener("dragover", (e) => e.preventDefault());
    this.element.addEventListener("dragleave", () => over(--depth > 0));
    this.element.addEventListener("drop", (e) => {
      e.preventDefault();
      depth = 0;
      over(false);
      void this.send(e.dataTransfer?.files ?? null);
    });
  }

  show(): void {
    void this.refresh();
  }

  hide(): void {
    clearTimeout(this.timer);
    this.timer = 0;
  }

  private again(ms: number): void {
    clearTimeout(this.timer);
    if (this.element.isConnected) this.timer = window.setTimeout(() => void this.refresh(), ms);
  }

  private async refresh(): Promise<void> {
    try {
      const p = await progress();
      const stamp = JSON.stringify([p.queued, p.working, p.ready, p.failed, p.doing]);
      if (stamp !== this.seen || p.working > 0) {
        const list = await documents();
        this.all = list.documents;
        this.seen = stamp;
        this.paint();
      }
      this.progressed(p);
      this.problem.hidden = true;
    } catch (e) {
      if (e instanceof ApiError && e.status === 401) return this.onSignedOut();
      await this.withoutProgress(e as Error);
    }
    this.again(POLL_MS);
  }

  /** ingest is down: what is ready can still be listed. */
  private async withoutProgress(e: Error): Promise<void> {
    this.problem.textContent = e.message;
    this.problem.hidden = false;
    this.seen = "";
    try {
      this.all = (await documents()).documents;
      this.paint();
    } catch {
      // the message above says it
    }
  }

  private progressed(p: Progress): void {
    const waiting = p.queued + p.working;
    const total = waiting + p.ready + p.failed;
    const parts = [`${p.ready} ready`];
    if (waiting > 0) parts.push(`${waiting} in work`);
    if (p.failed > 0) parts.push(`${p.failed} failed`);
    if (p.paused) parts.push("paused");
    else if (p.doing) parts.push(p.doing);
    else if (waiting > 0 && p.seconds_left !== undefined && p.seconds_left > 5) parts.push(`${timeLeft(p.seconds_left)} left`);
    this.paused = p.paused === true;
    this.pauser.textContent = this.paused ? "Go on reading" : "Pause";
    this.pauser.hidden = p.paused === undefined || (waiting === 0 && !this.paused);
    this.summary.textContent = parts.join(" · ");
    this.bar.hidden = waiting === 0;
    this.bar.value = total === 0 ? 0 : (p.ready + p.failed) / total;
  }

  private async togglePause(): Promise<void> {
    try {
      await pause(!this.paused);
      await this.refresh();
    } catch (e) {
      this.problem.textContent = (e as Error).message;
      this.problem.hidden = false;
    }
  }

  private paint(): void {
    const wanted = this.filter.value.trim().toLowerCase();
    const list = this.all.filter((d) => wanted === "" || d.path.toLowerCase().includes(wanted));
    this.rows.replaceChildren(...list.slice(0, SHOWN_MAX).map((d) => this.row(d)));
    if (list.length > SHOWN_MAX) {
      this.rows.append(h("tr", {}, h("td", { colspan: "5", class: "more" }, `and ${list.length - SHOWN_MAX} more: filter by name to find them`)));
    }
    this.empty.hidden = this.all.length > 0;
  }

  private row(d: Doc): HTMLElement {
    const folder = d.path.slice(0, d.path.length - fileName(d.path).length);
    return h(
      "tr",
      { "data-state": d.state, "data-path": d.path },
      h(
        "td",
        {},
        h("a", { class: "name", href: originalUrl(d.id), download: true, title: "Download the original" }, fileName(d.path)),
        folder !== "" && h("span", { class: "folder" }, folder),
        d.error ? h("span", { class: "why" }, d.error) : null,
      ),
      h("td", {}, h("span", { class: `state ${d.state}`, title: d.away ? "Its folder is not mounted: kept until it is back" : "" }, d.away ? `${stateWords[d.state]}, away` : stateWords[d.state])),
      h("td", { class: "num" }, d.state === "ready" ? String(d.chunks) : ""),
      h("td", { class: "num" }, d.size !== undefined ? size(d.size) : ""),
      h("td", { class: "num" }, h("button", { class: "quiet", type: "button", "aria-label": `Move ${d.path} to the trash`, title: "Move to the trash", onclick: () => void this.trash(d) }, icon("trash"))),
    );
  }

  private async trash(d: Doc): Promise<void> {
    if (!confirm(`Move “${fileName(d.path)}” to the trash? It is out of every answer at once; the file is kept there for 30 days.`)) return;
    try {
      await remove(d.id);
      this.seen = "";
    } catch (e) {
      this.problem.textContent = `${d.path}: ${(e as Error).message}`;
      this.problem.hidden = false;
    }
    void this.refresh();
  }

  private async send(files: FileList | null): Promise<void> {
    for (const file of Array.from(files ?? [])) {
      const share = h("progress", { max: "1", value: "0", "aria-label": `Uploading ${file.name}` });
      const line = h("li", {}, h("span", {}, file.name), share);
      this.uploads.append(line);
      try {
        await upload(file, (s) => (share.value = s));
        line.remove();
      } catch (e) {
        share.replaceWith(h("span", { class: "why", role: "alert" }, (e as Error).message));
      }
      this.seen = "";
      this.again(200);
    }
  }
}
