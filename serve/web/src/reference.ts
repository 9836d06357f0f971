// The API's own description (/openapi.json), to be read.

import { apiDescription, type ApiDescription, type ApiOperation, type ApiSchema } from "./api";
import { h } from "./dom";

const DEPTH = 6;

export class ReferenceView {
  readonly element = h("section", { class: "reference", "aria-label": "API" });
  private readonly list = h("div");
  private readonly said = h("p", { class: "hint", role: "status" });
  private readonly search = h("input", { type: "search", "aria-label": "Find an address", placeholder: "Find an address", maxlength: "100" });
  private doc: ApiDescription | null = null;

  constructor() {
    this.search.addEventListener("input", () => this.paint());
    this.element.append(
      h("h1", {}, "API"),
      h(
        "p",
        { class: "lead" },
        "Every address of this appliance, as ",
        h("a", { href: "/openapi.json" }, "/openapi.json"),
        " has it (OpenAPI 3.1). Calls need a key: ",
        h("code", {}, "Authorization: Bearer carrel_…"),
      ),
      h("div", { class: "tools" }, this.said, this.search),
      this.list,
    );
  }

  async show(): Promise<void> {
    if (this.doc !== null) return;
    try {
      this.doc = await apiDescription();
      this.paint();
    } catch (e) {
      this.said.textContent = (e as Error).message;
    }
  }

  private paint(): void {
    const doc = this.doc;
    if (doc === null) return;
    const words = this.search.value.toLowerCase().split(/\s+/).filter((w) => w !== "");
    const groups = new Map<string, HTMLElement[]>();
    let n = 0;
    for (const [path, item] of Object.entries(doc.paths)) {
      for (const [verb, op] of Object.entries(item)) {
        const text = `${verb} ${path} ${op.summary ?? ""} ${op.tags[0] ?? ""}`.toLowerCase();
        if (!words.every((w) => text.includes(w))) continue;
        n++;
        const tag = op.tags[0] ?? "Other";
        groups.set(tag, [...(groups.get(tag) ?? []), this.row(doc, verb, path, op)]);
      }
    }
    this.said.textContent = n === 1 ? "1 address" : `${n} addresses`;
    this.list.replaceChildren(
      ...[...groups].map(([tag, rows]) => {
        const about = doc.tags.find((t) => t.name === tag)?.description;
        return h("section", { class: "panel" }, h("h2", {}, tag), about ? h("p", { class: "hint" }, about) : null, ...rows);
      }),
    );
  }

  private row(doc: ApiDescription, verb: string, path: string, op: ApiOperation): HTMLElement {
    const body = h("div", { class: "op-body" });
    const row = h("details", { class: "op" }, h("summary", {}, h("span", { class: `verb ${verb}` }, verb.toUpperCase()), h("code", {}, path), h("span", { class: "op-what" }, op.summary ?? "")), body);
    row.addEventListener("toggle", () => {
      if (row.open && body.children.length === 0) body.append(...this.details(doc, op));
    });
    return row;
  }

  private details(doc: ApiDescription, op: ApiOperation): HTMLElement[] {
    const out: HTMLElement[] = [];
    if (op.description) out.push(h("p", {}, op.description));
    const roles = op["x-roles"] ?? [];
    const scopes = op["x-scopes"] ?? [];
    out.push(h("p", { class: "hint" }, roles.length === 0 ? "For anybody." : `For: ${roles.join(", ")}.`, scopes.length > 0 ? ` A key needs the scope ${scopes.join(" or ")}.` : "", op["x-csrf"] ? ` ${op["x-csrf"]}.` : ""));
    if (op.parameters.length > 0) {
      out.push(h("h3", {}, "Parameters"));
      out.push(h("ul", { class: "fields" }, ...op.parameters.map((p) => h("li", {}, h("code", {}, p.name), ` ${p.in}, ${kind(p.schema)}${p.required ? "" : ", may be left out"}`, p.schema.description ? `: ${p.schema.description}` : ""))));
    }
    for (const [type, c] of Object.entries(op.requestBody?.content ?? {})) out.push(h("h3", {}, `Body: ${type}`), ...tree(doc, c.schema));
    for (const [status, r] of Object.entries(op.responses)) {
      const content = Object.entries(r.content ?? {});
      if (content.length === 0) out.push(h("h3", {}, `${status}: no body`));
      for (const [type, c] of content) out.push(h("h3", {}, `${status === "default" ? "Errors" : status}: ${type}`), ...tree(doc, c.schema));
    }
    return out;
  }
}

/** A type in words. */
function kind(s: ApiSchema | undefined): string {
  if (s === undefined) return "any";
  if (s.$ref) return s.$ref.replace("#/components/schemas/", "");
  if (s.const !== undefined) return `“${s.const}”`;
  if (s.enum) return s.enum.map((x) => (x === null ? "null" : `“${x}”`)).join(" or ");
  if (s.anyOf) return s.anyOf.map(kind).join(" or ");
  if (s.type === "array") return `list of ${kind(s.items)}`;
  if (Array.isArray(s.type)) return s.type.join(" or ");
  return s.type ?? "any";
}

/** The schema that a type leads to, through lists and names. */
function target(doc: ApiDescription, s: ApiSchema | undefined): ApiSchema | undefined {
  if (s?.$ref) return target(doc, doc.components.schemas[s.$ref.replace("#/components/schemas/", "")]);
  if (s?.items) return target(doc, s.items);
  return s;
}

function tree(doc: ApiDescription, schema: ApiSchema | undefined, seen: ApiSchema[] = []): HTMLElement[] {
  const s = target(doc, schema);
  if (s === undefined) return [];
  const parts = s.allOf ? s.allOf.map((x) => target(doc, x)) : [s];
  const rows: HTMLElement[] = [];
  for (const p of parts) {
    for (const [name, field] of Object.entries(p?.properties ?? {})) {
      const inner = target(doc, field);
      const deeper = inner !== undefined && !seen.includes(inner) && seen.length < DEPTH ? tree(doc, field, [...seen, s]) : [];
      const optional = p?.required?.includes(name) ? "" : ", may be left out";
      const line = [h("code", {}, name), ` ${kind(field)}${optional}`, field.description ? `: ${field.description}` : ""];
      rows.push(deeper.length > 0 ? h("li", {}, h("details", {}, h("summary", {}, ...line), ...deeper)) : h("li", {}, ...line));
    }
  }
  return rows.length > 0 ? [h("ul", { class: "fields" }, ...rows)] : seen.length === 0 && schema ? [h("p", { class: "hint" }, kind(schema))] : [];
}
