// One's own account: the password, and the second factor with its recovery codes.

import { ApiError, beginTotp, changePassword, confirmTotp, removeTotp, session, type Session } from "./api";
import { h } from "./dom";

function labelled(id: string, label: string, props: Record<string, unknown>): [HTMLElement, HTMLInputElement] {
  const input = h("input", { id, spellcheck: "false", ...props });
  return [h("div", { class: "field" }, h("label", { for: id }, label), input), input];
}

export class AccountView {
  readonly element: HTMLElement;
  private readonly problem = h("p", { class: "problem", role: "alert", hidden: true });
  private readonly said = h("p", { class: "summary", role: "status" });
  private readonly factor = h("section", { class: "panel", "aria-labelledby": "a-factor" });

  constructor(
    private me: Session,
    private readonly onSignedOut: () => void,
  ) {
    const about = [me.role, `tenant ${me.tenant}`, ...(me.must_change_password ? ["choose a password of your own, then sign in again"] : [])];
    this.element = h("section", { class: "quality people", "aria-label": "Account" }, h("h1", {}, me.user), h("p", { class: "lead" }, about.join(", ")), this.problem, this.said);
    if (me.has_password) this.element.append(this.passwordPanel(), this.factor);
    else this.element.append(h("p", {}, me.person ? "You sign in by another system: password and second factor are kept there." : "This is a key: it has neither a password nor a second factor."));
  }

  show(): void {
    this.said.textContent = "";
    this.problem.hidden = true;
    if (this.me.has_password) this.factorPanel();
  }

  private async run(act: () => Promise<void>): Promise<void> {
    this.problem.hidden = true;
    this.said.textContent = "";
    try {
      await act();
    } catch (e) {
      if (e instanceof ApiError && e.status === 401) return this.onSignedOut();
      this.problem.textContent = (e as Error).message;
      this.problem.hidden = false;
    }
  }

  private passwordPanel(): HTMLElement {
    const [oldField, old] = labelled("a-old", "Password now", { type: "password", autocomplete: "current-password", required: true });
    const [wantedField, wanted] = labelled("a-new", "New password", { type: "password", autocomplete: "new-password", required: true, minlength: 10 });
    const form = h("form", { class: "fields" }, oldField, wantedField, h("button", { class: "act", type: "submit" }, "Change it"));
    form.addEventListener("submit", (e) => {
      e.preventDefault();
      void this.run(async () => {
        await changePassword(old.value, wanted.value);
        old.value = wanted.value = "";
        this.said.textContent = "Your password is changed. Wherever else you were signed in, you are no longer.";
      });
    });
    return h("section", { class: "panel", "aria-labelledby": "a-password" }, h("h2", { id: "a-password" }, "Password"), h("p", { class: "hint" }, "At least ten characters; a few words are a good one."), form);
  }

  private factorPanel(): void {
    const head = h("h2", { id: "a-factor" }, "Second factor");
    if (!this.me.second_factor) {
      const start = h("button", { class: "act", type: "button", onclick: () => void this.run(() => this.enrol()) }, "Set it up");
      this.factor.replaceChildren(head, h("p", { class: "hint" }, "An authenticator on your phone shows a new code every half minute; signing in asks for it."), start);
      return;
    }
    const [codeField, code] = labelled("a-code", "A code, to take it off", { type: "text", autocomplete: "one-time-code", required: true, maxlength: 32 });
    const form = h("form", { class: "fields" }, codeField, h("button", { class: "act plain", type: "submit" }, "Take it off"));
    form.addEventListener("submit", (e) => {
      e.preventDefault();
      void this.run(async () => {
        await removeTotp(code.value);
        this.me = await session();
        this.factorPanel();
        this.said.textContent = "Signing in asks for no code any more.";
      });
    });
    this.factor.replaceChildren(head, h("p", { class: "hint" }, "Signing in asks for a code of your authenticator."), form);
  }

  private async enrol(): Promise<void> {
    const begun = await beginTotp();
    const drawn = new DOMParser().parseFromString(begun.qr_svg, "image/svg+xml").documentElement;
    drawn.setAttribute("class", "qr");
    drawn.setAttribute("role", "img");
    drawn.setAttribute("aria-label", "QR code for an authenticator; the same as text stands beside it");
    const [codeField, code] = labelled("a-first", "The code that it shows now", { type: "text", inputmode: "numeric", autocomplete: "one-time-code", required: true, maxlength: 7 });
    const form = h("form", { class: "fields" }, codeField, h("button", { class: "act", type: "submit" }, "Confirm"));
    form.addEventListener("submit", (e) => {
      e.preventDefault();
      void this.run(async () => {
        const codes = await confirmTotp(code.value.replace(/\s/g, ""));
        this.me = await session();
        this.factorPanel();
        this.factor.prepend(
          h("div", { class: "once", role: "status" }, h("h3", {}, "Recovery codes"), h("p", {}, "Keep them where you keep keys: each signs you in once when the authenticator is lost. They are shown only now."), h("ul", { class: "codes" }, ...codes.map((c) => h("li", {}, h("code", {}, c))))),
        );
      });
    });
    this.factor.replaceChildren(
      h("h2", { id: "a-factor" }, "Second factor"),
      h("div", { class: "enrol" }, drawn, h("div", {}, h("p", {}, "Point an authenticator at the picture, or type this into it:"), h("p", {}, h("code", { class: "secret" }, begun.secret.replace(/(.{4})/g, "$1 ").trim())), form)),
    );
    code.focus();
  }
}
