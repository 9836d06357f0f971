// Who may do what: every role at every route of the table, keys with scopes, times, addresses and collections.
// carrel-serve alone: what a role may do answers something (no such document, a part is down), what it may not is
// refused before.
//
//   CARREL_BIN=build/asan/bin node --test tests/service/roles.test.mjs

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { binDir } from "./appliance.mjs";
import { begin, call, GROUP, keys, made, PEOPLE, person, ROLES, signIn } from "./who.mjs";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
const routes = JSON.parse(execFileSync(join(binDir, "carrel-serve"), ["--routes"], { encoding: "utf8" }));

let s;
before(async () => (s = await begin()));
after(() => s.stop());

const filled = (pattern) => pattern.replace("{id}", "x1").replace("{n}", "1").replace(/\{\w+\}/g, "x1");
test("the table is the one in docs/roles.md", () => {
  const now = execFileSync(join(root, "scripts/route-table"), [binDir], { encoding: "utf8" });
  assert.equal(readFileSync(join(root, "docs/roles.md"), "utf8"), now, "run scripts/route-table BIN > docs/roles.md and look at what changed");
});

test("every row is decided: roles, a scope, CSRF for what writes, an act for what administers", () => {
  const open = ["GET /api/version", "POST /api/session", "GET /api/session/ways", "POST /api/session/ldap", "GET /api/health"];
  const scopeless = ["POST /api/show", "GET /api/tags", "GET /api/ps", "GET /v1/models", "GET /v1/models/{id}", "GET /api/session", "DELETE /api/session", "GET /api/limits/mine"];
  for (const r of routes) {
    const name = `${r.verb} ${r.pattern}`;
    if (r.open) {
      assert.ok(open.includes(name) || /login|oidc|openapi|share/.test(name), `${name} is open to anybody: is it meant to be?`);
      continue;
    }
    assert.ok(r.roles.length > 0, `${name}: no role may`);
    if (r.scopes.length === 0 && !r.person) assert.ok(scopeless.includes(name), `${name}: any key will do: is it meant to?`);
    if (r.verb !== "GET") assert.ok(r.csrf, `${name} writes and has no CSRF check`);
    const administers = r.roles.every((x) => x === "admin" || x === "manager");
    if (administers && r.verb !== "GET") assert.ok(r.act, `${name} administers and has no name in the audit`);
    if (r.roles.includes("auditor")) assert.ok(r.roles.length === ROLES.length || r.scopes.includes("audit"), `${name}: an auditor reads use only`);
  }
});

test("every role at every route, by key", async () => {
  for (const r of routes) {
    const name = `${r.verb} ${r.pattern}`;
    const none = await call(r.verb, filled(r.pattern));
    if (r.open) assert.ok(![401, 403].includes(none.status), `${name} without a key: ${none.status}`);
    else assert.equal(none.status, 401, `${name} without a key`);
    assert.equal((await call(r.verb, filled(r.pattern), { key: "carrel_wrong" })).status === 401, !r.open, `${name} with a wrong key`);
    for (const role of ROLES) {
      const got = await call(r.verb, filled(r.pattern), { key: keys[role] });
      if (r.open || (r.roles.includes(role) && !r.person)) {
        assert.ok(![401, 403].includes(got.status), `${name} as ${role}: ${got.status} ${got.text.slice(0, 200)}`);
      } else {
        assert.equal(got.status, 403, `${name} as ${role}: ${got.text.slice(0, 200)}`);
      }
    }
  }
});

test("every role at every route, signed in", async () => {
  for (const role of PEOPLE) {
    const name = `p-${role}`;
    await person(name, role);
    let me = await signIn(name);
    assert.equal(me.status, 201, me.text);
    const other = await signIn(name); // another session of the same person
    assert.notEqual(other.csrf, me.csrf);
    for (const r of routes) {
      if (r.open) continue;
      const got = await call(r.verb, filled(r.pattern), { cookie: me.cookie, csrf: me.csrf });
      const label = `${r.verb} ${r.pattern} as ${role}, signed in: ${got.status} ${got.text.slice(0, 200)}`;
      if (r.roles.includes(role)) assert.ok(![401, 403].includes(got.status), label);
      else assert.equal(got.status, 403, label);
      if (r.csrf && r.roles.includes(role)) {
        const sessionOver = r.pattern === "/api/session" && r.verb === "DELETE";
        for (const csrf of [undefined, "x", other.csrf, `${me.csrf}x`, me.csrf.slice(0, -1)]) {
          const forged = await call(r.verb, filled(r.pattern), { cookie: me.cookie, csrf });
          if (sessionOver) assert.equal(forged.status, 401, `${label}; the session is over`);
          else assert.deepEqual([forged.status, forged.text.includes("X-CSRF-Token")], [403, true], `${label}; with the token ${csrf}: ${forged.status} ${forged.text.slice(0, 200)}`);
        }
      }
      if (r.pattern === "/api/session" && r.verb === "DELETE") me = await signIn(name);
    }
  }
});

test("a key does what one of its scopes is for, and nothing else", async () => {
  const all = ["ask", "search", "read", "ingest", "manage", "monitor"];
  for (const scope of all) {
    const key = (await made({ name: `only-${scope}`, role: "service", scopes: [scope] })).key;
    for (const r of routes) {
      if (r.open || !r.roles.includes("service") || r.person) continue;
      const got = await call(r.verb, filled(r.pattern), { key });
      const may = r.scopes.length === 0 || r.scopes.includes(scope);
      assert.equal(got.status === 403, !may, `${r.verb} ${r.pattern} with ${scope}: ${got.status} ${got.text.slice(0, 200)}`);
    }
  }
  const few = await call("POST", "/api/search", { key: (await made({ name: "few", scopes: ["ask"] })).key, body: { query: "x" } });
  assert.match(few.json.error.message, /scope search/);
  const bad = await call("POST", "/api/keys", { key: s.key, body: { name: "bad", role: "reader", scopes: ["admin"] } });
  assert.equal(bad.status, 400);
  assert.equal((await call("POST", "/api/keys", { key: s.key, body: { name: "bad", scopes: ["everything"] } })).status, 400);
  assert.equal((await call("POST", "/api/keys", { key: s.key, body: { name: "bad", scopes: [] } })).status, 400);
});

test("keys that are over, revoked, from elsewhere, of another tenant", async () => {
  let soon, sessionOfSoon; // in seconds; in more of them where that was not enough
  for (let seconds = 2; ; seconds *= 3) {
    soon = await made({ name: `soon ${seconds}`, expires: Math.floor(Date.now() / 1000) + seconds });
    const first = await call("GET", "/api/session", { key: soon.key });
    sessionOfSoon = await call("POST", "/api/session", { body: { key: soon.key } });
    if (first.status === 200 && sessionOfSoon.status === 201) break;
    assert.ok(seconds < 100 && Date.now() >= soon.expires * 1000, first.text);
  }
  const away = await made({ name: "away", addresses: ["192.0.2.0/24", "2001:db8::/32"] });
  const refused = await call("GET", "/api/session", { key: away.key });
  assert.equal(refused.status, 403);
  assert.equal(refused.code, "wrong_address");
  assert.equal((await call("POST", "/api/session", { body: { key: away.key } })).status, 403);
  const here = await made({ name: "here", addresses: ["127.0.0.0/8"] });
  assert.equal((await call("GET", "/api/session", { key: here.key })).status, 200);
  const desk = await made({ name: "desk", addresses: ["127.0.7.0/24"] });
  const opened = await call("POST", "/api/session", { body: { key: desk.key }, from: "127.0.7.7" });
  assert.equal(opened.status, 201);
  assert.equal((await call("GET", "/api/session", { cookie: opened.cookie, from: "127.0.7.8" })).status, 200);
  assert.equal((await call("GET", "/api/session", { cookie: opened.cookie, from: "127.0.8.8" })).status, 403, "its cookie goes no further than the key");
  for (const wrong of ["10.0.0.0/33", "10.0.0/8", "host.example", "10.0.0.1/", "::/129", ""]) {
    assert.equal((await call("POST", "/api/keys", { key: s.key, body: { name: "x", addresses: [wrong] } })).status, 400, wrong);
  }
  assert.equal((await call("POST", "/api/keys", { key: s.key, body: { name: "x", expires: 5 } })).status, 400);
  const gone = await made({ name: "gone" });
  const session = await call("POST", "/api/session", { body: { key: gone.key } });
  assert.equal((await call("DELETE", `/api/keys/${gone.id}`, { key: s.key })).status, 200);
  assert.equal((await call("GET", "/api/session", { key: gone.key })).status, 401);
  assert.equal((await call("GET", "/api/session", { cookie: session.cookie })).status, 401);
  assert.equal((await call("POST", "/api/tenants", { key: s.key, body: { tenant: "other" } })).status, 201);
  const other = await made({ name: "their admin", role: "admin", tenant: "other" });
  assert.equal((await call("DELETE", `/api/keys/${here.id}`, { key: other.key })).status, 404);
  assert.deepEqual((await call("GET", "/api/keys", { key: other.key })).json.keys.map((k) => k.name), ["their admin"]);
  assert.equal((await call("POST", "/api/users", { key: other.key, body: { name: "x", tenant: "main" } })).status, 403);
  const list = (await call("GET", "/api/keys", { key: s.key })).json.keys;
  const used = list.find((k) => k.id === here.id);
  assert.match(used.last_used_from, /^127\./);
  assert.ok(used.last_used > 0);
  assert.deepEqual(used.addresses, ["127.0.0.0/8"]);
  assert.ok(!JSON.stringify(list).includes(here.key));
  await new Promise((done) => setTimeout(done, Math.max(0, soon.expires * 1000 - Date.now() + 50)));
  const over = await call("GET", "/api/session", { key: soon.key });
  assert.equal(over.status, 401);
  assert.match(over.json.error.message, /expired/);
  assert.equal((await call("GET", "/api/session", { cookie: sessionOfSoon.cookie })).status, 401);
});

test("a key held to collections keeps to what is filtered by them", async () => {
  const held = await made({ name: "held", role: "admin", collections: ["contracts"] });
  assert.deepEqual(held.scopes, ["ask", "search", "read", "ingest"]);
  assert.equal(held.admin, false);
  assert.equal((await call("GET", "/api/keys", { key: held.key })).status, 403);
  assert.equal((await call("GET", "/api/sources", { key: held.key })).status, 403);
  assert.equal((await call("POST", "/api/keys", { key: s.key, body: { name: "x", role: "service", collections: ["a"], scopes: ["manage"] } })).status, 400);
  assert.equal((await call("POST", "/api/keys", { key: s.key, body: { name: "x", collections: ["a\u0001b"] } })).status, 400);
});

test("a manager looks after the team, and nobody else", async () => {
  const m = keys.manager;
  const one = await call("POST", "/api/users", { key: m, body: { name: "nurse", role: "reader", groups: GROUP } });
  assert.equal(one.status, 201, one.text);
  assert.match(one.json.password, /^[0-9a-z]{5}(-[0-9a-z]{5}){3}$/);
  for (const body of [
    { name: "a", role: "admin", groups: GROUP },
    { name: "a", role: "manager", groups: GROUP },
    { name: "a", role: "auditor", groups: GROUP },
    { name: "a", role: "reader", groups: ["board"] },
    { name: "a", role: "reader" },
  ]) {
    assert.equal((await call("POST", "/api/users", { key: m, body })).status, 403, JSON.stringify(body));
    assert.equal((await call("POST", "/api/keys", { key: m, body })).status, 403, JSON.stringify(body));
  }
  const board = await person("board-member", "reader", { groups: ["board"] });
  assert.equal((await call("POST", `/api/users/${board.id}`, { key: m, body: { disabled: true } })).status, 404);
  assert.equal((await call("POST", `/api/users/${one.json.id}`, { key: m, body: { role: "admin" } })).status, 403);
  assert.equal((await call("POST", `/api/users/${one.json.id}`, { key: m, body: { groups: ["board"] } })).status, 403);
  assert.equal((await call("POST", `/api/users/${one.json.id}`, { key: m, body: { role: "editor" } })).status, 200);
  const seen = (await call("GET", "/api/users", { key: m })).json.users;
  assert.ok(seen.every((u) => ["editor", "reader"].includes(u.role) && u.groups.every((g) => GROUP.includes(g))));
  const own = (await call("GET", "/api/keys", { key: m })).json.keys;
  assert.ok(own.every((k) => ["editor", "reader", "service"].includes(k.role)));
});
