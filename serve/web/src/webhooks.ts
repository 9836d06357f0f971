// Who is told what happens, and what they were told; for administrators.

import { addWebhook, againWebhook, changeWebhook, deliveries, newWebhookSecret, removeWebhook, testWebhook, webhooks, type Delivery, type Webhook } from "./api";
import { attempt } from "./attempt";
import { h } from "./dom";

const EVENTS: Record<string, string> = {
  "document.ingested": "a document can be found",
  "document.failed": "a document could not be read",
  "answer.flagged": "an answer was called wrong",
  "budget.warning": "a budget is nearly spent",
  "budget.exceeded": "a budget is spent",
  "job.done": "a job ended",
};
const STATES: Record<Delivery["state"], string> = { waiting: "waits", taken: "taken", given_up: "given up" };

const when = (at?: number) => (at === undefined ? "" : new Date(at * 1000).toLocaleString("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit" }));

export class WebhooksView {
  readonly element: HTMLElement;
  private readonly problem = h("p", { class: "problem", role: "alert", hidden: true });
  private readonly once = h("div", { class: "once", role: "status", hidden: true });
  private readonly rows = h("tbody");
  private readonly allowed = h("p", { class: "hint" });
  private readonly log = h("section", { class: "panel", "aria-labelledby": "w-log", hidden: true });
  private form: HTMLFormElement | null = null;

  constructor(private readonly onSignedOut: () => void) {
    this.element = h(
      "section",
      { class: "quality people", "aria-label": "Webhooks" },
      h("h1", {}, "Webhooks"),
      h("p", { class: "lead" }, "Other systems that are told what happens, by signed calls."),
      this.problem,
      this.once,
      h("section", { class: "panel", "aria-labelledby": "w-list" }, h("h2", { id: "w-list" }, "Endpoints"), this.table("Endpoints", ["Address", "Told of", "State", ""], this.rows), this.allowed, this.adding()),
      this.log,
    );
  }

  show(): void {
    void this.run(() => this.refresh());
  }

  hide(): void {
    this.once.replaceChildren(); // what was shown once is not shown again
    this.once.hidden = true;
    this.log.hidden = true;
  }

  private table(label: string, cells: string[], body: HTMLElement): HTMLElement {
    return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `${label}, as a table` }, h("table", { class: "figures" }, h("thead", {}, h("tr", {}, ...cells.map((c) => h("th", { scope: "col" }, c || h("span", { class: "sr" }, "Actions"))))), body));
  }

  private run(act: () => Promise<void>): Promise<void> {
    return attempt(this.problem, this.onSignedOut, act);
  }

  private async refresh(): Promise<void> {
    const all = await webhooks();
    const places = [...all.allow, ...all.allow_private];
    this.rows.replaceChildren(...all.webhooks.map((w) => this.row(w)));
    if (all.webhooks.length === 0) this.rows.append(h("tr", {}, h("td", { colspan: 4, class: "hint" }, "Nobody is told anything.")));
    this.allowed.textContent = places.length > 0 ? `May be told, by the settings (webhooks.allow): ${places.join(", ")}` : "The settings name no place that may be told: webhooks.allow in carrel.yaml.";
    if (this.form !== null) this.form.hidden = places.length === 0;
  }

  private showSecret(of: string, secret: string): void {
    this.once.replaceChildren(h("h3", {}, `The secret of ${of}`), h("p", {}, h("code", { class: "secret" }, secret)), h("p", { class: "hint" }, "It is shown only now. The receiver checks signatures with it."));
    this.once.hidden = false;
    this.once.scrollIntoView({ block: "nearest" });
  }

  private button(text: string, label: string, act: () => Promise<void>, sure?: string): HTMLElement {
    return h("button", { class: "linklike", type: "button", "aria-label": label, onclick: () => (sure === undefined || confirm(sure)) && void this.run(async () => (await act(), this.refresh())) }, text);
  }

  private row(w: Webhook): HTMLElement {
    const state = w.enabled ? (w.failing_since === undefined ? "" : `takes nothing since ${when(w.failing_since)}`) : (w.why ?? "off");
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, w.url, h("span", { class: "folder" }, w.name)),
      h("td", {}, w.events.map((e) => EVENTS[e] ?? e).join(", ")),
      h("td", {}, state, h("span", { class: "folder" }, [w.last_taken === undefined ? "" : `last taken ${when(w.last_taken)}`, w.waiting > 0 ? `${w.waiting} wait` : "", w.given_up > 0 ? `${w.given_up} given up` : ""].filter(Boolean).join(", "))),
      h(
        "td",
        { class: "acts" },
        this.button("Log", `What ${w.url} was told`, () => this.showLog(w)),
        this.button("Test", `Send a test to ${w.url}`, async () => (await testWebhook(w.id), new Promise((done) => setTimeout(done, 1500)).then(() => this.showLog(w)))),
        this.button("New secret", `New secret for ${w.url}`, async () => this.showSecret(w.url, await newWebhookSecret(w.id)), "Make a new secret? Calls are signed with it from now on, and for 24 hours with the one before too."),
        this.button(w.enabled ? "Off" : "On", `Switch ${w.url} ${w.enabled ? "off" : "on"}`, () => changeWebhook(w.id, !w.enabled)),
        this.button("Remove", `Remove ${w.url}`, () => removeWebhook(w.id), `Remove ${w.url}? What still waits for it goes too.`),
      ),
    );
  }

  private async showLog(w: Webhook): Promise<void> {
    const list = await deliveries(w.id);
    const body = h("tbody", {}, ...list.map((d) => this.delivery(w, d)));
    if (list.length === 0) body.append(h("tr", {}, h("td", { colspan: 5, class: "hint" }, "It was told nothing yet.")));
    this.log.replaceChildren(h("h2", { id: "w-log" }, `What ${w.url} was told`), this.table("Deliveries", ["At", "Event", "State", "Answer", ""], body));
    this.log.hidden = false;
  }

  private delivery(w: Webhook, d: Delivery): HTMLElement {
    const again = this.button("Send again", `Send ${d.event} of ${when(d.created)} again`, async () => (await againWebhook(w.id, d.id), new Promise((done) => setTimeout(done, 1500)).then(() => this.showLog(w))));
    const tries = d.attempts > 1 ? `after ${d.attempts} tries` : "";
    return h("tr", {}, h("td", {}, when(d.created)), h("td", {}, d.event), h("td", {}, STATES[d.state], h("span", { class: "folder" }, d.next === undefined ? tries : `next try ${when(d.next)}`)), h("td", {}, d.error ?? (d.status === undefined ? "" : `HTTP ${d.status}`)), h("td", { class: "acts" }, again));
  }

  private adding(): HTMLElement {
    const url = h("input", { required: true, type: "url", maxlength: 2048, autocomplete: "off", spellcheck: "false", placeholder: "https://n8n.example.org/webhook/…" });
    const name = h("input", { maxlength: 100, autocomplete: "off" });
    const boxes = Object.entries(EVENTS).map(([e, text]) => [h("input", { type: "checkbox", value: e }), text] as const);
    const field = (label: string, control: HTMLElement) => h("label", { class: "field" }, h("span", {}, label), control);
    const form = h("form", { class: "fields" }, field("Address", url), field("Name", name), h("fieldset", { class: "scopes" }, h("legend", {}, "Told when"), ...boxes.map(([box, text]) => h("label", {}, box, text))), h("button", { class: "act", type: "submit" }, "Add"));
    form.addEventListener("submit", (e) => {
      e.preventDefault();
      void this.run(async () => {
        const made = await addWebhook(url.value.trim(), boxes.filter(([box]) => box.checked).map(([box]) => box.value), name.value.trim());
        this.showSecret(made.url, made.secret);
        form.reset();
        await this.refresh();
      });
    });
    this.form = form;
    return form;
  }
}
