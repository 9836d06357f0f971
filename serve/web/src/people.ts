// Users and keys, for administrators and for managers, who see their team.

import { addKey, addUser, changeUser, keys, removeKey, removeUser, resetPassword, resetTotp, users, type Key, type Session, type User } from "./api";
import { attempt } from "./attempt";
import { h } from "./dom";

const ROLES: Record<string, string> = {
  admin: "everything in the tenant",
  manager: "documents, and the team's users and keys",
  editor: "reads, puts documents in and takes them out",
  reader: "asks, searches, reads",
  auditor: "reads what was used, and nothing else",
  service: "a machine, by its key's scopes",
};
const SCOPES = ["ask", "search", "read", "ingest", "manage", "audit", "monitor", "admin"];

const day = (at?: number) => (at === undefined ? "never" : new Date(at * 1000).toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" }));
const names = (text: string) => text.split(",").map((s) => s.trim()).filter((s) => s !== "");

function field(label: string, control: HTMLElement): HTMLElement {
  return h("label", { class: "field" }, h("span", {}, label), control);
}

function roleSelect(roles: string[], chosen = "reader"): HTMLSelectElement {
  const select = h("select", {}, ...roles.map((r) => h("option", { value: r }, `${r}: ${ROLES[r]}`)));
  select.value = chosen;
  return select;
}

export class PeopleView {
  readonly element: HTMLElement;
  private readonly problem = h("p", { class: "problem", role: "alert", hidden: true });
  private readonly once = h("div", { class: "once", role: "status", hidden: true });
  private readonly userRows = h("tbody");
  private readonly keyRows = h("tbody");
  private readonly roles: string[];

  constructor(
    private readonly me: Session,
    private readonly onSignedOut: () => void,
  ) {
    this.roles = me.admin ? Object.keys(ROLES) : ["editor", "reader", "service"];
    const head = (...cells: string[]) => h("thead", {}, h("tr", {}, ...cells.map((c) => h("th", { scope: "col" }, c || h("span", { class: "sr" }, "Actions")))));
    const list = (label: string, ...parts: HTMLElement[]) => h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, h("table", { class: "figures" }, ...parts));
    this.element = h(
      "section",
      { class: "quality people", "aria-label": "People" },
      h("h1", {}, "People"),
      h("p", { class: "lead" }, me.admin ? "Who signs in, and which keys there are." : "Your team: who has groups of yours, and no others."),
      this.problem,
      this.once,
      h("section", { class: "panel", "aria-labelledby": "p-users" }, h("h2", { id: "p-users" }, "Users"), list("Users, as a table", head("Name", "Role", "Groups", "Last here", "State", ""), this.userRows), this.userForm()),
      h("section", { class: "panel", "aria-labelledby": "p-keys" }, h("h2", { id: "p-keys" }, "Keys"), list("Keys, as a table", head("Name", "May", "Only", "Last used", "Ends", ""), this.keyRows), this.keyForm()),
    );
  }

  show(): void {
    this.once.hidden = true;
    void this.run(() => this.refresh());
  }

  hide(): void {
    this.once.replaceChildren(); // what was shown once is not shown again
    this.once.hidden = true;
  }

  private run(act: () => Promise<void>): Promise<void> {
    return attempt(this.problem, this.onSignedOut, act);
  }

  private async refresh(): Promise<void> {
    const [u, k] = await Promise.all([users(), keys()]);
    this.userRows.replaceChildren(...u.map((x) => this.userRow(x)));
    this.keyRows.replaceChildren(...k.map((x) => this.keyRow(x)));
    if (u.length === 0) this.userRows.append(h("tr", {}, h("td", { colspan: 6, class: "hint" }, "Nobody yet: whoever has a key signs in with it.")));
  }

  private showOnce(what: string, secret: string): void {
    this.once.replaceChildren(h("h3", {}, what), h("p", {}, h("code", { class: "secret" }, secret)), h("p", { class: "hint" }, "It is shown only now."));
    this.once.hidden = false;
    this.once.scrollIntoView({ block: "nearest" });
  }

  private button(text: string, label: string, act: () => Promise<void>, sure?: string): HTMLElement {
    return h("button", { class: "linklike", type: "button", "aria-label": label, onclick: () => (sure === undefined || confirm(sure)) && void this.run(async () => (await act(), this.refresh())) }, text);
  }

  private userRow(u: User): HTMLElement {
    const mine = u.id === this.me.user_id;
    const state = u.disabled ? "disabled" : u.locked ? "locked for minutes" : u.must_change_password ? "first password" : u.second_factor ? "with a code" : "";
    const role = h("select", { "aria-label": `Role of ${u.name}`, disabled: mine }, ...this.roles.filter((r) => r !== "service").map((r) => h("option", { value: r }, r)));
    role.value = u.role;
    role.addEventListener("change", () => void this.run(async () => (await changeUser(u.id, { role: role.value }), this.refresh())));
    const acts = mine
      ? [h("span", { class: "hint" }, "you")]
      : [
          u.issuer ? null : this.button("New password", `New password for ${u.name}`, async () => this.showOnce(`The new password of ${u.name}`, await resetPassword(u.id)), `Give ${u.name} a new password? The old one ends at once.`),
          u.second_factor ? this.button("No code", `Take off the second factor of ${u.name}`, () => resetTotp(u.id), `Take off the second factor of ${u.name}?`) : null,
          this.button(u.disabled ? "Enable" : "Disable", `${u.disabled ? "Enable" : "Disable"} ${u.name}`, () => changeUser(u.id, { disabled: !u.disabled })),
          this.button("Remove", `Remove ${u.name}`, () => removeUser(u.id), `Remove ${u.name} for good? Sessions and keys end.`),
        ];
    return h("tr", {}, h("th", { scope: "row" }, u.name, h("span", { class: "folder" }, [u.tenant !== this.me.tenant ? u.tenant : "", u.issuer ?? ""].filter(Boolean).join(", "))), h("td", {}, role), h("td", {}, u.groups.join(", ")), h("td", {}, day(u.last_seen)), h("td", {}, state), h("td", { class: "acts" }, ...acts));
  }

  private keyRow(k: Key): HTMLElement {
    const all = k.scopes.length === SCOPES.length ? "" : k.scopes.join(", ");
    const only = [...k.collections.map((c) => `collection ${c}`), ...k.addresses.map((a) => `from ${a}`), ...k.groups.map((g) => `group ${g}`)].join(", ");
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, k.name, h("span", { class: "folder" }, [k.owner ? `of ${k.owner}` : "", k.tenant !== this.me.tenant ? k.tenant : ""].filter(Boolean).join(", "))),
      h("td", {}, k.role, h("span", { class: "folder" }, all)),
      h("td", {}, only),
      h("td", {}, day(k.last_used), h("span", { class: "folder" }, k.last_used_from ? `from ${k.last_used_from}` : "")),
      h("td", {}, k.expires === undefined ? "" : k.expired ? "ended" : day(k.expires)),
      h("td", { class: "acts" }, this.button("Revoke", `Revoke ${k.name}`, () => removeKey(k.id), `Revoke the key ${k.name}? Whoever uses it is refused at once.`)),
    );
  }

  private userForm(): HTMLElement {
    const name = h("input", { required: true, maxlength: 63, autocomplete: "off", spellcheck: "false" });
    const role = roleSelect(this.roles.filter((r) => r !== "service"));
    const groups = h("input", { autocomplete: "off", spellcheck: "false", placeholder: "hr, board" });
    const form = h("form", { class: "fields" }, field("Name", name), field("Role", role), field("Groups", groups), h("button", { class: "act", type: "submit" }, "Add"));
    form.addEventListener("submit", (e) => {
      e.preventDefault();
      void this.run(async () => {
        const made = await addUser({ name: name.value.trim(), role: role.value, groups: names(groups.value) });
        this.showOnce(`The first password of ${made.name}; it must be changed at the first sign-in`, made.password ?? "");
        form.reset();
        role.value = "reader";
        await this.refresh();
      });
    });
    return h("details", { class: "adding" }, h("summary", {}, "Add a user"), form);
  }

  private keyForm(): HTMLElement {
    const name = h("input", { required: true, maxlength: 63, autocomplete: "off" });
    const role = roleSelect(this.roles, "service");
    const groups = h("input", { autocomplete: "off", spellcheck: "false" });
    const collections = h("input", { autocomplete: "off", spellcheck: "false", placeholder: "all" });
    const addresses = h("input", { autocomplete: "off", spellcheck: "false", placeholder: "anywhere" });
    const days = h("input", { type: "number", min: 1, max: 36500, placeholder: "never" });
    const boxes = SCOPES.map((s) => h("input", { type: "checkbox", value: s }));
    const form = h(
      "form",
      { class: "fields" },
      field("Name", name),
      field("Role", role),
      field("Groups", groups),
      field("Only these collections", collections),
      field("Only from these addresses", addresses),
      field("Ends after days", days),
      h("fieldset", { class: "scopes" }, h("legend", {}, "May only (none: all that its role may)"), ...SCOPES.map((s, i) => h("label", {}, boxes[i]!, s))),
      h("button", { class: "act", type: "submit" }, "Make a key"),
    );
    form.addEventListener("submit", (e) => {
      e.preventDefault();
      const scopes = boxes.filter((b) => b.checked).map((b) => b.value);
      void this.run(async () => {
        const made = await addKey({
          name: name.value.trim(),
          role: role.value,
          groups: names(groups.value),
          collections: names(collections.value),
          addresses: names(addresses.value),
          ...(days.value !== "" && { days: Number(days.value) }),
          ...(scopes.length > 0 && { scopes }),
        });
        this.showOnce(`The key ${made.name}`, made.key ?? "");
        form.reset();
        role.value = "service";
        await this.refresh();
      });
    });
    return h("details", { class: "adding" }, h("summary", {}, "Make a key"), form);
  }
}
