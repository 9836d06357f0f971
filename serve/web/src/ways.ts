// Signing in with what people have already: a provider of OpenID Connect, a directory. Nothing is shown where neither
// is configured.

import { session, signInDirectory, waysIn, type Session, type Ways } from "./api";
import { h } from "./dom";

const reasons: Record<string, string> = {
  flow: "The sign-in took too long, or began in another window. Please begin again.",
  denied: "The sign-in was not completed there.",
  provider: "What the sign-in service said could not be believed. The administrator finds the reason in the log.",
  role: "You are known there, but none of your groups may use Carrel. Ask your administrator.",
  disabled: "This account is switched off. Ask your administrator.",
  unavailable: "The sign-in service cannot be asked at the moment. Please try again.",
};

/** Why the last sign-in failed, taken out of the address so that a reload does not say it again. */
function reason(): string {
  const url = new URL(location.href);
  const code = url.searchParams.get("signin");
  if (code === null) return "";
  url.searchParams.delete("signin");
  history.replaceState(null, "", url);
  return reasons[code] ?? "The sign-in failed.";
}

function provider(way: NonNullable<Ways["oidc"]>): HTMLElement[] {
  const here = location.pathname + location.hash;
  const go = h("a", { class: "primary", role: "button", href: `${way.start}?return=${encodeURIComponent(here)}` }, `Sign in with ${way.name}`);
  return way.sign_out === undefined ? [go] : [go, h("p", { class: "hint" }, h("a", { href: way.sign_out }, `Sign out of ${way.name} too`))];
}

function directory(way: NonNullable<Ways["ldap"]>, done: (s: Session) => void): HTMLElement {
  const user = h("input", { id: "directory-user", name: "username", autocomplete: "username", required: true, spellcheck: "false", autocapitalize: "none" });
  const password = h("input", { type: "password", id: "directory-password", name: "password", autocomplete: "current-password", required: true });
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const button = h("button", { class: "primary", type: "submit" }, `Sign in with ${way.name}`);
  const form = h("form", { class: "directory" }, h("label", { for: "directory-user" }, "Name"), user, h("label", { for: "directory-password" }, "Password"), password, problem, button);
  form.addEventListener("submit", (e) => {
    e.preventDefault();
    button.disabled = true;
    problem.hidden = true;
    signInDirectory(user.value.trim(), password.value)
      .then(session)
      .then(done)
      .catch((err: Error) => {
        problem.textContent = err.message;
        problem.hidden = false;
        password.select();
      })
      .finally(() => (button.disabled = false));
  });
  return form;
}

/** Fills itself when the server has said which ways there are. */
export function otherWays(done: (s: Session) => void): HTMLElement {
  const box = h("section", { class: "signin ways", "aria-label": "Sign in", hidden: true });
  const why = reason();
  const say = why === "" ? [] : [h("p", { class: "problem", role: "alert" }, why)];
  box.hidden = why === "";
  box.replaceChildren(...say);
  void waysIn()
    .catch((): Ways => ({}))
    .then((ways) => {
      const found = [...(ways.oidc ? provider(ways.oidc) : []), ...(ways.ldap ? [directory(ways.ldap, done)] : [])];
      if (found.length === 0) return;
      box.hidden = false;
      box.replaceChildren(h("h1", {}, "Carrel"), ...say, ...found);
      // Two forms that ask for a name and a password would be taken for each other: our own is folded up.
      const own = box.nextElementSibling;
      if (own === null) return;
      const folded = h("details", { class: "own" }, h("summary", {}, "Sign in with a name, or a key, of Carrel's own"));
      own.replaceWith(folded);
      folded.append(own);
      box.querySelector<HTMLElement>("a, input")?.focus();
    });
  return box;
}
