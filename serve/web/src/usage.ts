// Who used what in a month and what it cost: a plot of the days, tables, what stood idle and what to change. For
// administrators and auditors.

import { ApiError, usage, type Usage, type UsageAmounts } from "./api";
import { h, icon, s, size } from "./dom";

const MONTHS = 13; // that can be chosen
const W = 880;
const H = 210;
const LEFT = 60;
const RIGHT = 8;
const TOP = 12;
const BOTTOM = 26;

type Series = { name: string; of: (d: UsageAmounts) => number; say: (n: number) => string };

const whole = (n: number) => Math.round(n).toLocaleString("en-GB");
const percent = (n: number) => `${(n * 100).toFixed(1)} %`;
const tokens = (a: UsageAmounts) => a.prompt_tokens + a.completion_tokens + a.embedding_tokens;
const seconds = (us: number) => (us >= 36e8 ? `${(us / 36e8).toFixed(1)} h` : us >= 6e7 ? `${(us / 6e7).toFixed(1)} min` : us > 0 && us < 1e5 ? `${(us / 1e3).toFixed(1)} ms` : `${(us / 1e6).toFixed(1)} s`);

function monthName(month: string): string {
  return new Date(`${month}-15T12:00:00Z`).toLocaleDateString("en-GB", { month: "long", year: "numeric", timeZone: "UTC" });
}

/** The upper end of an axis that holds n: 1, 2 or 5 times a power of ten. */
function roof(n: number): number {
  if (n <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(n));
  return power * ([1, 2, 5, 10].find((f) => f * power >= n) ?? 10);
}

/** A bar a day; one tab stop, the arrow keys go from day to day. The table below has the same numbers. */
function bars(days: Usage["days"], series: Series): HTMLElement {
  const top = roof(Math.max(0, ...days.map(series.of)));
  const step = (W - LEFT - RIGHT) / days.length;
  const y = (n: number) => TOP + (1 - n / top) * (H - TOP - BOTTOM);
  const svg = s("svg", { viewBox: `0 0 ${W} ${H}`, role: "group", "aria-label": `${series.name} of each day. Arrow keys go from day to day.` });
  const said = [0, 0.5, 1].map((part) => series.say(part * top));
  for (const part of said[1] === said[2] || said[1] === said[0] ? [0, 1] : [0, 0.5, 1]) {
    svg.append(
      s("line", { class: "grid", x1: LEFT, x2: W - RIGHT, y1: y(part * top), y2: y(part * top) }),
      s("text", { class: "tick", x: LEFT - 6, y: y(part * top) + 4, "text-anchor": "end", "aria-hidden": "true" }, series.say(part * top)),
    );
  }
  const bubble = h("div", { class: "bubble", "aria-hidden": "true", hidden: true });
  const groups = days.map((d, i) => {
    const n = series.of(d);
    const x = LEFT + i * step;
    const said = `${new Date(`${d.day}T12:00:00Z`).toLocaleDateString("en-GB", { day: "numeric", month: "short", timeZone: "UTC" })}: ${series.say(n)}, ${whole(d.requests)} ${d.requests === 1 ? "request" : "requests"}`;
    const g = s(
      "g",
      { class: "day", role: "img", tabindex: i === days.length - 1 ? "0" : "-1", "aria-label": said },
      s("rect", { class: "reach", x, y: TOP, width: step, height: H - TOP - BOTTOM }),
      s("rect", { class: "bar", x: x + step * 0.15, y: y(n), width: step * 0.7, height: Math.max(0, y(0) - y(n)) }),
    );
    const show = () => {
      bubble.textContent = said;
      bubble.hidden = false;
      const left = (x + step / 2) / W;
      bubble.style.left = left < 0.5 ? `${left * 100}%` : "auto";
      bubble.style.right = left < 0.5 ? "auto" : `${(1 - left) * 100}%`;
      bubble.style.top = `${(Math.min(y(n), H - 70) / H) * 100}%`;
    };
    g.addEventListener("focus", show);
    g.addEventListener("blur", () => (bubble.hidden = true));
    g.addEventListener("pointerenter", show);
    g.addEventListener("pointerleave", () => document.activeElement !== g && (bubble.hidden = true));
    if (i % 5 === 0 || i === days.length - 1) svg.append(s("text", { class: "tick", x: x + step / 2, y: H - 8, "text-anchor": "middle", "aria-hidden": "true" }, String(i + 1)));
    svg.append(g);
    return g;
  });
  svg.addEventListener("keydown", (e) => {
    const at = groups.indexOf(document.activeElement as SVGGElement);
    const to = e.key === "ArrowLeft" ? at - 1 : e.key === "ArrowRight" ? at + 1 : e.key === "Home" ? 0 : e.key === "End" ? groups.length - 1 : -1;
    if (at < 0 || to < 0 || to >= groups.length) return;
    e.preventDefault();
    groups[at]!.setAttribute("tabindex", "-1");
    groups[to]!.setAttribute("tabindex", "0");
    groups[to]!.focus();
  });
  return h("figure", { class: "plot" }, h("figcaption", {}, series.name), h("div", { class: "canvas" }, svg, bubble));
}

export class UsageView {
  readonly element: HTMLElement;
  private readonly problem = h("p", { class: "problem", role: "alert", hidden: true });
  private readonly month = h("select", { "aria-label": "Month" });
  private readonly what = h("select", { "aria-label": "Shown in the plot" }, h("option", { value: "cost" }, "Cost"), h("option", { value: "requests" }, "Requests"), h("option", { value: "tokens" }, "Tokens"), h("option", { value: "cpu" }, "Processor time"));
  private readonly csv = h("a", { class: "act plain", download: "" }, icon("download"), "CSV");
  private readonly body = h("div");
  private readonly plot = h("div", { class: "use-plot" });
  private report: Usage | null = null;
  private turn = 0;

  constructor(private readonly onSignedOut: () => void) {
    const now = new Date();
    for (let i = 0; i < MONTHS; i++) {
      const d = new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - i, 1));
      const month = d.toISOString().slice(0, 7);
      this.month.append(h("option", { value: month }, monthName(month)));
    }
    this.month.addEventListener("change", () => void this.load());
    this.what.addEventListener("change", () => this.draw());
    this.element = h(
      "section",
      { class: "quality usage", "aria-label": "Usage" },
      h("h1", {}, "Usage"),
      h("p", { class: "lead" }, "Who used what, and what it cost."),
      h("div", { class: "runbar" }, h("label", { class: "pick" }, "Month", this.month), this.csv),
      this.problem,
      this.body,
    );
  }

  show(): void {
    void this.load();
  }

  private async load(): Promise<void> {
    const mine = ++this.turn;
    this.csv.setAttribute("href", `/api/usage?format=csv&month=${this.month.value}`);
    try {
      const r = await usage(this.month.value);
      if (mine !== this.turn) return;
      this.problem.hidden = true;
      if (this.report === null && r.totals.cost_micro === 0) this.what.value = "requests"; // an empty plot of money says nothing
      this.report = r;
      this.paint(r);
    } catch (e) {
      if (e instanceof ApiError && e.status === 401) return this.onSignedOut();
      this.problem.textContent = (e as Error).message;
      this.problem.hidden = false;
    }
  }

  private money(micro: number): string {
    const n = micro / 1e6; // what is not nothing is never shown as nothing
    const most = Math.abs(n) >= 100 ? 2 : Math.abs(n) >= 1 ? 4 : 6;
    return `${n.toLocaleString("en-GB", { minimumFractionDigits: 2, maximumFractionDigits: most })} ${this.report?.currency ?? ""}`;
  }

  private draw(): void {
    if (this.report === null) return;
    const all: Record<string, Series> = {
      cost: { name: "Cost", of: (d) => d.cost_micro, say: (n) => this.money(n) },
      requests: { name: "Requests", of: (d) => d.requests, say: whole },
      tokens: { name: "Tokens", of: tokens, say: whole },
      cpu: { name: "Processor time", of: (d) => d.cpu_us, say: seconds },
    };
    this.plot.replaceChildren(bars(this.report.days, all[this.what.value]!));
  }

  private table(title: string, list: (UsageAmounts & { label: string; share: number; budget_micro?: number })[]): HTMLElement {
    const id = `u-${title.toLowerCase()}`;
    const sorted = [...list].sort((a, b) => b.share - a.share || b.requests - a.requests);
    return h(
      "section",
      { class: "panel", "aria-labelledby": id },
      h("h2", { id }, title),
      h(
        "div",
        { class: "scroll", tabindex: "0", role: "region", "aria-label": `${title}, as a table` },
        h(
          "table",
          { class: "figures" },
          h("thead", {}, h("tr", {}, h("th", { scope: "col" }, title.replace(/s$/, "")), ...["Share", "Requests", "Tokens", "CPU", "GPU", "Uploaded", "Cost"].map((n) => h("th", { scope: "col", class: "num" }, n)))),
          h(
            "tbody",
            {},
            ...sorted.map((g) =>
              h(
                "tr",
                {},
                h("th", { scope: "row" }, g.label === "" ? "(none)" : g.label),
                h("td", { class: "num" }, percent(g.share), h("meter", { class: "share", min: "0", max: "1", value: String(g.share), "aria-hidden": "true" })),
                h("td", { class: "num" }, whole(g.requests)),
                h("td", { class: "num" }, whole(tokens(g))),
                h("td", { class: "num" }, seconds(g.cpu_us)),
                h("td", { class: "num" }, seconds(g.gpu_us)),
                h("td", { class: "num" }, size(g.upload_bytes)),
                h("td", { class: "num" }, this.money(g.cost_micro), g.budget_micro === undefined ? null : h("span", { class: "folder" }, `of ${this.money(g.budget_micro)}`)),
              ),
            ),
          ),
        ),
      ),
    );
  }

  private paint(r: Usage): void {
    const t = r.totals;
    const figure = (n: string, what: string) => h("li", {}, h("strong", {}, n), h("span", {}, what));
    const facts = [figure(whole(t.requests), t.requests === 1 ? "request" : "requests"), figure(this.money(t.all_micro), "cost, storage included"), figure(this.money(t.external_micro), t.estimated_micro > 0 ? `of it for models elsewhere (${this.money(t.estimated_micro)} estimated: nobody waited for the end)` : "of it for models elsewhere"), figure(whole(tokens(t)), "tokens")];
    if (r.capacity) {
      facts.push(figure(percent(r.capacity.cpu.idle_share), `idle: requests and documents used ${seconds(r.capacity.cpu.used_us)} of the ${seconds(r.capacity.cpu.capacity_us)} that ${r.capacity.cores} cores could give`));
      if (r.capacity.gpu) facts.push(figure(percent(r.capacity.gpu.idle_share), "of the GPU's time idle"));
    }
    this.draw();
    this.body.replaceChildren(
      h("ul", { class: "counts" }, ...facts),
      r.advice.length === 0
        ? h("p", { hidden: true })
        : h("section", { class: "panel", "aria-labelledby": "u-advice" }, h("h2", { id: "u-advice" }, "What to change"), h("ul", { class: "advice" }, ...r.advice.map((a) => h("li", {}, a.text)))),
      h("section", { class: "panel", "aria-labelledby": "u-days" }, h("div", { class: "panel-head" }, h("h2", { id: "u-days" }, "Day by day"), h("label", { class: "pick" }, "Show", this.what)), this.plot),
      this.table("Teams", r.teams.map((g) => ({ ...g, label: g.team }))),
      this.table("Users", r.users.map((g) => ({ ...g, label: g.name === "" ? "(folders and sources)" : g.name }))),
      this.table("Models", r.models.map((g) => ({ ...g, label: g.model }))),
      r.storage.length === 0
        ? h("p", { hidden: true })
        : h(
            "section",
            { class: "panel", "aria-labelledby": "u-storage" },
            h("h2", { id: "u-storage" }, "Collections"),
            h(
              "div",
              { class: "scroll", tabindex: "0", role: "region", "aria-label": "Collections, as a table" },
              h(
                "table",
                { class: "figures" },
                h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Collection"), ...["Documents", "Size", "Found in", "Storage", "Read", "CPU", "Reading"].map((n) => h("th", { scope: "col", class: "num" }, n)))),
                h(
                  "tbody",
                  {},
                  ...r.storage.map((c) =>
                    h("tr", {}, h("th", { scope: "row" }, c.collection === "" ? "(top folder)" : c.collection), h("td", { class: "num" }, whole(c.documents)), h("td", { class: "num" }, size(c.bytes)), h("td", { class: "num" }, `${whole(c.found)} ${c.found === 1 ? "request" : "requests"}`), h("td", { class: "num" }, this.money(c.cost_micro)), h("td", { class: "num" }, whole(c.read_documents)), h("td", { class: "num" }, seconds(c.read_cpu_us)), h("td", { class: "num" }, this.money(c.read_micro))),
                  ),
                ),
              ),
            ),
          ),
      h("p", { class: "hint" }, `A share is one of the ${r.share_of === "cost" ? "cost" : r.share_of === "computing" ? "computing time" : "tokens"}. Days and months are UTC's. Reading documents is in the tables above as well, as the model (documents).`),
    );
  }
}
