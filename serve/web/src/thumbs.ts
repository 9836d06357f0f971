// Thumbs up and down, for an answer or one of its passages. Pressing the same one again takes it back.

import { feedback, type Verdict } from "./api";
import { h, icon } from "./dom";

/** before: what was said of it already. */
export function thumbs(answer: string, of: string, passage?: number, before: Verdict = "none"): HTMLElement {
  const problem = h("span", { role: "status" });
  let said: Verdict = before;
  const button = (verdict: "up" | "down", label: string): HTMLButtonElement =>
    h("button", { class: "quiet", type: "button", "aria-pressed": String(said === verdict), "aria-label": `${label}: ${of}`, title: label, onclick: () => void say(verdict) }, icon(verdict));
  const up = button("up", "Helpful");
  const down = button("down", "Not helpful");
  const say = async (verdict: "up" | "down"): Promise<void> => {
    const wanted: Verdict = said === verdict ? "none" : verdict;
    problem.textContent = "";
    up.disabled = down.disabled = true;
    try {
      await feedback(answer, wanted, passage);
      said = wanted;
      up.setAttribute("aria-pressed", String(said === "up"));
      down.setAttribute("aria-pressed", String(said === "down"));
    } catch (e) {
      problem.textContent = `Not kept: ${(e as Error).message}`;
    } finally {
      up.disabled = down.disabled = false;
    }
  };
  return h("span", { class: "thumbs" }, up, down, problem);
}
