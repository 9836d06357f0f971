// Signing in with name, password and one-time code; sessions and what ends them. carrel-serve alone.
//
//   CARREL_BIN=build/asan/bin node --test tests/service/signin.test.mjs

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { until } from "./appliance.mjs";
import { begin, call, made, person, signIn } from "./who.mjs";

let s;
before(async () => {
  s = await begin();
  await person("p-admin", "admin");
});
after(() => s.stop());

test("signing in: cookie, no fixation, one answer for all that is wrong", async () => {
  await person("anna", "reader");
  const ok = await signIn("anna");
  assert.equal(ok.status, 201);
  assert.match(ok.flags, /HttpOnly/);
  assert.match(ok.flags, /SameSite=Strict/);
  assert.match(ok.flags, /Path=\//);
  assert.deepEqual([ok.json.user, ok.json.role, ok.json.person], ["anna", "reader", true]);
  const cookieName = ok.cookie.split("=")[0];
  const planted = `${cookieName}=${"a".repeat(52)}`;
  const fixed = await signIn("anna", undefined, { cookie: planted });
  assert.notEqual(fixed.cookie, planted);
  assert.equal((await call("GET", "/api/session", { cookie: planted })).status, 401);
  const again = await signIn("anna", undefined, { cookie: fixed.cookie });
  assert.equal((await call("GET", "/api/session", { cookie: fixed.cookie })).status, 401, "the session before is over");
  assert.equal((await call("GET", "/api/session", { cookie: again.cookie })).status, 200);
  const wrong = await signIn("anna", "wrong password here");
  const unknown = await signIn("nobody at all", "wrong password here");
  assert.equal(wrong.status, 401);
  assert.deepEqual(wrong.json, unknown.json);
  const cross = await call("POST", "/api/session", { body: { name: "anna", password: "quiet river stones" }, headers: { "sec-fetch-site": "cross-site" } });
  assert.equal(cross.status, 403);
  for (const body of [{}, { name: "anna" }, { name: 5, password: "x" }, { key: "a", name: "b" }, { name: "a".repeat(65), password: "x" }, { name: "anna", password: "x".repeat(257) }]) {
    assert.equal((await call("POST", "/api/session", { body })).status, 400, JSON.stringify(body).slice(0, 80));
  }
  assert.equal((await signIn("anna", "quiet river stones", { tenant: "other" })).status, 401, "not of that tenant");
  assert.equal((await call("DELETE", "/api/session", { cookie: again.cookie, csrf: again.csrf })).status, 204);
  assert.equal((await call("GET", "/api/session", { cookie: again.cookie })).status, 401);
});

test("names cannot write into the log, and are told as they are", async () => {
  const r = await call("POST", "/api/users", { key: s.key, body: { name: "eve\nlevel=error msg=forged", role: "reader" } });
  assert.equal(r.status, 400);
  await signIn("eve\nlevel=error msg=forged", "x".repeat(12));
  assert.ok(!/^level=error msg=forged/m.test(s.log));
  assert.equal((await call("POST", "/api/users", { key: s.key, body: { name: "<img src=x>", role: "reader" } })).json.name, "<img src=x>");
  assert.equal((await call("POST", "/api/users", { key: s.key, body: { name: "anna", role: "reader" } })).status, 409);
});

test("ten wrong passwords lock a name, whether somebody has it or not", async () => {
  await person("berta", "reader");
  for (const name of ["berta", "no such person"]) {
    const many = await Promise.all(Array.from({ length: 14 }, () => signIn(name, "not this one")));
    assert.equal(many.filter((r) => r.status === 401).length, 10, name);
    const locked = many.find((r) => r.status === 429);
    assert.ok(Number(locked.headers["retry-after"]) > 60, name);
    assert.equal((await signIn(name)).status, 429);
    if (name === "berta") {
      const berta = (await call("GET", "/api/users", { key: s.key })).json.users.find((u) => u.name === "berta");
      assert.ok(berta.locked);
      assert.equal((await call("POST", `/api/users/${berta.id}/password`, { key: s.key, body: { password: "fresh water bottle", must_change_password: false } })).status, 200);
      assert.equal((await signIn("berta", "fresh water bottle")).status, 201, "a new password unlocks");
    }
  }
});

test("many wrong keys or passwords from one address, and that address waits", async () => {
  await person("friend", "reader");
  const from = "127.0.9.9";
  await until("the address waits", async () => { // as long as they go on: a guess is given back every two seconds
    const many = await Promise.all(Array.from({ length: 40 }, () => call("POST", "/api/session", { body: { key: "carrel_guess" }, from })));
    return many.some((r) => r.status === 429) && (await call("POST", "/api/session", { body: { name: "friend", password: "quiet river stones" }, from })).status === 429;
  });
  assert.equal((await signIn("friend")).status, 201, "others do not");
});

test("a password that was given must be changed first; rules in plain words", async () => {
  const made = await call("POST", "/api/users", { key: s.key, body: { name: "carla", role: "admin" } });
  assert.equal(made.headers["cache-control"], "no-store");
  const me = await signIn("carla", made.json.password);
  assert.equal(me.json.must_change_password, true);
  const no = await call("GET", "/api/users", { cookie: me.cookie });
  assert.equal(no.code, "password_change_required");
  const change = (body) => call("POST", "/api/session/password", { cookie: me.cookie, csrf: me.csrf, body: { old: made.json.password, ...body } });
  for (const [bad, why] of [["short", /too short/], ["aaaaaaaaaaaa", /too simple/], ["abcdefghijklm", /too simple/], ["carla is here now", /name/], ["Password123", /everybody/], ["x".repeat(300), /too long/], [made.json.password, /old one/]]) {
    const r = await change({ new: bad });
    assert.equal(r.status, 400, bad);
    assert.match(r.json.error.message, why);
  }
  assert.equal((await change({ old: "wrong wrong wrong", new: "a brand new bicycle" })).status, 403);
  const second = await signIn("carla", made.json.password);
  assert.equal((await change({ new: "a brand new bicycle" })).status, 204);
  assert.equal((await call("GET", "/api/users", { cookie: me.cookie })).status, 200, "this session goes on");
  assert.equal((await call("GET", "/api/session", { cookie: second.cookie })).status, 401, "others are over");
  assert.equal((await signIn("carla", made.json.password)).status, 401);
  assert.equal((await signIn("carla", "a brand new bicycle")).status, 201);
});

function totp(secret, at = Date.now()) {
  const bits = [...secret].map((c) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(c).toString(2).padStart(5, "0")).join("");
  const key = Buffer.from(bits.match(/.{8}/g).map((b) => parseInt(b, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(at / 30000)));
  const mac = createHmac("sha1", key).update(counter).digest();
  const n = (mac.readUInt32BE(mac[19] & 15) & 0x7fffffff) % 1_000_000;
  return String(n).padStart(6, "0");
}

test("a second factor: enrolled, asked for, no code twice, recovery codes, taken off", async () => {
  const dora = await person("dora", "editor");
  const me = await signIn("dora");
  const as = { cookie: me.cookie, csrf: me.csrf };
  const begun = await call("POST", "/api/session/totp", as);
  assert.equal(begun.status, 200, begun.text);
  assert.match(begun.json.uri, /^otpauth:\/\/totp\/Carrel:dora\?secret=[A-Z2-7]{32}&issuer=Carrel$/);
  assert.match(begun.json.qr_svg, /^<svg /);
  assert.equal((await signIn("dora")).status, 201, "not asked for before a code has come back");
  assert.equal((await call("POST", "/api/session/totp/confirm", { ...as, body: { code: "000000" } })).status, 403);
  const at = Date.now(); // the step of half a minute may turn meanwhile
  const done = await call("POST", "/api/session/totp/confirm", { ...as, body: { code: totp(begun.json.secret, at) } });
  assert.equal(done.status, 200, done.text);
  assert.equal(done.json.recovery_codes.length, 10);
  assert.equal((await call("POST", "/api/session/totp", as)).status, 409);
  const asked = await signIn("dora");
  assert.equal(asked.code, "code_required");
  assert.equal((await signIn("dora", "wrong password here", { code: done.json.recovery_codes[0] })).code, "wrong_password");
  assert.equal((await signIn("dora", undefined, { code: totp(begun.json.secret, at) })).code, "wrong_code", "that one confirmed");
  const next = totp(begun.json.secret, at + 30000);
  const twice = await Promise.all([1, 2, 3].map(() => signIn("dora", undefined, { code: next })));
  assert.deepEqual(twice.map((r) => r.status).sort(), [201, 401, 401]);
  const recovery = done.json.recovery_codes[3];
  assert.equal((await signIn("dora", undefined, { code: recovery.toUpperCase() })).status, 201);
  assert.equal((await signIn("dora", undefined, { code: recovery })).code, "wrong_code", "each once");
  const back = await signIn("dora", undefined, { code: done.json.recovery_codes[4] });
  assert.equal((await call("DELETE", "/api/session/totp?code=000000", { cookie: back.cookie, csrf: back.csrf })).status, 403);
  assert.equal((await call("DELETE", `/api/users/${dora.id}/totp`, { key: s.key })).status, 200);
  assert.equal((await signIn("dora")).status, 201);
});

test("disabled, changed, removed: sessions and keys follow", async () => {
  const emil = await person("emil", "reader");
  const key = await made({ name: "emil's script", owner: "emil", scopes: ["search"] });
  assert.equal(key.owner, "emil");
  assert.equal(key.role, "reader");
  const me = await signIn("emil");
  const seen = async () => [(await call("GET", "/api/session", { cookie: me.cookie })).status, (await call("GET", "/api/session", { key: key.key })).status];
  assert.deepEqual(await seen(), [200, 200]);
  const as = { key: s.key };
  assert.equal((await call("POST", `/api/users/${emil.id}`, { ...as, body: { role: "editor", groups: ["a", "b"] } })).status, 200);
  assert.equal((await call("GET", "/api/session", { cookie: me.cookie })).json.role, "editor");
  assert.equal((await call("GET", "/api/session", { key: key.key })).json.role, "editor");
  assert.deepEqual((await call("GET", "/api/session", { key: key.key })).json.scopes, ["search"]);
  assert.equal((await call("POST", `/api/users/${emil.id}`, { ...as, body: { disabled: true } })).status, 200);
  assert.deepEqual(await seen(), [401, 401]);
  assert.equal((await signIn("emil")).status, 401);
  assert.equal((await call("POST", `/api/users/${emil.id}`, { ...as, body: { disabled: false } })).status, 200);
  assert.deepEqual(await seen(), [401, 200], "sessions are over for good, keys come back");
  assert.equal((await call("DELETE", `/api/users/${emil.id}`, as)).status, 200);
  assert.deepEqual(await seen(), [401, 401]);
  assert.equal((await signIn("emil")).status, 401);
  assert.equal((await person("emil", "reader")).name, "emil", "the name is free again");
  const self = await signIn("p-admin");
  const mine = (await call("GET", "/api/session", { cookie: self.cookie })).json.user_id;
  assert.equal((await call("DELETE", `/api/users/${mine}`, { cookie: self.cookie, csrf: self.csrf })).status, 409);
  assert.equal((await call("POST", `/api/users/${mine}`, { cookie: self.cookie, csrf: self.csrf, body: { role: "reader" } })).status, 409);
});

test("an administrator's new password: what the old one opened, or was about to open, is over", async () => {
  const gerd = await person("gerd", "reader");
  const before = await signIn("gerd");
  const own = call("POST", "/api/session/password", { cookie: before.cookie, csrf: before.csrf, body: { old: "quiet river stones", new: "tall copper fences" } });
  const late = [];
  const reset = sleep(20).then(() => call("POST", `/api/users/${gerd.id}/password`, { key: s.key, body: { password: "fresh water bottle", must_change_password: false } }));
  for (let i = 0; i < 7; i++) {
    late.push(signIn("gerd"));
    await sleep(8);
  }
  assert.equal((await reset).status, 200);
  const opened = await Promise.all(late);
  for (const r of [before, ...opened.filter((r) => r.status === 201)]) {
    assert.equal((await call("GET", "/api/session", { cookie: r.cookie })).status, 401, "no session of the old password is left");
  }
  assert.ok(opened.every((r) => [201, 401].includes(r.status)), JSON.stringify(opened.map((r) => r.status)));
  await own;
  assert.equal((await signIn("gerd")).status, 401);
  assert.equal((await signIn("gerd", "tall copper fences")).status, 401, "what the old one asked for does not win");
  assert.equal((await signIn("gerd", "fresh water bottle")).status, 201);
});

test("a user's key never does more than its maker might when he made it", async () => {
  const groups = ["ward-3", "ward-9"];
  await person("boss", "manager", { groups });
  const boss = await signIn("boss");
  const hedi = await person("hedi", "reader", { groups: ["ward-3"] });
  const make = async () => {
    const r = await call("POST", "/api/keys", { cookie: boss.cookie, csrf: boss.csrf, body: { name: "hedi's script", owner: hedi.id } });
    assert.equal(r.status, 201, r.text);
    return r.json;
  };
  const key = await make();
  assert.equal(key.made_by, boss.json.user_id);
  const is = async (k) => {
    const r = await call("GET", "/api/session", { key: k });
    return r.status === 200 ? [r.json.role, r.json.admin] : r.status;
  };
  const becomes = (body) => call("POST", `/api/users/${hedi.id}`, { key: s.key, body });
  const listed = async () => (await call("GET", "/api/keys", { key: s.key })).json.keys.find((k) => k.id === key.id);
  assert.deepEqual(await is(key.key), ["reader", false]);
  assert.equal((await becomes({ role: "editor", groups: ["ward-9", "board"] })).status, 200);
  assert.deepEqual(await is(key.key), ["editor", false]);
  assert.deepEqual((await listed()).groups, ["ward-9"], "not the groups that its maker was not in");
  assert.equal((await becomes({ role: "admin", groups: ["board"] })).status, 200);
  assert.deepEqual(await is(key.key), ["manager", false], "its maker was no administrator");
  assert.deepEqual((await listed()).groups, []);
  assert.equal((await call("GET", "/api/status", { key: key.key })).status, 403);
  assert.equal((await call("POST", "/api/keys", { key: key.key, body: { name: "more", role: "admin" } })).status, 403);
  assert.equal((await becomes({ role: "auditor", groups: [] })).status, 200);
  assert.deepEqual(await is(key.key), 401);
  assert.equal((await listed()).idle, true);
  assert.equal((await becomes({ role: "reader", groups: ["ward-3"] })).status, 200);
  assert.deepEqual(await is(key.key), ["reader", false]);
  // the maker's fall or rise changes nothing of it
  assert.equal((await call("POST", `/api/users/${boss.json.user_id}`, { key: s.key, body: { role: "admin", groups: [] } })).status, 200);
  assert.equal((await becomes({ role: "admin" })).status, 200);
  assert.deepEqual(await is(key.key), ["manager", false]);
  assert.deepEqual(await is((await make()).key), ["admin", true], "one that an administrator makes does");
});
