// Schemas of the API's description in words, and calls of it as a shell has them.

import type { ApiDescription, ApiOperation, ApiSchema } from "./api";
import { h } from "./dom";

const DEPTH = 6;

/** A type in words. */
export function kind(s: ApiSchema | undefined): string {
  if (s === undefined) return "any";
  if (s.$ref) return s.$ref.replace("#/components/schemas/", "");
  if (s.const !== undefined) return `“${s.const}”`;
  if (s.enum) return s.enum.map((x) => (x === null ? "null" : `“${x}”`)).join(" or ");
  if (s.anyOf) return s.anyOf.map(kind).join(" or ");
  if (s.type === "array") return `list of ${kind(s.items)}`;
  const word = Array.isArray(s.type) ? s.type.join(" or ") : (s.type ?? "any");
  const least = s.minimum ?? s.minLength;
  const most = s.maximum ?? s.maxLength;
  const letters = s.minLength !== undefined || s.maxLength !== undefined ? " letters" : "";
  const bounds = least === undefined && most === undefined ? "" : `, ${least === undefined ? `at most ${most}` : most === undefined ? `at least ${least}` : `${least} to ${most}`}${letters}`;
  return `${word}${s.format ? ` (${s.format})` : ""}${bounds}`;
}

/** The schema that a type leads to, through lists and names. */
function target(doc: ApiDescription, s: ApiSchema | undefined): ApiSchema | undefined {
  if (s?.$ref) return target(doc, doc.components.schemas[s.$ref.replace("#/components/schemas/", "")]);
  if (s?.items) return target(doc, s.items);
  return s;
}

export function tree(doc: ApiDescription, schema: ApiSchema | undefined, seen: ApiSchema[] = []): HTMLElement[] {
  const s = target(doc, schema);
  if (s === undefined) return [];
  const parts = s.anyOf ? s.anyOf.map((x) => target(doc, x)) : [s];
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

/** For a shell: in quotes that nothing ends. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** The call as curl makes it; the key is the environment's. */
export function curl(verb: string, path: string, op: ApiOperation): string {
  const lines = [`curl${verb === "get" ? "" : ` -X ${verb.toUpperCase()}`}`];
  const query = op.parameters.filter((p) => p.in === "query" && p.required).map((p) => `${p.name}=…`).join("&");
  lines[0] += ` ${quoted(`${location.origin}${path}${query === "" ? "" : `?${query}`}`)}`;
  if ((op["x-roles"] ?? []).length > 0) lines.push('-H "Authorization: Bearer $CARREL_KEY"');
  const body = op.requestBody?.content ?? {};
  const json = body["application/json"];
  if (body["multipart/form-data"]) {
    for (const name of Object.keys(body["multipart/form-data"].schema?.properties ?? {})) {
      if (name === "file") lines.push("-F 'file=@handbook.pdf'");
      else if (body["multipart/form-data"].schema?.required?.includes(name)) lines.push(`-F ${quoted(`${name}=…`)}`);
    }
  } else if (json) {
    lines.push("-H 'Content-Type: application/json'", `-d ${quoted(JSON.stringify(json.example ?? {}))}`);
  }
  const types = Object.entries(op.responses).find(([status]) => status.startsWith("2"))?.[1].content ?? {};
  if (types["image/png"] || types["application/octet-stream"]) lines.push("-O");
  return lines.join(" \\\n  ");
}
