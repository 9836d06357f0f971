// Behind a proxy: whose address counts for keys, limits, lock-out, the audit and the log. carrel-serve alone; this machine's
// addresses play proxies and strangers.
//
//   CARREL_BIN=build/asan/bin node --test tests/service/proxy.test.mjs

import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { after, before, test } from "node:test";
import { begin, call, made, person } from "./who.mjs";

const PROXY = "127.0.0.77";
const via = (client, more = {}) => ({ from: PROXY, headers: { "x-forwarded-for": client, ...more } });

let s;
before(async () => {
  s = await begin({ config: "http:\n  requests_per_minute: 0\n  trusted_proxies: [127.0.0.77, 127.0.0.80/30, \"2001:db8:1::/48\"]\n" });
});
after(() => s.stop());

test("a key's addresses are those of who asks, and only a trusted proxy says who that is", async () => {
  const { key } = await made({ name: "held", role: "admin", addresses: ["203.0.113.0/24", "2001:db8:7::/48"] });
  const asks = (o) => call("GET", "/api/keys", { key, ...o });
  const rows = [
    [200, via("203.0.113.9")],
    [200, via("203.0.113.9:51234")],
    [200, via("2001:db8:7::1")],
    [200, via("[2001:db8:7::1]:443")],
    [200, via("9.9.9.9, 203.0.113.9, 127.0.0.81")],
    [200, { from: PROXY, headers: { forwarded: "for=9.9.9.9, for=203.0.113.9;proto=https" } }],
    [403, via("203.0.113.9, 198.51.100.1")], // written by the client, left of the true one
    [403, via("203.0.113.9, 198.51.100.1, 127.0.0.81")],
    [403, via(`${"203.0.113.9, ".repeat(500)}198.51.100.1`)],
    [403, { from: PROXY }],
    [403, { from: "127.0.0.78", headers: { "x-forwarded-for": "203.0.113.9" } }], // nobody trusts it
    [403, { from: "127.0.0.78", headers: { forwarded: "for=203.0.113.9" } }],
    [403, { from: PROXY, headers: { "x-real-ip": "203.0.113.9", "x-client-ip": "203.0.113.9", "true-client-ip": "203.0.113.9" } }],
    [400, via("203.0.113.9, garbage")],
    [400, via("")],
    [400, via("203.0.113.9", { forwarded: "for=198.51.100.1" })], // one of the two is the client's own
    [400, { from: PROXY, headers: { forwarded: 'for=203.0.113.9;x=", for=198.51.100.1' } }],
    [400, via(Array(40).fill("127.0.0.81").join(", "))],
    [431, via("203.0.113.9, ".repeat(4000))],
  ];
  for (const [status, o] of rows) {
    const r = await asks(o);
    assert.equal(r.status, status, `${JSON.stringify(o).slice(0, 200)}: ${r.text.slice(0, 200)}`);
  }
  assert.equal((await asks(via("203.0.113.9, garbage"))).code, "bad_forwarded");
  const used = (await call("GET", "/api/keys", { key: s.key })).json.keys.find((k) => k.name === "held");
  assert.equal(used.last_used_from, "203.0.113.9");
});

test("wrong keys and passwords count for who gave them, not for the proxy before everybody", async () => {
  await person("calm", "reader");
  const guess = (o) => call("POST", "/api/session", { body: { key: "carrel_guess" }, ...o });
  const many = await Promise.all(Array.from({ length: 40 }, () => guess(via("198.51.100.66"))));
  assert.ok(many.some((r) => r.status === 429));
  assert.equal((await guess(via("198.51.100.66"))).status, 429);
  assert.equal((await guess(via("1.1.1.1, 198.51.100.66"))).status, 429, "what he writes himself makes him nobody else");
  const good = { name: "calm", password: "quiet river stones" };
  assert.equal((await call("POST", "/api/session", { body: good, ...via("198.51.100.67") })).status, 201, "his neighbour may");
  assert.equal((await call("POST", "/api/session", { body: good, from: PROXY })).status, 201);
});

test("one who has all addresses of an IPv6 network is one", async () => {
  let n = 0;
  const guess = (net) => call("POST", "/api/session", { body: { key: "carrel_guess" }, ...via(`2001:db8:${net}::${(++n).toString(16)}`) });
  const many = await Promise.all(Array.from({ length: 40 }, () => guess("99")));
  assert.ok(many.some((r) => r.status === 429));
  assert.equal((await guess("98")).status, 401);
});

test("the log and the audit say who asked", async () => {
  assert.equal((await call("POST", "/api/session", { body: { name: "calm", password: "wrong password" }, ...via("198.51.100.71") })).status, 401);
  assert.match(s.log, /msg="signing in failed"[^\n]*from=198\.51\.100\.71/);
  const r = await call("POST", "/api/keys", { key: s.key, body: { name: "noted", role: "reader" }, ...via("198.51.100.72") });
  assert.equal(r.status, 201);
  const lines = (await call("GET", "/api/audit?limit=100", { key: s.key })).text;
  assert.match(lines, /198\.51\.100\.72/);
});

test("TLS that a trusted proxy speaks makes cookies secure; a name of its own is let in", async () => {
  const body = { name: "calm", password: "quiet river stones" };
  const signed = (o) => call("POST", "/api/session", { body, ...o });
  assert.match((await signed(via("198.51.100.80", { "x-forwarded-proto": "https" }))).flags, /; Secure/);
  assert.match((await signed({ from: PROXY, headers: { forwarded: "for=198.51.100.80;proto=https" } })).flags, /; Secure/);
  assert.doesNotMatch((await signed(via("198.51.100.80"))).flags, /Secure/);
  assert.doesNotMatch((await signed({ headers: { "x-forwarded-proto": "https" } })).flags, /Secure/);
  assert.equal((await call("GET", "/api/session", { key: s.key, ...via("198.51.100.80", { host: "docs.example.org" }) })).status, 200);
  assert.equal((await call("GET", "/api/session", { key: s.key, headers: { host: "docs.example.org", "x-forwarded-for": "198.51.100.80" } })).status, 421);
});

test("a proxy may have more connections than one address", async () => {
  const open = (from) => Array.from({ length: 140 }, () => connect({ host: "127.0.0.1", port: s.port, localAddress: from }).on("error", () => {}));
  const asks = (from) => call("GET", "/api/session", { key: s.key, from }).then((r) => r.status, (e) => e.code);
  const sockets = [...open(PROXY), ...open("127.0.0.90")];
  try {
    await Promise.all(sockets.map((c) => once(c, "connect")));
    assert.equal(await asks(PROXY), 200);
    assert.notEqual(await asks("127.0.0.90"), 200, "others may not");
  } finally {
    for (const c of sockets) c.destroy();
  }
});
