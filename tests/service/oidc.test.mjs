// Signing in with OpenID Connect, against a provider that misbehaves on demand. (A provider that others wrote:
// tests/oidc.)

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { after, before, test } from "node:test";
import { freePort, startAppliance } from "./appliance.mjs";
import { Browser, newKey, signToken, startProvider } from "./provider.mjs";

let a, p;

before(async () => {
  p = await startProvider();
  const port = await freePort();
  a = await startAppliance({
    args: ["--port", String(port)],
    config: `http:
  requests_per_minute: 0
oidc:
  issuer: ${p.issuer}
  name: the ward's account
  client_id: carrel
  redirect_uri: http://127.0.0.1:${port}/api/oidc/callback
  allow_private_address: true
directory_groups:
  - name: staff
    role: reader
    groups: [ward]
  - name: boss
    role: admin
  - name: x-ray
    groups: [x-ray, ward]
`,
  });
  assert.equal(a.url, `http://127.0.0.1:${port}`);
});

after(async () => {
  await a?.stop();
  await p?.stop();
});

async function start(b, query = "") {
  const r = await b.go(`${a.url}/api/oidc/start${query}`);
  assert.equal(r.status, 303, await r.text());
  return r.headers.get("location");
}

/** The whole way; where the browser ends up. */
async function signIn(b = new Browser(), { query = "", extra = {} } = {}) {
  const r = await b.go(p.approve(await start(b, query), extra));
  assert.equal(r.status, 303, await r.text());
  return r.headers.get("location");
}

async function refused(code, how = {}) {
  const b = new Browser();
  assert.equal(await signIn(b, how), `/?signin=${code}`);
  assert.equal((await b.go(`${a.url}/api/session`)).status, 401);
}

/** While fn runs the provider is as told. */
async function provider(what, fn) {
  const was = Object.fromEntries(Object.keys(what).map((k) => [k, p[k]]));
  Object.assign(p, what);
  try {
    await fn();
  } finally {
    Object.assign(p, was);
  }
}

test("a sign-in: the page is told of the provider, the browser comes back with a session", async () => {
  const b = new Browser();
  const ways = await (await fetch(`${a.url}/api/session/ways`)).json();
  assert.deepEqual(ways.oidc, { name: "the ward's account", start: "/api/oidc/start" });
  const away = new URL(await start(b, "?return=%2F%23documents"));
  assert.equal(away.origin + away.pathname, `${p.issuer}/authorize`);
  const q = Object.fromEntries(away.searchParams);
  assert.equal(q.tier, "gold"); // the provider's own query is kept
  assert.equal(q.response_type, "code");
  assert.equal(q.code_challenge_method, "S256");
  assert.match(q.state, /^[\w-]{43}$/);
  assert.match(q.nonce, /^[\w-]{43}$/);
  assert.equal(new Set([q.state, q.nonce, q.code_challenge]).size, 3);
  const flow = [...b.attributes].find(([n]) => n.startsWith("carrel_oidc_"))[1];
  assert.deepEqual([flow.samesite, flow.httponly, flow.path], ["Lax", true, "/api/oidc"]);
  const back = await b.go(p.approve(away.href), { headers: { "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document" } });
  assert.equal(back.status, 303);
  assert.equal(back.headers.get("location"), "/#documents");
  assert.ok(![...b.cookies.keys()].some((n) => n.startsWith("carrel_oidc_"))); // the flow is over
  const session = [...b.attributes].find(([n]) => /^carrel_\d+$/.test(n))[1];
  assert.deepEqual([session.samesite, session.httponly], ["Strict", true]);
  const who = await (await b.go(`${a.url}/api/session`)).json();
  assert.equal(who.user, "Ada");
  assert.equal(who.tenant, "main");
  assert.equal(who.role, "reader");
  assert.equal(who.admin, false);
  assert.equal(p.tokenRequest.form.get("client_id"), "carrel"); // a public client
  assert.equal(p.tokenRequest.authorization, undefined);
  const end = new URL((await (await fetch(`${a.url}/api/session/ways`)).json()).oidc.sign_out);
  assert.equal(end.searchParams.get("post_logout_redirect_uri"), `${a.url}/`);
});

test("the account is the subject's: the same one, with the role and groups of each sign-in", async () => {
  const of = async (person) => {
    const b = new Browser();
    await provider({ person }, async () => assert.equal(await signIn(b), "/"));
    return { b, who: await (await b.go(`${a.url}/api/session`)).json() };
  };
  const one = await of({ sub: "u7", name: "Grace", groups: ["staff"] });
  const two = await of({ sub: "u7", name: "Grace H.", groups: ["boss", "staff"] });
  const other = await of({ sub: "u8", name: "Grace", groups: "staff" });
  assert.equal(two.who.user_id, one.who.user_id);
  assert.notEqual(other.who.user_id, one.who.user_id);
  assert.equal(one.who.role, "reader");
  assert.equal(two.who.role, "reader"); // the first line that gives a role
  const three = await of({ sub: "u7", name: "Grace", groups: ["boss", "x-ray"] });
  assert.equal(three.who.role, "admin");
  assert.equal(three.who.user_id, one.who.user_id);
  await provider({ person: { sub: "u7", name: "Grace", groups: ["x-ray"] } }, () => refused("role"));
  await provider({ person: { sub: "u7", name: "Grace", groups: [] } }, () => refused("role"));
  await provider({ person: { sub: "u7", groups: ["Staff", "STAFF", " staff"] } }, () => refused("role"));
});

test("groups that the ID token does not have are asked for, and believed of the same person only", async () => {
  const person = { sub: "u9", name: "Lise" };
  const n = p.counts.userinfo;
  const b = new Browser();
  await provider({ person, userinfo: () => ({ ...person, groups: ["staff"] }) }, async () => assert.equal(await signIn(b), "/"));
  assert.equal(p.counts.userinfo, n + 1);
  await provider({ person, userinfo: () => ({ sub: "u1", groups: ["boss"] }) }, () => refused("provider"));
  await provider({ person, userinfo: () => ({ groups: ["boss"] }) }, () => refused("provider"));
});

test("what comes back must be of this browser's flow", async () => {
  const b = new Browser();
  const back = p.approve(await start(b));
  // a code that somebody slips to another browser, which has no flow, or one of its own
  assert.equal((await new Browser().go(back)).headers.get("location"), "/?signin=flow");
  const victim = new Browser();
  await start(victim);
  assert.equal((await victim.go(back)).headers.get("location"), "/?signin=flow");
  // in a frame
  assert.equal((await b.go(back, { headers: { "sec-fetch-dest": "iframe" } })).headers.get("location"), "/?signin=flow");
  // which ended the flow
  assert.equal((await b.go(back)).headers.get("location"), "/?signin=flow");
  await refused("flow", { extra: { state: null } });
  await refused("flow", { extra: { state: "" } });
  await refused("flow", { extra: { code: null } });
  // another provider's answer, and one that does not say whose it is although this provider does
  await refused("flow", { extra: { iss: "https://evil.example" } });
  await refused("flow", { extra: { iss: null } });
  await refused("denied", { extra: { error: "access_denied", code: null } });
  // a cookie of one's own making
  const forged = new Browser();
  await start(forged);
  const name = [...forged.cookies.keys()][0];
  const v = forged.cookies.get(name);
  forged.cookies.set(name, (v[0] === "A" ? "B" : "A") + v.slice(1));
  assert.equal((await forged.go(back)).headers.get("location"), "/?signin=flow");
});

test("the browser is sent to nobody else's page", async () => {
  for (const bad of ["https://evil.example", "//evil.example", "/\\evil.example", "/\t/evil.example", "javascript:alert(1)", "", "/a\r\nSet-Cookie: x=1"]) {
    assert.equal(await signIn(new Browser(), { query: `?return=${encodeURIComponent(bad)}` }), "/", bad);
  }
  const r = await fetch(`http://localhost:${new URL(a.url).port}/api/oidc/start?return=%2F%23ask`, { redirect: "manual" });
  assert.equal(r.headers.get("location"), `${a.url}/api/oidc/start?here=1&return=%2F%23ask`); // where the cookie belongs
});

test("tokens that must not be believed", async () => {
  const now = Math.floor(Date.now() / 1000);
  const claims = (change) => provider({ claims: change }, () => refused("provider"));
  await claims({ nonce: "another" });
  await claims({ nonce: undefined });
  await claims({ exp: now - 120, iat: now - 300 });
  await claims({ iat: now + 300 });
  await claims({ nbf: now + 300 });
  await claims({ aud: "somebody-else" });
  await claims({ aud: ["carrel", "somebody-else"] });
  await claims({ azp: "somebody-else" });
  await claims({ iss: "https://evil.example" });
  await claims({ sub: "" });
  const token = (fn) => provider({ token: fn }, () => refused("provider"));
  const part = (x) => Buffer.from(JSON.stringify(x)).toString("base64url");
  await token((c) => `${part({ alg: "none" })}.${part(c)}.`);
  await token((c) => {
    // the public key as everybody knows it, for a secret
    const input = `${part({ alg: "HS256", kid: "k1" })}.${part(c)}`;
    return `${input}.${createHmac("sha256", p.keys[0].publicKey.export({ type: "spki", format: "pem" })).update(input).digest("base64url")}`;
  });
  const mine = newKey("k1");
  await token((c) => signToken(mine, c)); // another key under the same name
  await token((c) => signToken(mine, c, { jwk: mine.jwk, kid: undefined }));
  await token((c) => signToken(p.keys[0], c, { typ: "at+jwt" }));
  await token((c) => signToken(p.keys[0], c).slice(0, -8));
  await token(() => "x".repeat(40_000));
  await provider({ tokenReply: { status: 200, body: { access_token: "x" } } }, () => refused("provider"));
  await provider({ tokenReply: { status: 400, body: { error: "invalid_grant" } } }, () => refused("provider"));
  await provider({ tokenReply: { status: 503, body: {} } }, () => refused("unavailable"));
  assert.equal(await signIn(), "/");
});

test("keys that change are fetched, but not at a stranger's will", async () => {
  assert.equal(await signIn(), "/");
  const before = p.counts.jwks;
  p.keys = [newKey("k2", "ES256"), ...p.keys];
  assert.equal(await signIn(), "/"); // signed with k2
  assert.equal(p.counts.jwks, before + 1);
  const ps = newKey("k3", "PS256");
  p.keys = [ps];
  assert.equal(await signIn(), "/");
  assert.equal(p.counts.jwks, before + 2);
  const nobodys = newKey("k4");
  for (let i = 0; i < 12; i++) {
    await provider({ token: (c) => signToken(nobodys, c) }, async () => assert.match(await signIn(), /signin=/));
  }
  assert.ok(p.counts.jwks <= before + 6, `${p.counts.jwks - before} fetches`);
  assert.equal(p.counts.discovery, 1);
});

test("the provider ends somebody's sessions", async () => {
  const b = new Browser();
  const other = new Browser();
  const staff = { name: "x", groups: ["staff"] };
  await provider({ person: { sub: "out", ...staff } }, async () => assert.equal(await signIn(b), "/"));
  await provider({ person: { sub: "in", ...staff } }, async () => assert.equal(await signIn(other), "/"));
  const now = Math.floor(Date.now() / 1000);
  const good = { iss: p.issuer, aud: "carrel", sub: "out", iat: now, exp: now + 120, jti: "1", events: { "http://schemas.openid.net/event/backchannel-logout": {} } };
  const end = (claims, header = { typ: "logout+jwt" }) =>
    fetch(`${a.url}/api/oidc/logout`, { method: "POST", body: new URLSearchParams({ logout_token: signToken(p.keys[0], claims, header) }) });
  assert.equal((await end({ ...good, nonce: "x" })).status, 400);
  assert.equal((await end({ ...good, events: {} })).status, 400);
  assert.equal((await end({ ...good, aud: "other" })).status, 400);
  assert.equal((await end({ ...good, exp: now - 100 })).status, 400);
  assert.equal((await b.go(`${a.url}/api/session`)).status, 200);
  assert.equal((await end(good)).status, 200);
  assert.equal((await b.go(`${a.url}/api/session`)).status, 401);
  assert.equal((await other.go(`${a.url}/api/session`)).status, 200);
});

test("nothing of a sign-in stands in the log", async () => {
  assert.ok(!a.output.includes("at-1"));
  assert.ok(!a.output.includes("eyJ"));
  assert.ok(!a.output.includes("Grace"));
});
