// A small plot of figures between 0 and 1 over the runs: lines, whiskers for the intervals, a form and a colour for each
// line. One tab stop; the arrow keys go from point to point. The table on the same page has the same numbers.

import { h, s } from "./dom";

export interface Point {
  at: number; // place on the axis, 0 to places - 1
  mean: number;
  low: number;
  high: number;
  said: string; // the point in words
}
export interface Line {
  name: string;
  look: number; // 0 to LOOKS - 1; -1: one of the earlier ones
  points: Point[]; // ascending
}

export const LOOKS = 5;
const W = 440;
const H = 190;
const LEFT = 34;
const RIGHT = 12;
const TOP = 10;
const BOTTOM = 24;

/** The form of a line's points: not by colour alone. */
export function mark(look: number, x: number, y: number, r = 4): SVGElement {
  const cls = `mk look${look}`;
  const poly = (...p: [number, number][]) => s("polygon", { class: cls, points: p.map(([a, b]) => `${x + a * r},${y + b * r}`).join(" ") });
  switch (look) {
    case 1:
      return poly([-1, -1], [1, -1], [1, 1], [-1, 1]);
    case 2:
      return poly([0, -1.35], [1.35, 0], [0, 1.35], [-1.35, 0]);
    case 3:
      return poly([0, -1.25], [1.2, 0.95], [-1.2, 0.95]);
    case 4:
      return poly([0, 1.25], [1.2, -0.95], [-1.2, -0.95]);
    default:
      return s("circle", { class: cls, cx: x, cy: y, r: look < 0 ? r * 0.75 : r });
  }
}

function scale(lines: Line[]): [number, number] {
  const all = lines.flatMap((l) => l.points);
  const low = Math.min(1, ...all.map((p) => p.low));
  const high = Math.max(0, ...all.map((p) => p.high));
  const to = Math.min(1, Math.ceil(high * 10 + 0.2) / 10);
  const from = Math.max(0, Math.min(Math.floor(low * 10 - 0.2) / 10, to - 0.2)); // small differences stay small
  return [from, Math.max(to, from + 0.2)];
}

/** ticks: what stands below which place. */
export function plot(title: string, lines: Line[], places: number, ticks: { at: number; text: string }[]): HTMLElement {
  const [from, to] = scale(lines);
  const x = (at: number) => (places < 2 ? (LEFT + W - RIGHT) / 2 : LEFT + 8 + (at * (W - LEFT - RIGHT - 16)) / (places - 1));
  const y = (v: number) => TOP + ((to - v) * (H - TOP - BOTTOM)) / (to - from);
  const svg = s("svg", { viewBox: `0 0 ${W} ${H}`, role: "group", "aria-label": `${title}: ${lines.map((l) => l.name).join("; ")}. Arrow keys go from point to point.` });
  const step = to - from > 0.55 ? 0.2 : 0.1;
  for (let v = to; v >= from - 1e-9; v -= step) {
    svg.append(
      s("line", { class: "grid", x1: LEFT, x2: W - RIGHT, y1: y(v), y2: y(v) }),
      s("text", { class: "tick", x: LEFT - 6, y: y(v) + 4, "text-anchor": "end", "aria-hidden": "true" }, v.toFixed(1)),
    );
  }
  for (const t of ticks) {
    const anchor = places < 2 ? "middle" : t.at === 0 ? "start" : t.at === places - 1 ? "end" : "middle";
    const px = anchor === "start" ? x(t.at) - 8 : anchor === "end" ? x(t.at) + 8 : x(t.at);
    svg.append(s("text", { class: "tick", x: px, y: H - 6, "text-anchor": anchor, "aria-hidden": "true" }, t.text));
  }
  const bubble = h("div", { class: "bubble", "aria-hidden": "true", hidden: true });
  const groups: SVGGElement[][] = [];
  const show = (p: Point) => {
    bubble.textContent = p.said;
    bubble.hidden = false;
    const left = x(p.at) / W;
    bubble.style.left = left < 0.5 ? `${left * 100}%` : "auto";
    bubble.style.right = left < 0.5 ? "auto" : `${(1 - left) * 100}%`;
    bubble.style.top = `${(y(p.mean) / H) * 100}%`;
  };
  const hide = () => (bubble.hidden = true);
  for (const line of [...lines].sort((a, b) => Number(a.look >= 0) - Number(b.look >= 0))) {
    const d = line.points.map((p, i) => `${i === 0 ? "M" : "L"}${x(p.at).toFixed(1)} ${y(p.mean).toFixed(1)}`).join("");
    svg.append(s("path", { class: `ln look${line.look}`, d }));
  }
  for (const line of lines) {
    const own = line.points.map((p) => {
      const g = s(
        "g",
        { class: "pt", role: "img", tabindex: "-1", "aria-label": p.said },
        s("line", { class: `whisker look${line.look}`, x1: x(p.at), x2: x(p.at), y1: y(p.low), y2: y(p.high) }),
        s("circle", { class: "reach", cx: x(p.at), cy: y(p.mean), r: 11 }),
        mark(line.look, x(p.at), y(p.mean)),
      );
      g.addEventListener("focus", () => show(p));
      g.addEventListener("blur", hide);
      g.addEventListener("pointerenter", () => show(p));
      g.addEventListener("pointerleave", () => (document.activeElement === g ? undefined : hide()));
      svg.append(g);
      return g;
    });
    groups.push(own);
  }
  walkable(svg, groups);
  return h("figure", { class: "plot" }, h("figcaption", {}, title), h("div", { class: "canvas" }, svg, bubble));
}

/** The newest point is the tab stop; left and right along a line, up and down to another. */
function walkable(svg: SVGSVGElement, groups: SVGGElement[][]): void {
  const rows = groups.filter((g) => g.length > 0);
  if (rows.length === 0) return;
  let row = 0;
  let col = rows[0]!.length - 1;
  rows[0]![col]!.setAttribute("tabindex", "0");
  rows.forEach((g, r) =>
    g.forEach((p, c) =>
      p.addEventListener("focus", () => {
        rows[row]![col]!.setAttribute("tabindex", "-1");
        [row, col] = [r, c];
        p.setAttribute("tabindex", "0");
      }),
    ),
  );
  svg.addEventListener("keydown", (e) => {
    let r = row;
    let c = col;
    if (e.key === "ArrowLeft") c--;
    else if (e.key === "ArrowRight") c++;
    else if (e.key === "ArrowUp") r--;
    else if (e.key === "ArrowDown") r++;
    else if (e.key === "Home") c = 0;
    else if (e.key === "End") c = rows[r]!.length - 1;
    else return;
    e.preventDefault();
    r = Math.min(rows.length - 1, Math.max(0, r));
    c = Math.min(rows[r]!.length - 1, Math.max(0, c));
    rows[r]![c]!.focus();
  });
}
