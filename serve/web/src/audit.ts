// The audit as its auditors read it: the chain's head, whether it holds, and the records, a row a call.

import { audit, verifyAudit, type AuditEntry, type AuditPage } from "./api";
import { attempt } from "./attempt";
import { h, icon } from "./dom";

const STEP = 200; // records fetched at once

const OUTCOMES: Record<string, string> = { answered: "answered", done: "done", refused: "refused", cancelled: "cancelled", failed: "failed", error: "failed" };
const CALLS = ["open", "act", "close", "refused"]; // the others are of the chain itself
const STATES: Record<string, string> = {
  kept: "",
  sealed: "The text is encrypted to the auditor's key: carrel audit show --secret reads it.",
  "not kept": "The text was not kept, as the settings say (audit.payload).",
  absent: "The text was erased.",
  none: "This record has no text.",
};

interface Call {
  first: AuditEntry;
  close?: AuditEntry;
}

const when = (ms: number) => new Date(ms).toLocaleString("en-GB", { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit" });
const text = (value: unknown) => (typeof value === "string" ? value : "");
/** Who wrote the answer, and where its prompt went. */
function written(open: Record<string, unknown>, said: Record<string, unknown> | null, close: Record<string, unknown> | undefined): string {
  const route = said?.route as Record<string, unknown> | undefined;
  const parts: string[] = [];
  if (text(close?.engine)) parts.push(`by ${text(close?.model_version) || text(close?.model) || text(close?.engine)}`);
  if (text(open.route) === "external") parts.push(`sent to ${text(route?.destination) || "the upstream"}, ${text(close?.masks) === "none" || close?.masks === undefined ? "nothing held back" : `held back: ${text(close.masks).replace(/-/g, " ").replace(/:(\d+) ?/g, " ($1) ").trim()}`}`);
  else if (text(open.route)) parts.push(open.route === "refuse" ? "refused" : "on this machine");
  if (text(open.rule)) parts.push(`rule ${text(open.rule)}`);
  return parts.join(", ");
}
const many = (n: number, one: string, more: string) => `${n.toLocaleString("en-GB")} ${n === 1 ? one : more}`;

export class AuditView {
  readonly element: HTMLElement;
  private readonly problem = h("p", { class: "problem", role: "alert", hidden: true });
  private readonly head = h("div");
  private readonly verdict = h("div", { role: "status" });
  private readonly rows = h("tbody");
  private readonly kind = h("select", {}, h("option", { value: "" }, "All"), h("option", { value: "open" }, "Questions and reading"), h("option", { value: "act" }, "Administration"), h("option", { value: "refused" }, "Refused at the door"), h("option", { value: "other" }, "The chain itself"));
  private readonly earlier = h("button", { class: "act plain", type: "button", hidden: true }, "Earlier records");
  private entries: AuditEntry[] = [];
  private turn = 0;

  constructor(private readonly onSignedOut: () => void) {
    const check = h("button", { class: "act", type: "button" }, "Check the whole chain");
    check.addEventListener("click", () => {
      check.disabled = true;
      void this.run(() => this.verify()).finally(() => (check.disabled = false));
    });
    this.kind.addEventListener("change", () => this.draw());
    this.earlier.addEventListener("click", () => void this.run(() => this.back()));
    const head = ["When", "Who", "What", "Outcome", "Details"];
    this.element = h(
      "section",
      { class: "quality people audit", "aria-label": "Audit" },
      h("h1", {}, "Audit"),
      h("p", { class: "lead" }, "What was asked and answered, and what administrators did."),
      this.problem,
      h("section", { class: "panel", "aria-labelledby": "au-head" }, h("h2", { id: "au-head" }, "The chain"), this.head, h("div", { class: "runbar" }, check, h("a", { class: "act plain", href: "/api/audit/export?limit=100000", download: "audit.jsonl" }, icon("download"), "Export")), this.verdict),
      h(
        "section",
        { class: "panel", "aria-labelledby": "au-list" },
        h("h2", { id: "au-list" }, "Records"),
        h("div", { class: "runbar" }, h("label", { class: "pick" }, "Shown", this.kind)),
        h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Records, as a table" }, h("table", { class: "figures" }, h("thead", {}, h("tr", {}, ...head.map((c) => h("th", { scope: "col" }, c)))), this.rows)),
        this.earlier,
      ),
    );
  }

  show(): void {
    this.verdict.replaceChildren();
    const mine = ++this.turn;
    void this.run(async () => {
      const page = await audit(`limit=${STEP}`);
      if (mine !== this.turn) return;
      this.entries = page.records;
      this.drawHead(page);
      this.draw();
    });
  }

  private run(act: () => Promise<void>): Promise<void> {
    return attempt(this.problem, this.onSignedOut, act);
  }

  private async back(): Promise<void> {
    const first = this.entries[0]?.record.seq ?? 1;
    const page = await audit(`from=${Math.max(1, first - STEP)}&limit=${STEP}`);
    this.entries = [...page.records.filter((e) => e.record.seq < first), ...this.entries];
    this.draw();
  }

  private async verify(): Promise<void> {
    const v = await verifyAudit();
    const whole = v.verdict === "whole";
    const counts = [many(v.records, "record", "records"), many(v.acts, "act of administration", "acts of administration"), many(v.checkpoints, "signature", "signatures")];
    if (v.interrupted > 0) counts.push(many(v.interrupted, "call interrupted", "calls interrupted"));
    if (v.texts_erased > 0) counts.push(many(v.texts_erased, "text erased", "texts erased"));
    this.verdict.replaceChildren(
      h("p", { class: whole ? "" : "problem" }, h("strong", {}, whole ? "The chain is whole" : v.verdict === "older" ? "The chain ends too early" : "The chain is broken"), `: ${counts.join(", ")}.`),
      v.findings.length > 0 ? h("ul", {}, ...v.findings.map((f) => h("li", {}, f.seq > 0 ? `Record ${f.seq}: ${f.text}` : f.text)), v.more_findings > 0 ? h("li", {}, `${v.more_findings} more`) : null) : "",
      v.texts_beyond > 0 ? h("p", { class: "problem" }, `There is a text of record ${v.texts_beyond}, after the chain’s end: records were removed.`) : "",
      h("p", { class: "hint" }, "Whether records are missing at its end only a head that was written down elsewhere tells: carrel audit verify --head."),
    );
  }

  private drawHead(p: AuditPage): void {
    this.head.replaceChildren(
      h("p", {}, `The last record is number ${p.seq}, of ${when(p.at)}. `, p.signed_seq > 0 ? `Signed up to ${p.signed_seq}.` : "Not signed yet."),
      h("p", {}, h("code", { class: "secret" }, `${p.seq}:${p.head}`)),
      h("p", { class: "hint" }, "Write it down elsewhere, and nothing up to it can be changed or cut off unseen. Export takes the first 100,000 records at most; carrel audit export takes all."),
    );
  }

  private draw(): void {
    const calls: Call[] = [];
    const open = new Map<string, Call>();
    for (const e of this.entries) {
      const id = text(e.record.call);
      const known = e.record.type === "close" ? open.get(id) : undefined;
      if (known) known.close = e;
      else {
        const c: Call = { first: e };
        calls.push(c);
        if (id !== "") open.set(id, c);
      }
    }
    const wanted = (c: Call) => this.kind.value === "" || (this.kind.value === "other" ? !CALLS.includes(c.first.record.type) : c.first.record.type === this.kind.value);
    const shown = calls.filter(wanted).reverse();
    this.rows.replaceChildren(...shown.flatMap((c) => this.row(c)));
    if (shown.length === 0) this.rows.append(h("tr", {}, h("td", { colspan: 5, class: "hint" }, "None among the records that are loaded.")));
    this.earlier.hidden = (this.entries[0]?.record.seq ?? 1) <= 1;
  }

  private row(c: Call): HTMLElement[] {
    const { record, text: said } = c.first;
    const chain = !CALLS.includes(record.type);
    const by = (said?.by as { from?: string; name?: string; what?: string }[] | undefined)?.[0];
    const refused = record.type === "refused" ? `${many(Number(record.times), "call", "calls")} refused: ${text(record.reason).replace(/_/g, " ")}` : "";
    const what = text(said?.question) || refused || text(record.act) || text(record.what) || record.type;
    const from = text(said?.from) || text(by?.from);
    const close = c.close?.record ?? (record.type === "close" ? record : undefined);
    const outcome = close === undefined ? (chain ? "" : refused ? "refused" : "no end yet") : (OUTCOMES[text(close.outcome)] ?? text(close.outcome));
    const id = `au-${record.seq}`;
    const detail = h("tr", { id, hidden: true }, h("td", { colspan: 5 }));
    const more = h("button", { class: "linklike", type: "button", "aria-expanded": "false", "aria-controls": id, "aria-label": `Record ${record.seq} in full` }, "More");
    more.addEventListener("click", () => {
      detail.hidden = !detail.hidden;
      more.setAttribute("aria-expanded", String(!detail.hidden));
      if (detail.firstElementChild!.childElementCount === 0) detail.firstElementChild!.append(...[c.first, c.close].filter((e) => e !== undefined).map((e) => this.full(e)));
    });
    return [
      h(
        "tr",
        {},
        h("td", { class: "num" }, when(record.at), h("span", { class: "folder" }, `record ${record.seq}`)),
        h("td", {}, chain ? "the appliance" : text(said?.name) || text(by?.name) || (refused ? "nobody known" : "not told"), h("span", { class: "folder" }, from ? `from ${from}` : "")),
        h("td", { class: "what" }, what, h("span", { class: "folder" }, what === record.what ? "" : text(record.what)), h("span", { class: "folder" }, written(record, said, close))),
        h("td", {}, outcome, h("span", { class: "folder" }, close && typeof close.status === "number" && close.status >= 400 ? `HTTP ${close.status}` : "")),
        h("td", { class: "acts" }, more),
      ),
      detail,
    ];
  }

  private full(e: AuditEntry): HTMLElement {
    const state = STATES[e.text_state] ?? e.text_state;
    return h("div", {}, h("h3", {}, `Record ${e.record.seq}: ${e.record.type}`), h("pre", { tabindex: "0", role: "region", "aria-label": `Record ${e.record.seq}` }, JSON.stringify(e.record, null, 1)), state ? h("p", { class: "hint" }, state) : null, e.text ? h("pre", { tabindex: "0", role: "region", "aria-label": `Text of record ${e.record.seq}` }, JSON.stringify(e.text, null, 1)) : null);
  }
}
