// What is known of a document: what it says of itself, where it lies, how it is labelled.

import { documentInfo, type Doc } from "./api";
import { h, size } from "./dom";

const languages = new Intl.DisplayNames(["en"], { type: "language", fallback: "code" });

/** "de": "German". */
export function languageName(code: string): string {
  try {
    return languages.of(code) ?? code;
  } catch {
    return code; // no code of a language
  }
}

/** "2024-05-31": "31 May 2024", as this reader writes it. */
export function dayName(day: string): string {
  const t = new Date(`${day}T00:00:00Z`);
  return Number.isNaN(t.getTime()) ? day : t.toLocaleDateString(undefined, { timeZone: "UTC", year: "numeric", month: "short", day: "numeric" });
}

/** The file's date stands for one that the document does not say: both are told apart in the list of facts. */
function rows(d: Doc): [string, string | undefined][] {
  return [
    ["Title", d.title],
    ["Author", d.author],
    ["Date", d.date && dayName(d.date)],
    ["Made", d.document_created && dayName(d.document_created)],
    ["Changed", d.document_modified && dayName(d.document_modified)],
    ["Language", d.language && languageName(d.language)],
    ["Pages", d.pages ? String(d.pages) : undefined],
    ["Keywords", d.keywords],
    ["Label", d.label],
    ["Tags", (d.tags ?? []).join(", ")],
    ["Readers", (d.readers ?? []).join(", ")],
    ["Collection", d.collection],
    ["Format", d.format],
    ["Size", d.size === undefined ? undefined : size(d.size)],
    ["File", d.path],
    ["SHA-256", d.hash],
  ];
}

export function facts(d: Doc): HTMLElement {
  const list = h("dl", { class: "facts" });
  for (const [name, value] of rows(d)) {
    if (value) list.append(h("div", {}, h("dt", {}, name), h("dd", { class: name === "SHA-256" ? "hash" : "" }, value)));
  }
  return list;
}

/** A fold that asks for the facts when it is opened. */
export function about(id: () => string): HTMLDetailsElement {
  const body = h("div", { role: "status" });
  const fold = h("details", { class: "about" }, h("summary", {}, "About this document"), body);
  fold.addEventListener("toggle", () => {
    if (!fold.open) return;
    const asked = id();
    body.textContent = "Looking it up…";
    documentInfo(asked).then(
      (d) => asked === id() && body.replaceChildren(facts(d)),
      (e: Error) => asked === id() && (body.textContent = `It cannot be told now: ${e.message}`),
    );
  });
  return fold;
}
