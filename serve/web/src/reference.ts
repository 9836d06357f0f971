// The API's own description (/openapi.json), to be read, searched, and tried in a shell.

import { apiDescription, type ApiDescription, type ApiOperation } from "./api";
import { h } from "./dom";
import { curl, kind, tree } from "./reference_types";

const ROLES = ["admin", "manager", "editor", "reader", "auditor", "service"];

export class ReferenceView {
  readonly element = h("section", { class: "reference", "aria-label": "API" });
  private readonly list = h("div");
  private readonly said = h("p", { class: "hint", role: "status" });
  private readonly search = h("input", { type: "search", "aria-label": "Find an address", placeholder: "Address, words, a field", maxlength: "100" });
  private readonly role = h("select", { "aria-label": "Who may call it" }, h("option", { value: "" }, "for anybody"), ...ROLES.map((r) => h("option", { value: r }, `for ${r === "admin" || r === "editor" || r === "auditor" ? "an" : "a"} ${r}`)));
  private readonly words = new Map<ApiOperation, string>();
  private doc: ApiDescription | null = null;

  constructor() {
    this.search.addEventListener("input", () => this.paint());
    this.role.addEventListener("change", () => this.paint());
    this.element.append(
      h("h1", {}, "API"),
      h(
        "p",
        { class: "lead" },
        "Every address of this appliance, as ",
        h("a", { href: "/openapi.json" }, "/openapi.json"),
        " has it (OpenAPI 3.1).",
      ),
      h(
        "details",
        { class: "panel auth" },
        h("summary", {}, "Who is asking"),
        h("p", {}, "Programs send a key with each call: ", h("code", {}, "Authorization: Bearer carrel_…"), ". A key has a role and scopes, and is held to collections and addresses where it says so; administrators and managers make keys under ", h("i", {}, "People"), "."),
        h("p", {}, "This page uses a session: a cookie, and for all that changes something the header ", h("code", {}, "X-CSRF-Token"), " with what ", h("code", {}, "GET /api/session"), " tells."),
        h("p", {}, "The examples take the key from the shell: ", h("code", {}, "export CARREL_KEY=carrel_…")),
      ),
      h("div", { class: "tools" }, this.said, this.role, this.search),
      this.list,
    );
  }

  async show(): Promise<void> {
    if (this.doc !== null) return;
    this.said.textContent = "Reading…";
    try {
      this.doc = await apiDescription();
      this.paint();
    } catch (e) {
      this.said.textContent = (e as Error).message;
    }
  }

  /** What an operation is found by: its words and the names of its fields. */
  private text(doc: ApiDescription, verb: string, path: string, op: ApiOperation): string {
    let text = this.words.get(op);
    if (text === undefined) {
      const seen = new Set<string>();
      const names: string[] = [];
      const look = (v: unknown): void => {
        if (v === null || typeof v !== "object") return;
        for (const [key, x] of Object.entries(v)) {
          if (key === "properties") names.push(...Object.keys(x as object));
          if (key === "$ref") {
            const name = (x as string).replace("#/components/schemas/", "");
            if (!seen.has(name)) {
              seen.add(name);
              look(doc.components.schemas[name]);
            }
          } else if (key !== "example") look(x);
        }
      };
      look([op.requestBody, Object.entries(op.responses).filter(([status]) => status.startsWith("2"))]);
      const roles = op["x-roles"] ?? [];
      text = [verb, path, op.summary, op.description, op.tags[0], ...op.parameters.map((p) => p.name), ...names, ...roles, ...(op["x-scopes"] ?? [])].join(" ").toLowerCase();
      this.words.set(op, text);
    }
    return text;
  }

  private paint(): void {
    const doc = this.doc;
    if (doc === null) return;
    const words = this.search.value.toLowerCase().split(/\s+/).filter((w) => w !== "");
    const role = this.role.value;
    const groups = new Map<string, HTMLDetailsElement[]>();
    let n = 0;
    for (const [path, item] of Object.entries(doc.paths)) {
      for (const [verb, op] of Object.entries(item)) {
        const roles = op["x-roles"] ?? [];
        if (role !== "" && roles.length > 0 && !roles.includes(role)) continue;
        const text = this.text(doc, verb, path, op);
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
    if (n === 0) this.list.replaceChildren(h("p", { class: "empty" }, "No address has all these words."));
    if (n === 1) this.list.querySelector<HTMLDetailsElement>("details.op")!.open = true;
  }

  private row(doc: ApiDescription, verb: string, path: string, op: ApiOperation): HTMLDetailsElement {
    const body = h("div", { class: "op-body" });
    const row = h("details", { class: "op" }, h("summary", {}, h("span", { class: `verb ${verb}` }, verb.toUpperCase()), h("code", {}, path), h("span", { class: "op-what" }, op.summary ?? "")), body);
    row.addEventListener("toggle", () => {
      if (row.open && body.children.length === 0) body.append(...this.details(doc, verb, path, op));
    });
    return row;
  }

  private details(doc: ApiDescription, verb: string, path: string, op: ApiOperation): HTMLElement[] {
    const out: HTMLElement[] = [];
    if (op.description) out.push(h("p", {}, op.description));
    const roles = op["x-roles"] ?? [];
    const scopes = op["x-scopes"] ?? [];
    out.push(
      h(
        "dl",
        { class: "who" },
        h("dt", {}, "Who"),
        h("dd", {}, roles.length === 0 ? "anybody, without a key" : roles.length === ROLES.length ? "everybody who has signed in" : roles.join(", ")),
        ...(op["x-person"] ? [h("dt", {}, "How"), h("dd", {}, "people who signed in; no key may")] : scopes.length > 0 ? [h("dt", {}, "A key's scope"), h("dd", {}, ...scopes.flatMap((x, i) => [i > 0 ? " or " : "", h("code", {}, x)]))] : []),
        ...(op["x-csrf"] ? [h("dt", {}, "With a session"), h("dd", {}, h("code", {}, "X-CSRF-Token"))] : []),
      ),
    );
    out.push(...this.example(curl(verb, path, op)));
    if (op.parameters.length > 0) {
      out.push(h("h3", {}, "Parameters"));
      out.push(h("ul", { class: "fields" }, ...op.parameters.map((p) => h("li", {}, h("code", {}, p.name), ` ${p.in}, ${kind(p.schema)}${p.required ? "" : ", may be left out"}`, p.schema.description ? `: ${p.schema.description}` : ""))));
    }
    for (const [type, c] of Object.entries(op.requestBody?.content ?? {})) out.push(h("h3", {}, `Body: ${type}`), ...tree(doc, c.schema));
    const errors: HTMLElement[] = [];
    for (const [status, r] of Object.entries(op.responses)) {
      if (!/^[23]/.test(status)) {
        if (status !== "default") errors.push(h("li", {}, h("code", {}, status), ` ${r.description ?? ""} `, ...(r["x-codes"] ?? []).flatMap((c) => [h("code", { class: "code" }, c), " "])));
        continue;
      }
      const content = Object.entries(r.content ?? {});
      if (content.length === 0) out.push(h("h3", {}, `${status}: no body`));
      for (const [type, c] of content) {
        out.push(h("h3", {}, `${status}: ${type}`), ...tree(doc, c.schema));
        if (c.example !== undefined) out.push(h("details", { class: "sample" }, h("summary", {}, "An example"), h("pre", { tabindex: "0" }, JSON.stringify(c.example, null, 2))));
      }
    }
    const shape = Object.entries(op.responses.default?.content ?? {})[0]?.[1].schema;
    out.push(h("details", { class: "sample" }, h("summary", {}, "What may go wrong"), h("ul", { class: "fields" }, ...errors), h("p", { class: "hint" }, `Each comes as ${kind(shape)}:`), ...tree(doc, shape)));
    return out;
  }

  private example(text: string): HTMLElement[] {
    const copy = h("button", { type: "button", class: "quiet", "aria-label": "Copy the example" }, "Copy");
    copy.addEventListener("click", () => {
      void navigator.clipboard?.writeText(text).then(
        () => (copy.textContent = "Copied"),
        () => (copy.textContent = "Not copied"),
      );
    });
    return [h("h3", {}, "In a shell"), h("div", { class: "shell" }, h("pre", { tabindex: "0", "aria-label": "Example in a shell" }, text), navigator.clipboard ? copy : null)];
  }
}
