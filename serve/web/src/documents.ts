// Every file's state, and a place to drop new ones.

import { ApiError, documents, originalUrl, pause, progress, remove, upload, type Doc, type Progress, type Session } from "./api";
import { dayName, facts, languageName } from "./about";
import { fileName, h, icon, size } from "./dom";

const POLL_MS = 1500;
const SHOWN_MAX = 500;

function timeLeft(seconds: number): string {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

const COLUMNS = [
  ["Document", ""],
  ["Author", "author"],
  ["Date", "date"],
  ["Pages", "num pages"],
  ["State", ""],
  ["Size", "num size"],
  ["", "num"],
] as const;

const names = (authors: string | undefined) => (authors ?? "").split("; ").filter((a) => a !== "");
const stateWords: Record<Doc["state"], string> = { queued: "Queued", working: "Working", ready: "Ready", failed: "Failed" };

/** What the list can be narrowed by, and how a document is asked for it. */
const KINDS = [
  ["state", "State", (d: Doc) => [d.state], (v: string) => stateWords[v as Doc["state"]]],
  ["author", "Author", (d: Doc) => names(d.author), (v: string) => v],
  ["language", "Language", (d: Doc) => (d.language ? [d.language] : []), languageName],
  ["label", "Label", (d: Doc) => (d.label ? [d.label] : []), (v: string) => v],
] as const;

/** What is in work, then what failed, then the others; each by path, so that members stand under their archive. */
const ORDER: Record<Doc["state"], number> = { working: 0, queued: 1, failed: 2, ready: 3 };
const byName = new Intl.Collator(undefined, { numeric: true });
const inOrder = (list: Doc[]) => list.sort((a, b) => ORDER[a.state] - ORDER[b.state] || byName.compare(a.path, b.path));

export class DocumentsView {
  readonly element: HTMLElement;
  private readonly rows = h("tbody");
  private readonly summary = h("p", { class: "summary", role: "status" });
  private readonly bar = h("progress", { max: "1", value: "0", "aria-label": "Documents read", hidden: true });
  private readonly uploads = h("ul", { class: "uploads", "aria-label": "Uploads" });
  private readonly filter = h("input", { type: "search", placeholder: "Name, title or author", "aria-label": "Filter by name, title or author" });
  private readonly selects = new Map(KINDS.map(([key]) => [key, h("select", { onchange: () => this.paint() }, h("option", { value: "" }, "all"))] as const));
  private readonly open = new Set<string>(); // whose facts are shown
  private readonly problem = h("p", { class: "problem", role: "alert", hidden: true });
  private readonly empty = h("p", { class: "empty", hidden: true });
  private readonly pauser = h("button", { class: "quiet", type: "button", hidden: true, onclick: () => void this.togglePause() });
  private paused = false;
  private all: Doc[] = [];
  private timer = 0;
  private seen = "";

  // what the role refuses is not offered (docs/roles.md)
  private readonly puts: boolean;
  private readonly takes: boolean;
  private readonly takesAny: boolean; // also what is in no store, which does not know who may read it
  private readonly pauses: boolean;

  constructor(
    s: Session,
    private readonly onSignedOut: () => void,
  ) {
    this.puts = s.scopes.includes("ingest");
    this.takes = s.scopes.includes("manage");
    this.takesAny = s.admin;
    this.pauses = this.takes && s.role !== "editor";
    this.empty.textContent = this.puts ? "No documents here so far. Drop files above, or copy them into the watched folder." : "There are no documents here that you may read.";
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
      h("span", {}, "or press to choose: PDF, scans, Word, tables, slides, books, web pages, mail, text, archives of them"),
    );
    this.filter.addEventListener("input", () => this.paint());
    this.element = h(
      "section",
      { class: "documents", "aria-label": "Documents" },
      h("h1", {}, "Documents"),
      ...(this.puts ? [pick, drop, this.uploads] : []),
      this.problem,
      h("div", { class: "tools" }, this.summary, this.pauser, this.filter),
      h("div", { class: "chips" }, ...KINDS.map(([key, name]) => h("label", { class: "chip", hidden: true }, name, this.selects.get(key)!))),
      this.bar,
      h(
        "table",
        {},
        h("thead", {}, h("tr", {}, ...COLUMNS.map(([t, c]) => h("th", { scope: "col", class: c }, t || h("span", { class: "sr" }, "Actions"))))),
        this.rows,
      ),
      this.empty,
    );
    if (this.puts) this.acceptDrops(drop);
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
        this.all = inOrder(list.documents);
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
      this.all = inOrder((await documents()).documents);
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
    this.pauser.hidden = !this.pauses || p.paused === undefined || (waiting === 0 && !this.paused);
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

  /** The values that the documents have, the commonest first; hidden where there is nothing to choose. */
  private choices(): void {
    for (const [key, , of, called] of KINDS) {
      const select = this.selects.get(key)!;
      const counts = new Map<string, number>();
      for (const d of this.all) for (const v of of(d)) counts.set(v, (counts.get(v) ?? 0) + 1);
      const chosen = select.value;
      if (chosen !== "" && !counts.has(chosen)) counts.set(chosen, 0);
      const sorted = [...counts].sort((x, y) => y[1] - x[1] || x[0].localeCompare(y[0])).slice(0, SHOWN_MAX);
      select.replaceChildren(h("option", { value: "" }, "all"), ...sorted.map(([v, n]) => h("option", { value: v }, `${called(v)} (${n})`)));
      select.value = chosen;
      select.parentElement!.hidden = chosen === "" && counts.size < 2;
    }
  }

  private wanted(): Doc[] {
    const words = this.filter.value.trim().toLowerCase();
    const named = (d: Doc) => `${d.path}\n${d.title ?? ""}\n${d.author ?? ""}`.toLowerCase().includes(words);
    const chosen = (d: Doc) =>
      KINDS.every(([key, , of]) => {
        const value = this.selects.get(key)!.value;
        return value === "" || of(d).includes(value);
      });
    return this.all.filter((d) => named(d) && chosen(d));
  }

  private paint(): void {
    this.choices();
    const list = this.wanted();
    this.rows.replaceChildren(...list.slice(0, SHOWN_MAX).flatMap((d) => this.row(d)));
    if (list.length > SHOWN_MAX) {
      this.rows.append(h("tr", {}, h("td", { colspan: String(COLUMNS.length), class: "more" }, `and ${list.length - SHOWN_MAX} more: narrow the list to find them`)));
    }
    this.empty.hidden = this.all.length > 0;
  }

  /** Its row, and the one with its facts where they are open. */
  private row(d: Doc): HTMLElement[] {
    const file = fileName(d.path);
    const titled = d.title !== undefined && d.title !== "" && d.title !== file;
    const place = titled ? d.path : d.path.slice(0, d.path.length - file.length);
    const opened = this.open.has(d.id);
    const said = [d.language ? h("span", { class: "tag", title: "Language" }, languageName(d.language)) : null, d.label ? h("span", { class: "tag label", title: "Label" }, d.label) : null];
    const toggle = () => {
      if (!this.open.delete(d.id)) this.open.add(d.id);
      this.paint();
      this.rows.querySelector<HTMLElement>(`tr[data-id="${CSS.escape(d.id)}"] .about-toggle`)?.focus();
    };
    const state = d.away ? `${stateWords[d.state]}, away` : stateWords[d.state];
    const hint = d.away ? "Its folder is not mounted: kept until it is back" : d.state === "ready" ? `${d.chunks} passages` : "";
    const line = h(
      "tr",
      { "data-state": d.state, "data-path": d.path, "data-id": d.id },
      h(
        "td",
        {},
        this.takesAny || d.state === "ready"
          ? h("a", { class: "name", href: originalUrl(d.id), download: true, title: "Download the original" }, titled ? d.title! : file)
          : h("span", { class: "name" }, titled ? d.title! : file),
        place !== "" && h("span", { class: "folder" }, place),
        said.some((s) => s !== null) && h("span", { class: "tags" }, ...said),
        d.error ? h("span", { class: "why" }, d.error) : null,
        d.note ? h("span", { class: "folder note" }, d.note) : null,
        d.members && d.members !== d.members_done ? h("span", { class: "folder" }, `${d.members_done ?? 0} of ${d.members} files in it are read`) : null,
        d.reading ? h("span", { class: "folder reading" }, d.reading) : null,
      ),
      h("td", { class: "author" }, names(d.author).join(", ")),
      h("td", { class: "date" }, d.date ? dayName(d.date) : ""),
      h("td", { class: d.pages === 1 ? "num pages one" : "num pages" }, d.pages ? String(d.pages) : ""),
      h("td", {}, h("span", { class: `state ${d.state}`, title: hint }, state)),
      h("td", { class: "num size" }, d.size !== undefined ? size(d.size) : ""),
      h(
        "td",
        { class: "num actions" },
        h("button", { class: "quiet about-toggle", type: "button", "aria-expanded": String(opened), "aria-label": `About ${d.path}`, title: "What is known of it", onclick: toggle }, icon("info")),
        d.parent && this.takes
          ? h("span", { class: "inside", title: "It lies in another file, and goes with that one" }, "inside")
          : this.takes && (this.takesAny || d.state === "ready") && h("button", { class: "quiet", type: "button", "aria-label": `Move ${d.path} to the trash`, title: "Move to the trash", onclick: () => void this.trash(d) }, icon("trash")),
      ),
    );
    return opened ? [line, h("tr", { class: "facts-row" }, h("td", { colspan: String(COLUMNS.length) }, facts(d)))] : [line];
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
