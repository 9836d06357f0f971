// A document chosen by typing a part of its file's name: a combobox with a list (WAI-ARIA), asked of the appliance.

import { documentsNamed, type Doc } from "./api";
import { fileName, h } from "./dom";

const SHOWN_MAX = 12;
const WAIT_MS = 150; // after a key, before it is asked
const NAME_MAX = 200;
let pickers = 0;

export function documentPicker(onPick: (document: Doc) => void): HTMLElement {
  const id = `documents-${++pickers}`;
  const list = h("ul", { id, role: "listbox", "aria-label": "Documents", hidden: true });
  const said = h("p", { class: "hint", role: "status" });
  const input = h("input", {
    type: "text",
    role: "combobox",
    "aria-label": "Document",
    "aria-expanded": "false",
    "aria-controls": id,
    "aria-autocomplete": "list",
    autocomplete: "off",
    spellcheck: "false",
    maxlength: NAME_MAX,
    placeholder: "A part of the file’s name",
  });
  let found: Doc[] = [];
  let at = -1;
  let timer = 0;
  let asking: AbortController | null = null;

  const open = (on: boolean) => {
    list.hidden = !on;
    input.setAttribute("aria-expanded", String(on));
    if (!on) mark(-1);
  };
  const mark = (to: number) => {
    at = to;
    Array.from(list.children).forEach((o, i) => o.setAttribute("aria-selected", String(i === at)));
    if (at >= 0) {
      input.setAttribute("aria-activedescendant", `${id}-${at}`);
      list.children[at]!.scrollIntoView({ block: "nearest" });
    } else {
      input.removeAttribute("aria-activedescendant");
    }
  };
  const forget = () => {
    clearTimeout(timer);
    asking?.abort();
    asking = null;
  };
  const pick = (d: Doc) => {
    forget();
    input.value = d.path;
    said.textContent = "";
    open(false);
    onPick(d);
  };
  const option = (d: Doc, i: number) => {
    const folder = d.path.slice(0, d.path.length - fileName(d.path).length);
    return h(
      "li",
      { id: `${id}-${i}`, role: "option", "aria-selected": "false", onpointerdown: (e: Event) => e.preventDefault(), onclick: () => pick(d) },
      fileName(d.path),
      folder !== "" && h("span", { class: "folder" }, folder),
    );
  };
  const look = async () => {
    forget();
    const name = input.value.trim();
    const mine = new AbortController();
    asking = mine;
    try {
      found = await documentsNamed(name, SHOWN_MAX, mine.signal);
    } catch (e) {
      if (mine.signal.aborted) return;
      open(false);
      said.textContent = `The documents cannot be listed now: ${(e as Error).message}`;
      return;
    }
    if (mine.signal.aborted || document.activeElement !== input) return;
    list.replaceChildren(...found.map(option));
    open(found.length > 0);
    said.textContent = found.length === 0 ? "No document has this in its name." : found.length === SHOWN_MAX ? `The first ${SHOWN_MAX}: type more of the name.` : `${found.length} ${found.length === 1 ? "document" : "documents"}.`;
  };
  input.addEventListener("input", () => {
    forget();
    timer = window.setTimeout(() => void look(), WAIT_MS);
  });
  input.addEventListener("focus", () => {
    input.select();
    void look();
  });
  input.addEventListener("blur", () => {
    forget();
    open(false);
  });
  input.addEventListener("keydown", (e) => {
    const n = found.length;
    if (e.key === "ArrowDown" || e.key === "ArrowUp") {
      e.preventDefault();
      if (list.hidden) return void look();
      if (n > 0) mark(e.key === "ArrowDown" ? (at + 1) % n : at <= 0 ? n - 1 : at - 1);
    } else if (e.key === "Enter" && !list.hidden) {
      e.preventDefault();
      const chosen = found[at] ?? (n === 1 ? found[0] : undefined);
      if (chosen !== undefined) pick(chosen);
    } else if (e.key === "Escape" && !list.hidden) {
      e.preventDefault();
      e.stopPropagation();
      open(false);
    }
  });
  return h("div", { class: "picker" }, input, list, said);
}
