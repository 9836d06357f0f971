// What is asked: collection, label, tag, format, language, author, dates, and "as of". The choices are what the asker may
// find; where there is only one there is nothing to choose.

import { facets, type Facets, type Filter } from "./api";
import { languageName } from "./about";
import { h, icon } from "./dom";

const KINDS = [
  ["collections", "Collection"],
  ["labels", "Label"],
  ["tags", "Tag"],
  ["formats", "Format"],
  ["languages", "Language"],
  ["authors", "Author"],
] as const;
const DATES = [
  ["from", "From"],
  ["until", "Until"],
  ["as_of", "As of"],
] as const;
type Kind = (typeof KINDS)[number][0];
type Day = (typeof DATES)[number][0];

const named = (value: string) => (value === "" ? "none" : value);
/** As people call it. */
const called = (kind: Kind, value: string) => (kind === "languages" && value !== "" ? languageName(value) : named(value));

/** "Collection: hr", "From 2026-01-01". */
export function inWords(filter: Filter): string[] {
  return [
    ...KINDS.flatMap(([key, name]) => (filter[key] ?? []).map((v) => `${name}: ${called(key, v)}`)),
    ...DATES.flatMap(([key, name]) => (filter[key] ? [`${name} ${filter[key]}`] : [])),
  ];
}

export class FilterBar {
  readonly element: HTMLElement;
  private readonly panel: HTMLDetailsElement;
  private readonly summary = h("summary", {}, "All documents");
  private readonly active = h("ul", { class: "chips active", "aria-label": "Narrowed to", hidden: true });
  private readonly selects = new Map<Kind, HTMLSelectElement>();
  private readonly dates = new Map<Day, HTMLInputElement>();

  constructor() {
    const fields: HTMLElement[] = [];
    for (const [key, name] of KINDS) {
      const select = h("select", { onchange: () => this.describe() }, h("option", { value: "*" }, "all"));
      this.selects.set(key, select);
      fields.push(h("label", { class: "chip", hidden: true }, name, select));
    }
    for (const [key, name] of DATES) {
      const input = h("input", { type: "date", onchange: () => this.describe() });
      this.dates.set(key, input);
      fields.push(h("label", { class: "chip" }, name, input));
    }
    const clear = h("button", { class: "quiet", type: "button", onclick: () => this.clear() }, "Clear");
    this.panel = h("details", {}, this.summary, h("div", { class: "chips" }, ...fields, clear));
    this.element = h("div", { class: "filters" }, this.active, this.panel);
    this.panel.addEventListener("toggle", () => {
      if (this.panel.open) void this.load();
    });
  }

  /** undefined: nothing is narrowed. */
  value(): Filter | undefined {
    const filter: Filter = {};
    for (const [key, select] of this.selects) if (select.value !== "*") filter[key] = [select.value];
    for (const [key, input] of this.dates) if (input.value !== "") filter[key] = input.value;
    return Object.keys(filter).length > 0 ? filter : undefined;
  }

  private clear(): void {
    for (const select of this.selects.values()) select.value = "*";
    for (const input of this.dates.values()) input.value = "";
    this.describe();
  }

  /** What is narrowed stands there to be seen, each with a button that takes it away. */
  private describe(): void {
    const chips: HTMLElement[] = [];
    const chip = (text: string, remove: () => void) => {
      const gone = () => {
        remove();
        this.describe();
        this.summary.focus(); // the pressed button is no more
      };
      chips.push(h("li", { class: "chip" }, text, h("button", { class: "quiet", type: "button", "aria-label": `Remove ${text}`, title: "Remove", onclick: gone }, icon("close"))));
    };
    for (const [key, name] of KINDS) {
      const select = this.selects.get(key)!;
      if (select.value !== "*") chip(`${name}: ${called(key, select.value)}`, () => (select.value = "*"));
    }
    for (const [key, name] of DATES) {
      const input = this.dates.get(key)!;
      if (input.value !== "") chip(`${name} ${input.value}`, () => (input.value = ""));
    }
    this.active.replaceChildren(...chips);
    this.active.hidden = chips.length === 0;
    this.summary.textContent = chips.length > 0 ? "Narrow further" : "All documents";
  }

  private async load(): Promise<void> {
    let found: Facets;
    try {
      found = await facets();
    } catch {
      return; // the choices stay as they are; asking says what is wrong
    }
    for (const [key] of KINDS) {
      const select = this.selects.get(key)!;
      const chosen = select.value;
      const options = found[key].map((f) => h("option", { value: f.value }, `${called(key, f.value)} (${f.documents})`));
      if (chosen !== "*" && !found[key].some((f) => f.value === chosen)) options.push(h("option", { value: chosen }, chosen));
      select.replaceChildren(h("option", { value: "*" }, "all"), ...options);
      select.value = chosen;
      select.parentElement!.hidden = chosen === "*" && found[key].length < 2;
    }
  }
}
