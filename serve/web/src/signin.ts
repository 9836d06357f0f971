// Signing in: a name and a password, with a code where there is a second factor; or a key. Each is taken once;
// afterwards an HttpOnly session cookie stands for it.

import { ApiError, changePassword, signIn, type Session } from "./api";
import { h } from "./dom";
import { otherWays } from "./ways";

const WAY = "carrel-signin";

function remembered(): "key" | "password" {
  try {
    return localStorage.getItem(WAY) === "key" ? "key" : "password";
  } catch {
    return "password"; // a browser that keeps nothing
  }
}

function remember(way: string): void {
  try {
    localStorage.setItem(WAY, way);
  } catch {
    // it is asked again then
  }
}

function field(id: string, label: string, props: Record<string, unknown>): [HTMLElement, HTMLInputElement] {
  const input = h("input", { id, name: id, spellcheck: "false", autocapitalize: "none", ...props });
  return [h("div", { class: "field" }, h("label", { for: id }, label), input), input];
}

/** why: what is told above the form, where somebody did not come of himself. */
export function signInView(done: (s: Session) => void, why = ""): HTMLElement {
  let way = remembered();
  const [keyField, key] = field("key", "Key", { type: "password", autocomplete: "off" });
  const [nameField, name] = field("name", "Name", { type: "text", autocomplete: "username", maxlength: 63 });
  const [passwordField, password] = field("password", "Password", { type: "password", autocomplete: "current-password", maxlength: 256 });
  const [codeField, code] = field("code", "Code of your authenticator, or a recovery code", { type: "text", autocomplete: "one-time-code", inputmode: "text", maxlength: 32 });
  const [tenantField, tenant] = field("tenant", "Tenant", { type: "text", autocomplete: "organization", placeholder: "main", maxlength: 64 });
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const button = h("button", { class: "primary", type: "submit" }, "Sign in");
  const other = h("button", { class: "linklike", type: "button" });
  const more = h("details", {}, h("summary", {}, "Another tenant"), tenantField);
  const where = h("p", { class: "hint" }, "The first key was shown when the appliance was first started, and lies in the file admin.key of its data directory.");
  const form = h("form", { class: "signin" }, h("h1", {}, "Carrel"), h("p", {}, "Your documents, answered where they are."), why !== "" && h("p", { class: "hint", role: "status" }, why), nameField, passwordField, codeField, keyField, problem, button, more, where, other);

  const show = () => {
    const byKey = way === "key";
    for (const [f, input, on] of [[keyField, key, byKey], [nameField, name, !byKey], [passwordField, password, !byKey]] as const) {
      f.hidden = !on;
      input.required = on;
    }
    codeField.hidden = true;
    code.required = false;
    code.value = "";
    more.hidden = byKey;
    where.hidden = !byKey;
    problem.hidden = true;
    other.textContent = byKey ? "Use a name and password instead" : "Use a key instead";
    queueMicrotask(() => (byKey ? key : name).focus());
  };
  other.addEventListener("click", () => {
    way = way === "key" ? "password" : "key";
    show();
  });
  form.addEventListener("submit", (e) => {
    e.preventDefault();
    button.disabled = true;
    problem.hidden = true;
    const given = way === "key" ? { key: key.value.trim() } : { name: name.value.trim(), password: password.value, ...(tenant.value.trim() && { tenant: tenant.value.trim() }), ...(!codeField.hidden && { code: code.value }) };
    signIn(given)
      .then((s) => {
        remember(way);
        const was = password.value;
        password.value = key.value = "";
        if (s.must_change_password) form.closest("main")!.replaceChildren(newPasswordForm(s, was, () => done({ ...s, must_change_password: false })));
        else done(s);
      })
      .catch((err: Error) => {
        const asked = err instanceof ApiError && err.code === "code_required";
        if (asked) {
          codeField.hidden = false;
          code.required = true;
          code.focus();
          return;
        }
        problem.textContent = err.message;
        problem.hidden = false;
        (way === "key" ? key : codeField.hidden ? password : code).select();
      })
      .finally(() => (button.disabled = false));
  });
  show();
  return h("main", { id: "main", class: "center" }, otherWays(done), form);
}

/** The password was given by somebody else: nothing works before there is one of one's own. */
function newPasswordForm(s: Session, old: string, done: () => void): HTMLElement {
  const [wantedField, wanted] = field("new-password", "New password", { type: "password", autocomplete: "new-password", required: true, minlength: 10, maxlength: 256 });
  const [againField, again] = field("again", "The same again", { type: "password", autocomplete: "new-password", required: true });
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const button = h("button", { class: "primary", type: "submit" }, "Keep it");
  const form = h("form", { class: "signin" }, h("h1", {}, "Welcome"), h("p", {}, `Choose a password of your own, ${s.user}: at least ten characters. A few words are a good one.`), wantedField, againField, problem, button);
  form.addEventListener("submit", (e) => {
    e.preventDefault();
    problem.hidden = true;
    if (wanted.value !== again.value) {
      problem.textContent = "The two are not the same.";
      problem.hidden = false;
      return;
    }
    button.disabled = true;
    changePassword(old, wanted.value)
      .then(done)
      .catch((err: Error) => {
        problem.textContent = err.message;
        problem.hidden = false;
        wanted.select();
      })
      .finally(() => (button.disabled = false));
  });
  queueMicrotask(() => wanted.focus());
  return form;
}
