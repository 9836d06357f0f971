// What is asked: collection, label, tag, dates, and "as of". The choices are what the asker may find.

import { facets, type Facets, type Filter } from "./api";
import { h } from "./dom";

const KINDS = [
  ["collections", "Collection"],
  ["labels", "Label"],
  ["tags", "Tag"],
] as const;
const DATES = [
  ["from", "From"],
  ["until", "Until"],
  ["as_of", "As of"],
] as const;

export class FilterBar {
  readonly element: HTMLDetailsElement;
  private readonly summary = h("summary", {}, "All documents");
  private readonly selects = new Map<(typeof KINDS)[number][0], HTMLSelectElement>();
  private readonly dates = new Map<(typeof DATES)[number][0], HTMLInputElement>();

  constructor() {
    const fields: HTMLElement[] = [];
    for (const [key, name] of KINDS) {
      const select = h("select", { onchange: () => this.describe() }, h("option", { value: "*" }, "all"));
      this.selects.set(key, select);
      fields.push(h("label", { class: "chip" }, name, select));
    }
    for (const [key, name] of DATES) {
      const input = h("input", { type: "date", onchange: () => this.describe() });
      this.dates.set(key, input);
      fields.push(h("label", { class: "chip" }, name, input));
    }
    const clear = h("button", { class: "quiet", type: "button", onclick: () => this.clear() }, "Clear");
    this.element = h("details", { class: "filters" }, this.summary, h("div", { class: "chips" }, ...fields, clear));
    this.element.addEventListener("toggle", () => {
      if (this.element.open) void this.load();
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

  private describe(): void {
    const parts: string[] = [];
    for (const [key, name] of KINDS) {
      const select = this.selects.get(key)!;
      if (select.value !== "*") parts.push(`${name}: ${select.value === "" ? "none" : select.value}`);
    }
    for (const [key, name] of DATES) {
      const value = this.dates.get(key)!.value;
      if (value !== "") parts.push(`${name} ${value}`);
    }
    this.summary.textContent = parts.length > 0 ? parts.join(" · ") : "All documents";
    this.element.classList.toggle("narrowed", parts.length > 0);
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
      const options = found[key].map((f) => h("option", { value: f.value }, `${f.value === "" ? "none" : f.value} (${f.documents})`));
      if (chosen !== "*" && !found[key].some((f) => f.value === chosen)) options.push(h("option", { value: chosen }, chosen));
      select.replaceChildren(h("option", { value: "*" }, "all"), ...options);
      select.value = chosen;
    }
  }
}
