import "@fontsource-variable/inter/wght.css";
import "@fontsource-variable/source-serif-4/wght.css";
import "./style.css";
import { AccountView } from "./account";
import { ApiError, budgetWarning, session, signOut, type Session } from "./api";
import { AskView } from "./ask";
import { AuditView } from "./audit";
import { DocumentsView } from "./documents";
import { PeopleView } from "./people";
import { ReferenceView } from "./reference";
import { SharedView } from "./shared";
import { QualityView } from "./quality";
import { h, icon } from "./dom";
import { signInView } from "./signin";
import { applyTheme, nextTheme, theme } from "./theme";
import { UsageView } from "./usage";
import { Viewer } from "./viewer";
import { WebhooksView } from "./webhooks";

const app = document.getElementById("app")!;

function signedOut(): void {
  app.replaceChildren(signInView(signedIn));
}

/** The server knows the session no more: it ran out, or was ended elsewhere. */
function lost(): void {
  document.querySelectorAll("dialog").forEach((d) => d.remove());
  app.replaceChildren(signInView(signedIn, "You were signed out: the session ran out, or was ended elsewhere."));
}

function signedIn(s: Session): void {
  const viewer = new Viewer();
  const docs = new DocumentsView(s, lost);
  const quality = s.admin && !s.must_change_password ? new QualityView(lost) : null;
  const people = ["admin", "manager"].includes(s.role) && s.scopes.includes("admin") && !s.must_change_password ? new PeopleView(s, lost) : null;
  const use = (s.admin || s.role === "auditor") && !s.must_change_password ? new UsageView(lost) : null;
  const audits = (s.admin || s.role === "auditor") && s.scopes.includes("audit") && !s.must_change_password ? new AuditView(lost) : null;
  const hooks = s.admin && s.scopes.includes("manage") && !s.must_change_password ? new WebhooksView(lost) : null;
  const account = new AccountView(s, lost);
  const shared = new SharedView(viewer, lost);
  const reference = new ReferenceView();
  const free = !s.must_change_password; // until then only the password is taken
  const works = free && s.role !== "auditor"; // who reads what was used and nothing else, whatever his session's scopes
  const asks = works && s.scopes.includes("ask");
  const reads = works && s.scopes.includes("read");
  const ask = asks ? new AskView(viewer, lost) : null;
  const main = h("main", { id: "main", tabindex: "-1" });
  const tab = (hash: string, text: string) => h("a", { href: hash, "data-tab": hash }, text);
  const tabs = [
    ...(asks ? [tab("#ask", "Ask")] : []),
    ...(reads ? [tab("#documents", "Documents")] : []),
    ...(quality ? [tab("#quality", "Quality")] : []),
    ...(use ? [tab("#usage", "Usage")] : []),
    ...(audits ? [tab("#audit", "Audit")] : []),
    ...(people ? [tab("#people", "People")] : []),
    ...(hooks ? [tab("#webhooks", "Webhooks")] : []),
    ...(s.person || !asks ? [tab("#account", "Account")] : []),
    ...(free ? [tab("#reference", "API")] : []),
  ];
  const themeButton = h("button", { class: "quiet", type: "button" }, icon("sun"));
  const nameTheme = () => {
    themeButton.setAttribute("aria-label", `Colours: ${theme()}. Press to change.`);
    themeButton.title = `Colours: ${theme()}`;
  };
  themeButton.addEventListener("click", () => {
    nextTheme();
    nameTheme();
  });
  nameTheme();
  const out = h("button", { class: "quiet", type: "button", "aria-label": "Sign out", title: `Sign out (${s.tenant})`, onclick: () => void signOut().catch(() => undefined).then(signedOut) }, icon("out"));

  const show = () => {
    const link = asks ? /^#shared\/([0-9a-f]+)$/.exec(location.hash)?.[1] : undefined;
    const wanted = link ? "" : (tabs.find((t) => t.dataset.tab === location.hash)?.dataset.tab ?? tabs[0]!.dataset.tab ?? "#account");
    for (const t of tabs) {
      if (t.dataset.tab === wanted) {
        t.setAttribute("aria-current", "page");
        t.scrollIntoView({ block: "nearest", inline: "nearest" });
      } else t.removeAttribute("aria-current");
    }
    docs.hide();
    quality?.hide();
    people?.hide();
    hooks?.hide();
    if (wanted === "#documents") {
      viewer.close();
      main.replaceChildren(docs.element);
      docs.show();
    } else if (wanted === "#quality" && quality !== null) {
      viewer.close();
      main.replaceChildren(quality.element);
      quality.show();
    } else if (wanted === "#usage" && use !== null) {
      viewer.close();
      main.replaceChildren(use.element);
      use.show();
    } else if (wanted === "#audit" && audits !== null) {
      viewer.close();
      main.replaceChildren(audits.element);
      audits.show();
    } else if (wanted === "#people" && people !== null) {
      viewer.close();
      main.replaceChildren(people.element);
      people.show();
    } else if (wanted === "#webhooks" && hooks !== null) {
      viewer.close();
      main.replaceChildren(hooks.element);
      hooks.show();
    } else if (wanted === "#account") {
      viewer.close();
      main.replaceChildren(account.element);
      account.show();
    } else if (wanted === "#reference") {
      viewer.close();
      main.replaceChildren(reference.element);
      void reference.show();
    } else if (link) {
      viewer.close();
      main.replaceChildren(shared.element);
      void shared.show(link);
    } else if (ask !== null) {
      main.replaceChildren(ask.element);
      ask.focus();
    } else {
      viewer.close();
      main.replaceChildren(h("section", { class: "documents" }, h("p", { class: "empty" }, "There is nothing here that you may do: sign in with another key or name.")));
    }
  };
  window.onhashchange = show;
  app.replaceChildren(
    h("header", { class: "top" }, h("a", { class: "wordmark", href: "#ask" }, "Carrel"), h("nav", { "aria-label": "Main" }, ...tabs), h("div", { class: "right" }, themeButton, out)),
    h("div", { class: "room" }, main, viewer.element),
  );
  show();
  void budgetWarning().then(
    (text) => text !== null && app.querySelector("header.top")?.after(h("p", { class: "warned", role: "status" }, `${text}.`)),
    () => undefined,
  );
}

applyTheme();
session()
  .then(signedIn)
  .catch((e: Error) => {
    if (e instanceof ApiError && e.status !== 401) {
      app.replaceChildren(h("main", { id: "main", class: "center" }, h("p", { class: "problem", role: "alert" }, e.message)));
      return;
    }
    signedOut();
  });
