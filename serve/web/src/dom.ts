// Building DOM nodes. Text is always text: nothing on this page goes through innerHTML.

type Child = Node | string | null | undefined | false;
type Props = Record<string, unknown>;

/** h("button", {class: "x", onclick: f, "aria-label": "…"}, "text", node) */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  props: Props = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const el = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on") && typeof value === "function") {
      el.addEventListener(key.slice(2), value as EventListener);
    } else if (value === true) {
      el.setAttribute(key, "");
    } else {
      el.setAttribute(key, String(value));
    }
  }
  el.append(...children.filter((c): c is Node | string => c !== null && c !== undefined && c !== false));
  return el;
}

const SVG = "http://www.w3.org/2000/svg";
const paths: Record<string, string> = {
  send: "M4 12h14M12 5l7 7-7 7",
  stop: "M7 7h10v10H7z",
  sun: "M12 4V2M12 22v-2M4 12H2M22 12h-2M6.300 6.300 4.900 4.900M19.100 19.100l-1.400-1.400M6.300 17.700l-1.400 1.400M19.100 4.900l-1.400 1.400M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8z",
  close: "M6 6l12 12M18 6 6 18",
  file: "M7 3h7l5 5v13H7zM14 3v5h5",
  trash: "M5 7h14M9 7V4h6v3M7 7l1 13h8l1-13",
  upload: "M12 16V4M7 9l5-5 5 5M4 20h16",
  left: "M15 5l-7 7 7 7",
  right: "M9 5l7 7-7 7",
  out: "M14 4h5v16h-5M10 8l-4 4 4 4M6 12h9",
  plus: "M12 5v14M5 12h14",
  up: "M7 11l4-8c1.700 0 2.500 1 2.500 2.500V9H19l-1.500 10H7zM3 11h4v8H3z",
  down: "M7 13l4 8c1.700 0 2.500-1 2.500-2.500V15H19L17.500 5H7zM3 13h4V5H3z",
  info: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM12 11v5M12 8v.010",
  play: "M8 5l11 7-11 7z",
  list: "M4 6h16M4 12h16M4 18h10",
  dots: "M5 12h.010M12 12h.010M19 12h.010",
  download: "M12 4v12M7 11l5 5 5-5M4 20h16",
};

/** s("circle", {cx: 3}, …): the same for SVG. */
export function s<K extends keyof SVGElementTagNameMap>(tag: K, props: Props = {}, ...children: Child[]): SVGElementTagNameMap[K] {
  const el = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(props)) {
    if (value !== undefined && value !== null && value !== false) el.setAttribute(key, String(value));
  }
  el.append(...children.filter((c): c is Node | string => c !== null && c !== undefined && c !== false));
  return el;
}

export function icon(name: keyof typeof paths): SVGSVGElement {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", paths[name] ?? "");
  svg.append(path);
  return svg;
}

export function clear(el: Element): void {
  el.replaceChildren();
}

export function fileName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

/** Where in its document a passage stands; a heading that the title or the unit says already is not said again. */
export function place(c: { unit?: string; heading_path?: string; document: { title?: string } }, page: string): string {
  const heading = c.heading_path ?? "";
  const said = heading === c.document.title || (c.unit !== undefined && c.unit.endsWith(heading));
  return [c.unit ?? page, said ? "" : heading].filter((x) => x !== "").join(" · ");
}

export function size(bytes: number): string {
  const units = ["B", "KB", "MB", "GB"];
  let n = bytes;
  let i = 0;
  while (n >= 1000 && i < units.length - 1) {
    n /= 1000;
    i++;
  }
  return `${i === 0 ? n : n.toFixed(n < 10 ? 1 : 0)} ${units[i]}`;
}
