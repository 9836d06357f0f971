// The conversations that this person has kept: found by title, opened, named, shared, exported, deleted. Beside the questions; on
// narrow screens a drawer.

import { ApiError, conversations, deleteConversation, eraseConversations, exportUrl, makeShare, renameConversation, shares, unshare, type ConversationRow } from "./api";
import { h, icon } from "./dom";

const PAGE = 50;

export interface HistoryEvents {
  open(id: string): void;
  gone(id: string | null): void; // null: all
  signedOut(): void;
}

const day = (seconds: number) => new Date(seconds * 1000).toLocaleDateString(undefined, { year: "numeric", month: "short", day: "numeric" });

export class History {
  readonly element: HTMLElement;
  /** Opens the drawer on narrow screens. */
  readonly toggle: HTMLButtonElement;
  /** Are conversations kept here? Unknown (true) until the list has come. */
  keeps = true;
  private readonly list = h("ul", { class: "past" });
  private readonly empty = h("p", { class: "hint", role: "status" });
  private readonly more: HTMLButtonElement;
  private readonly search: HTMLInputElement;
  private readonly foot: HTMLElement;
  private current: string | null = null;
  private next: string | null = null;
  private turn = 0;

  constructor(private readonly on: HistoryEvents) {
    this.search = h("input", { type: "search", "aria-label": "Find a conversation by its title", placeholder: "Find by title", maxlength: "100" });
    let due = 0;
    this.search.addEventListener("input", () => {
      clearTimeout(due);
      due = window.setTimeout(() => void this.refresh(), 200);
    });
    this.more = h("button", { class: "quiet", type: "button", hidden: true, onclick: () => void this.load(this.next) }, "Older ones");
    const close = h("button", { class: "quiet drawer-close", type: "button", "aria-label": "Close the conversations", onclick: () => this.drawer(false) }, icon("close"));
    this.foot = h(
      "div",
      { class: "past-foot" },
      h("a", { class: "quiet", href: exportUrl(null, "markdown"), download: true }, icon("download"), "Export all"),
      h("button", { class: "quiet", type: "button", onclick: () => this.eraseAll() }, icon("trash"), "Erase all"),
    );
    this.element = h("aside", { class: "history", id: "history", "aria-label": "Conversations" }, h("div", { class: "past-head" }, h("h2", {}, "Conversations"), close), this.search, this.empty, this.list, this.more, this.foot);
    this.toggle = h("button", { class: "quiet drawer-open", type: "button", "aria-expanded": "false", "aria-controls": "history", onclick: () => this.drawer(true) }, icon("list"), "Conversations");
    this.element.addEventListener("keydown", (e) => {
      if (e.key !== "Escape") return;
      const menu = this.element.querySelector<HTMLDetailsElement>("details.menu[open]");
      if (menu) {
        menu.open = false;
        menu.querySelector("summary")?.focus();
      } else if (this.element.classList.contains("open")) {
        this.drawer(false);
      }
    });
    document.addEventListener("click", (e) => {
      for (const menu of this.element.querySelectorAll<HTMLDetailsElement>("details.menu[open]")) if (!menu.contains(e.target as Node)) menu.open = false;
    });
  }

  drawer(open: boolean): void {
    this.element.classList.toggle("open", open);
    this.toggle.setAttribute("aria-expanded", String(open));
    if (open) this.search.focus();
    else this.toggle.focus();
  }

  /** Which one is open now. */
  mark(id: string | null): void {
    this.current = id;
    for (const b of this.list.querySelectorAll<HTMLElement>("[data-id]")) {
      if (b.dataset.id === id) b.setAttribute("aria-current", "true");
      else b.removeAttribute("aria-current");
    }
  }

  async refresh(): Promise<void> {
    await this.load(null);
  }

  private async load(before: string | null): Promise<void> {
    const turn = ++this.turn;
    try {
      const found = await conversations(this.search.value.trim(), before, PAGE);
      if (turn !== this.turn) return;
      this.keeps = found.keep_days > 0;
      if (before === null) this.list.replaceChildren();
      for (const c of found.conversations) this.list.append(this.row(c));
      this.next = found.next;
      this.more.hidden = found.next === null;
      const none = this.list.children.length === 0;
      this.foot.hidden = none && this.search.value === "";
      this.empty.textContent = !none ? "" : !this.keeps ? "Conversations are not kept here." : this.search.value !== "" ? "No title has these letters." : `What you ask is kept here for ${found.keep_days} days after the last question, for you alone.`;
      this.mark(this.current);
    } catch (e) {
      this.problem(e as Error);
    }
  }

  private problem(e: Error): void {
    if (e instanceof ApiError && e.status === 401) return this.on.signedOut();
    this.empty.textContent = e instanceof ApiError && e.status === 403 ? "" : e.message;
  }

  private row(c: ConversationRow): HTMLElement {
    const title = h("span", { class: "past-title" }, c.title || "(no title)");
    const open: HTMLButtonElement = h(
      "button",
      {
        class: "past-open",
        type: "button",
        "data-id": c.id,
        onclick: () => {
          this.on.open(c.id);
          this.element.classList.remove("open");
          this.toggle.setAttribute("aria-expanded", "false");
        },
      },
      title,
      h("span", { class: "past-when" }, `${day(c.changed)} · ${c.exchanges === 1 ? "1 question" : `${c.exchanges} questions`}${c.shares > 0 ? " · shared" : ""}`),
    );
    const item = h("li");
    const act = (what: () => void) => () => {
      menu.open = false;
      what();
    };
    const menu: HTMLDetailsElement = h(
      "details",
      { class: "menu" },
      h("summary", { "aria-label": `More for: ${c.title}`, title: "More" }, icon("dots")),
      h(
        "div",
        { class: "menu-body" },
        h("button", { type: "button", onclick: act(() => this.rename(item, open, menu, c)) }, "Rename"),
        h("button", { type: "button", onclick: act(() => shareDialog(c, (n) => void (n !== c.shares && this.refresh()))) }, "Share…"),
        h("a", { href: exportUrl(c.id, "markdown"), download: true, onclick: act(() => undefined) }, "Export as Markdown"),
        h("a", { href: exportUrl(c.id, "json"), download: true, onclick: act(() => undefined) }, "Export as JSON"),
        h("button", { type: "button", class: "danger", onclick: act(() => this.remove(c)) }, "Delete…"),
      ),
    );
    item.append(open, menu);
    return item;
  }

  private rename(item: HTMLElement, open: HTMLElement, menu: HTMLElement, c: ConversationRow): void {
    const input = h("input", { type: "text", value: c.title, maxlength: "100", "aria-label": "Title of the conversation" });
    let over = false;
    const end = (save: boolean) => {
      if (over) return;
      over = true;
      const title = input.value.trim();
      if (!save || title === "" || title === c.title) {
        item.replaceChildren(open, menu);
        open.focus();
        return;
      }
      renameConversation(c.id, title)
        .then(() => this.refresh())
        .then(() => this.list.querySelector<HTMLElement>(`[data-id="${c.id}"]`)?.focus())
        .catch((e: Error) => this.problem(e));
    };
    input.addEventListener("keydown", (e) => {
      if (e.key === "Enter") end(true);
      if (e.key === "Escape") {
        e.stopPropagation();
        end(false);
      }
    });
    input.addEventListener("blur", () => end(true));
    item.replaceChildren(input);
    input.focus();
    input.select();
  }

  private remove(c: ConversationRow): void {
    confirmDialog("Delete this conversation?", `“${c.title}” and the links to it go. The records of its answers stay.`, "Delete", async () => {
      await deleteConversation(c.id);
      this.on.gone(c.id);
      await this.refresh();
    });
  }

  private eraseAll(): void {
    confirmDialog("Erase all your conversations?", "They go for good, with the links to them, the records of their answers and what you said of those.", "Erase all", async () => {
      await eraseConversations();
      this.on.gone(null);
      await this.refresh();
    });
  }
}

/** A modal window that goes when it is closed; Escape closes it. */
function dialog(name: string, ...inside: (Node | null)[]): HTMLDialogElement {
  const title = h("h2", {}, name);
  title.id = "dialog-title";
  const d = h("dialog", { class: "dialog", "aria-labelledby": "dialog-title" }, title, ...inside);
  d.addEventListener("close", () => d.remove());
  document.body.append(d);
  d.showModal();
  return d;
}

function confirmDialog(name: string, text: string, yes: string, then: () => Promise<void>): void {
  const problem = h("p", { class: "problem", role: "alert" });
  const go = h("button", { class: "act", type: "button" }, yes);
  const d = dialog(name, h("p", {}, text), problem, h("div", { class: "dialog-foot" }, h("button", { class: "quiet", type: "button", onclick: () => d.close() }, "Cancel"), go));
  go.addEventListener("click", () => {
    go.disabled = true;
    then()
      .then(() => d.close())
      .catch((e: Error) => {
        problem.textContent = e.message;
        go.disabled = false;
      });
  });
}

/** changed: called when it is closed, with how many links there are now. */
function shareDialog(c: ConversationRow, changed: (n: number) => void): void {
  const list = h("ul", { class: "links" });
  const problem = h("p", { class: "problem", role: "alert" });
  const days = h("select", { "aria-label": "How long the link works" }, ...[[7, "7 days"], [30, "30 days"], [90, "90 days"], [365, "a year"]].map(([n, text]) => h("option", { value: n, selected: n === 30 }, String(text))));
  const link = h("input", { type: "text", readonly: true, "aria-label": "The link", class: "link" });
  const copied = h("span", { role: "status", class: "hint" });
  const copy = h("button", { class: "act plain", type: "button" }, "Copy");
  const made = h("div", { class: "made", hidden: true }, h("p", { class: "hint" }, "It is shown this once:"), h("div", { class: "link-row" }, link, copy), copied);
  const make = h("button", { class: "act", type: "button" }, "Make a link");
  let n = c.shares;
  const failed = (e: Error) => (problem.textContent = e.message);
  const show = async () => {
    const now = await shares(c.id);
    n = now.length;
    list.replaceChildren(
      ...now.map((s) =>
        h(
          "li",
          {},
          h("span", {}, `Made ${day(s.created)}, works until ${day(s.expires)}, ${s.exchanges === 1 ? "1 question" : `${s.exchanges} questions`}`),
          h("button", { class: "quiet", type: "button", "aria-label": `Take back the link made ${day(s.created)}`, onclick: () => void unshare(c.id, s.id).then(show).catch(failed) }, "Take back"),
        ),
      ),
    );
  };
  make.addEventListener("click", () => {
    problem.textContent = "";
    makeShare(c.id, Number(days.value))
      .then((s) => {
        link.value = `${location.origin}/#shared/${s.token}`;
        made.hidden = false;
        copied.textContent = "";
        link.focus();
        link.select();
        return show();
      })
      .catch(failed);
  });
  copy.addEventListener("click", () => {
    const done = () => (copied.textContent = "Copied.");
    if (navigator.clipboard) navigator.clipboard.writeText(link.value).then(done, () => link.select());
    else link.select();
  });
  const d = dialog(
    "Share this conversation",
    h("p", {}, "Whoever has the link and is signed in here sees what was asked and answered so far. Answers made from documents that they may not read stay hidden from them, and what follows those."),
    h("div", { class: "link-row" }, h("label", { class: "pick" }, "Works for", days), make),
    made,
    problem,
    list,
    h("div", { class: "dialog-foot" }, h("button", { class: "quiet", type: "button", onclick: () => d.close() }, "Close")),
  );
  d.addEventListener("close", () => changed(n));
  show().catch(failed);
}
