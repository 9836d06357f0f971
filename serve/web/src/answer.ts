// An answer's text as nodes: a small safe part of Markdown, and [n] marks that open their passage.

import { h } from "./dom";
import type { Citation } from "./api";

export type OpenCitation = (citation: Citation, from: HTMLElement) => void;

const INLINE = /\*\*([^*\n]+)\*\*|\*([^*\s][^*\n]*)\*|`([^`\n]+)`|\[(\d{1,3}(?:\s*,\s*\d{1,3})*)\]/g;

function inline(text: string, citations: Citation[], open: OpenCitation): (Node | string)[] {
  const out: (Node | string)[] = [];
  let last = 0;
  for (const m of text.matchAll(INLINE)) {
    out.push(text.slice(last, m.index));
    last = m.index + m[0].length;
    if (m[1] !== undefined) out.push(h("strong", {}, m[1]));
    else if (m[2] !== undefined) out.push(h("em", {}, m[2]));
    else if (m[3] !== undefined) out.push(h("code", {}, m[3]));
    else out.push(...marks(m[4] ?? "", citations, open, m[0]));
  }
  out.push(text.slice(last));
  return out.filter((x) => x !== "");
}

function marks(numbers: string, citations: Citation[], open: OpenCitation, raw: string): (Node | string)[] {
  const found = numbers
    .split(",")
    .map((n) => citations.find((c) => c.number === Number(n)))
    .filter((c): c is Citation => c !== undefined);
  if (found.length === 0) return [raw];
  return found.map((c) => {
    const where = `${c.document.title || c.document.path}${c.unit ? `, ${c.unit}` : c.page ? `, page ${c.page}` : ""}`;
    const button: HTMLButtonElement = h(
      "button",
      {
        class: "mark",
        type: "button",
        title: where,
        "aria-label": `Citation ${c.number}: ${where}`,
        "data-number": c.number,
        onclick: () => open(c, button),
      },
      String(c.number),
    );
    return button;
  });
}

/** Renders the whole text anew; called again as the answer grows. */
export function renderAnswer(into: HTMLElement, text: string, citations: Citation[], open: OpenCitation): void {
  const nodes: Node[] = [];
  for (const part of text.split(/\n{2,}/)) {
    const lines = part.split("\n").filter((l) => l.trim() !== "");
    if (lines.length === 0) continue;
    if (lines.every((l) => /^\s*([-*•]|\d+[.)])\s+/.test(l))) {
      const list = h(/^\s*\d/.test(lines[0] ?? "") ? "ol" : "ul");
      for (const l of lines) list.append(h("li", {}, ...inline(l.replace(/^\s*([-*•]|\d+[.)])\s+/, ""), citations, open)));
      nodes.push(list);
      continue;
    }
    const heading = /^#{1,4}\s+(.*)$/.exec(lines[0] ?? "");
    if (heading && lines.length === 1) {
      nodes.push(h("h3", {}, ...inline(heading[1] ?? "", citations, open)));
      continue;
    }
    const p = h("p");
    lines.forEach((l, i) => {
      if (i > 0) p.append(h("br"));
      p.append(...inline(l, citations, open));
    });
    nodes.push(p);
  }
  into.replaceChildren(...nodes);
}
