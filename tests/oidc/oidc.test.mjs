// Signing in through a provider that others wrote (npm's oidc-provider), as a browser does it: its login form, its
// question whether Carrel may know, a confidential client, userinfo, new keys, and the end at both.

import assert from "node:assert/strict";
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { chownSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { freePort, startAppliance, temporaryHome, until } from "../service/appliance.mjs";
import { Browser } from "../service/provider.mjs";

const Provider = await import("oidc-provider").then(
  (m) => m.default,
  (e) => {
    console.log(`SKIP: the provider cannot be loaded (cd tests/oidc && npm ci; node 20): ${e.message}`);
    process.exit(77);
  },
);

const secret = randomBytes(24).toString("base64url");
const people = { ada: { name: "Ada Lovelace", groups: ["staff"] }, eve: { name: "Eve", groups: ["guests"] } };
const key = (kid, kind) =>
  ({ ...(kind === "EC" ? generateKeyPairSync("ec", { namedCurve: "P-256" }) : generateKeyPairSync("rsa", { modulusLength: 2048 })).privateKey.export({ format: "jwk" }), kid, use: "sig" });

let a, server, issuer, appUrl;
function provider(keys, alg) {
  const p = new Provider(issuer, {
    clients: [
      {
        client_id: "carrel",
        client_secret: secret,
        redirect_uris: [`${appUrl}/api/oidc/callback`],
        post_logout_redirect_uris: [`${appUrl}/`],
        backchannel_logout_uri: `${appUrl}/api/oidc/logout`,
        id_token_signed_response_alg: alg,
      },
    ],
    jwks: { keys },
    cookies: { keys: ["test"] },
    claims: { openid: ["sub"], profile: ["name"], groups: ["groups"] },
    scopes: ["openid", "profile", "groups"],
    features: { devInteractions: { enabled: true }, backchannelLogout: { enabled: true } },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, ...people[id] }) }),
    fetch: (url, { method, headers, body, signal }) => fetch(url, { method, headers, body, signal }), // its dispatcher wants a newer node
    ttl: { Session: 600, Grant: 600, AccessToken: 600, IdToken: 600, Interaction: 600 },
  });
  p.on("server_error", (_, e) => console.error(e));
  return p.callback();
}

let handler;
before(async () => {
  const mine = await freePort();
  const theirs = await freePort();
  appUrl = `http://127.0.0.1:${mine}`;
  issuer = `http://localhost:${theirs}`; // another site
  handler = provider([key("r1", "RSA")], "RS256");
  server = createServer((req, res) => handler(req, res));
  await new Promise((done) => server.listen(theirs, "localhost", done));
  const home = temporaryHome();
  await (await startAppliance({ home })).stop({ keep: true });
  const { uid, gid } = statSync(join(home, "tenants")); // started by root it runs as another
  writeFileSync(join(home, "oidc.secret"), `${secret}\n`, { mode: 0o600 });
  chownSync(join(home, "oidc.secret"), uid, gid);
  a = await startAppliance({
    home,
    args: ["--port", String(mine)],
    config: `http:
  requests_per_minute: 0
oidc:
  issuer: ${issuer}
  client_id: carrel
  client_secret_file: oidc.secret
  redirect_uri: ${appUrl}/api/oidc/callback
  scopes: openid profile groups
  allow_private_address: true
directory_groups:
  - name: staff
    role: editor
    groups: [ward]
`,
  });
});

after(async () => {
  await a?.stop();
  server?.closeAllConnections();
  server?.close();
});

/** Goes where it is sent and fills in the provider's own forms. Two hosts, two jars. */
async function signIn(login, jars = { [new URL(appUrl).host]: new Browser(), [new URL(issuer).host]: new Browser() }) {
  let url = `${appUrl}/api/oidc/start`;
  for (let steps = 0; steps < 20; steps++) {
    const host = new URL(url).host;
    const r = await jars[host].go(url);
    if (r.status >= 300 && r.status < 400) {
      url = new URL(r.headers.get("location"), url).href;
      if (new URL(url).host === new URL(appUrl).host && !url.includes("/api/oidc/")) return { end: url.slice(appUrl.length), browser: jars[new URL(appUrl).host], jars };
      continue;
    }
    const page = await r.text();
    const action = /action="([^"]+)"/.exec(page)?.[1];
    assert.ok(r.status === 200 && action, `${r.status} ${page.slice(0, 2000)}`);
    const prompt = /name="prompt" value="([^"]+)"/.exec(page)[1];
    const form = new URLSearchParams(prompt === "login" ? { prompt, login, password: "any" } : { prompt });
    const sent = await jars[host].go(new URL(action, url).href, { method: "POST", body: form });
    assert.ok(sent.status === 303 || sent.status === 302, String(sent.status));
    url = new URL(sent.headers.get("location"), url).href;
  }
  assert.fail("no end");
}

test("a person of the provider's signs in", async () => {
  const { end, browser } = await signIn("ada");
  assert.equal(end, "/");
  const who = await (await browser.go(`${appUrl}/api/session`)).json();
  assert.equal(who.user, "Ada Lovelace");
  assert.equal(who.role, "editor");
});

test("one without a role does not", async () => {
  const { end, browser } = await signIn("eve");
  assert.equal(end, "/?signin=role");
  assert.equal((await browser.go(`${appUrl}/api/session`)).status, 401);
});

test("the provider changes its keys", async () => {
  handler = provider([key("e1", "EC"), key("r2", "RSA")], "ES256");
  assert.equal((await signIn("ada")).end, "/");
  handler = provider([key("r3", "RSA")], "PS256");
  assert.equal((await signIn("ada")).end, "/");
});

test("whoever signs out at the provider is signed out here", async () => {
  const { browser, jars } = await signIn("ada");
  const { oidc } = await (await fetch(`${appUrl}/api/session/ways`)).json();
  const at = jars[new URL(issuer).host];
  const page = await (await at.go(oidc.sign_out)).text();
  const xsrf = /name="xsrf" value="([^"]+)"/.exec(page)[1];
  const action = /action="([^"]+)"/.exec(page)[1];
  assert.equal((await browser.go(`${appUrl}/api/session`)).status, 200);
  const done = await at.go(action, { method: "POST", body: new URLSearchParams({ xsrf, logout: "yes" }) });
  assert.equal(done.headers.get("location"), `${appUrl}/`);
  await until("the session is over", async () => (await browser.go(`${appUrl}/api/session`)).status === 401);
});
