// The key is taken once; afterwards an HttpOnly session cookie stands for it.

import { signIn, type Session } from "./api";
import { h } from "./dom";

export function signInView(done: (s: Session) => void): HTMLElement {
  const key = h("input", { type: "password", id: "key", name: "key", autocomplete: "current-password", required: true, spellcheck: "false" });
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const button = h("button", { class: "primary", type: "submit" }, "Open");
  const form = h(
    "form",
    { class: "signin" },
    h("h1", {}, "Carrel"),
    h("p", {}, "Your documents, answered where they are."),
    h("label", { for: "key" }, "Key"),
    key,
    problem,
    button,
    h("p", { class: "hint" }, "It was shown when the appliance was first started, and lies in the file admin.key of its data directory."),
  );
  form.addEventListener("submit", (e) => {
    e.preventDefault();
    button.disabled = true;
    problem.hidden = true;
    signIn(key.value.trim())
      .then(done)
      .catch((err: Error) => {
        problem.textContent = err.message;
        problem.hidden = false;
        key.select();
      })
      .finally(() => (button.disabled = false));
  });
  queueMicrotask(() => key.focus());
  return h("main", { id: "main", class: "center" }, form);
}
