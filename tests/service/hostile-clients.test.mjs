// Clients that mean ill, at every address that the description of the API names: bombs of JSON, names that climb, lines smuggled into
// headers and logs, other sites' pages.
import assert from "node:assert/strict";
import { connect } from "node:net";
import { existsSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { startAppliance } from "./appliance.mjs";

let a, doc;
before(async () => {
  a = await startAppliance();
  a.drop("visit.md", "# Visitors\n\nVisitors park their cars behind the solar tower.\n");
  await a.settled({ n: 1 });
  doc = await (await a.request("/openapi.json", { key: null })).json();
});
after(async () => a?.stop());

const raw = (path, method, body, headers = {}) => fetch(a.url + path, { method, body, headers: { authorization: `Bearer ${a.key}`, "content-type": "application/json", ...headers } });

/** What is sent byte for byte; the head of what comes back. */
const bytes = (text) =>
  new Promise((done, fail) => {
    const s = connect(Number(new URL(a.url).port), "127.0.0.1");
    let got = "";
    s.setTimeout(60_000, () => s.destroy());
    s.on("data", (d) => {
      got += d;
      s.setTimeout(5000); // what stays open after its answer says no more
    });
    s.on("close", () => done(got));
    s.on("error", fail);
    s.write(text); // a client that shuts its side has left
  });

test("bombs of JSON, doubled keys and broken UTF-8 are refused at every address that takes JSON", { timeout: 180_000 }, async () => {
  const bombs = {
    "nested 10,000 deep": "[".repeat(10_000) + "]".repeat(10_000),
    "objects 10,000 deep": '{"a":'.repeat(10_000) + "1" + "}".repeat(10_000),
    "doubled keys": '{"model":"carrel","model":"carrel:other","messages":[]}',
    "not UTF-8": Buffer.from([0x7b, 0x22, 0x61, 0x22, 0x3a, 0x22, 0xff, 0xfe, 0x22, 0x7d]),
    "a lone surrogate": '{"model":"\\ud800"}',
    "two values": "{} {}",
    "no object": "[]",
    "a number too long": `{"limit":${"9".repeat(5000)}}`,
  };
  let n = 0;
  for (const [path, item] of Object.entries(doc.paths)) {
    for (const [verb, op] of Object.entries(item)) {
      if (!op.requestBody?.content["application/json"] || path === "/api/session") continue;
      for (const [name, body] of Object.entries(bombs)) {
        const r = await raw(path.replace(/\{[^}]+\}/g, "00000000000000000000000000"), verb.toUpperCase(), body);
        const text = await r.text();
        // what an address looks at first is its own affair; nothing is taken, and nothing breaks
        const rpc = path === "/mcp" && r.status === 200 && /"error"/.test(text);
        assert.ok((r.status >= 400 && r.status < 500) || rpc || (name === "a number too long" && r.status < 500), `${verb} ${path}, ${name}: ${r.status} ${text.slice(0, 300)}`);
        n++;
      }
    }
  }
  assert.ok(n > 200, `${n}`);
  assert.equal((await a.request("/api/health", { key: null })).status, 200);
});

test("names that climb out stay in the folder or are refused", { timeout: 180_000 }, async () => {
  const outside = dirname(a.home);
  const before = readdirSync(outside).sort();
  for (const name of ["../evil.md", "..%2f..%2fevil.md", "/etc/evil.md", "a/../../evil.md", "..\\evil.md", "%2e%2e/evil.md", "a\u0000b.md", ".", "..", "x/./../../evil.md", "../../run/serve.port", ".carrel.yaml"]) {
    const r = await raw(`/api/documents?path=${encodeURIComponent(name)}`, "POST", "evil", { "content-type": "application/octet-stream" });
    await r.text();
    assert.ok(r.status < 500, `${name}: ${r.status}`);
    const form = new FormData();
    form.append("file", new Blob(["evil"]), name);
    const f = await fetch(`${a.url}/api/documents`, { method: "POST", body: form, headers: { authorization: `Bearer ${a.key}` } });
    await f.text();
    assert.ok(f.status < 500, `${name}: ${f.status}`);
  }
  assert.deepEqual(readdirSync(outside).sort(), before);
  for (const path of ["evil.md", "run/evil.md", "tenants/evil.md", "system/evil.md"]) assert.equal(existsSync(join(a.home, path)), false, path);
  for (const path of ["/../../etc/passwd", "/assets/../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2fadmin.key", "/api/documents/..%2f..%2f/original", "/admin.key", "/.git/config"]) {
    const head = await bytes(`GET ${path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${a.key}\r\nConnection: close\r\n\r\n`);
    assert.match(head, /^HTTP\/1\.1 (400|404)/, path);
    assert.doesNotMatch(head, /root:|carrel_[0-9a-z]{40}/, path);
  }
});

test("nothing that is sent becomes a header line of an answer, or a line of the log", { timeout: 180_000 }, async () => {
  const evil = 'x\r\nSet-Cookie: stolen=1\r\n\r\n<script>';
  const marks = [];
  for (const path of ["/api/documents/{x}", "/api/conversations/{x}", "/api/shared/{x}", "/v1/models/{x}", "/v1/responses/{x}", "/api/answers/{x}", "/api/documents?q={x}", "/{x}"]) {
    const r = await a.request(path.replace("{x}", encodeURIComponent(evil)));
    await r.text();
    assert.equal(r.headers.get("set-cookie"), null, path);
    marks.push(path);
  }
  const up = await raw(`/api/documents?path=${encodeURIComponent('a"\r\nX-Evil: 1\r\n.md')}`, "POST", "# Evil\n\nA name of several lines.\n", { "content-type": "application/octet-stream" });
  await up.text();
  assert.ok(up.status < 500);
  if (up.status === 201) {
    await a.settled({ n: 2 });
    for (const d of await a.documents()) {
      const r = await a.request(`/api/documents/${d.id}/original`);
      await r.arrayBuffer();
      assert.equal(r.headers.get("x-evil"), null);
    }
  }
  const forged = "level=error msg=forged";
  await a.request(`/api/documents?q=${encodeURIComponent(`\n${forged}\n`)}`);
  await bytes(`GET /x HTTP/1.1\r\nHost: localhost\r\nUser-Agent: a\\n${forged}\r\nX-Request-Id: b ${forged}\r\nAuthorization: Bearer \t${forged}\r\nConnection: close\r\n\r\n`);
  await a.post("/v1/chat/completions", { model: "carrel", messages: [{ role: "user", content: `Where do visitors park?\n${forged}\n` }] });
  await a.request("/api/keys", { method: "POST", body: { name: `n\n${forged}` } });
  for (const line of a.output.split("\n")) {
    assert.equal(line.startsWith(forged), false, line);
    assert.ok(line === "" || !/^\S*set-cookie: stolen/i.test(line), line);
  }
});

test("another site's page gets nothing: no reading across, no writing without the token, no stream", { timeout: 180_000 }, async () => {
  const origin = { origin: "https://evil.example", "sec-fetch-site": "cross-site" };
  const s = await fetch(`${a.url}/api/session`, { method: "POST", body: JSON.stringify({ key: a.key }), headers: { "content-type": "application/json" } });
  const cookie = s.headers.get("set-cookie");
  assert.match(cookie, /HttpOnly; SameSite=Strict/);
  const jar = cookie.split(";")[0];
  const ask = JSON.stringify({ model: "carrel", stream: true, messages: [{ role: "user", content: "Where do visitors park?" }] });
  // as if the browser had sent the cookie along all the same
  for (const headers of [{ "content-type": "application/json" }, { "content-type": "text/plain" }, { "content-type": "application/x-www-form-urlencoded" }]) {
    const r = await fetch(`${a.url}/v1/chat/completions`, { method: "POST", body: ask, headers: { ...headers, ...origin, cookie: jar } });
    const text = await r.text();
    assert.ok(r.status === 403 || r.status === 415, `${r.status}`);
    assert.doesNotMatch(text, /tower/);
    assert.equal(r.headers.get("access-control-allow-origin"), null);
  }
  const pre = await fetch(`${a.url}/v1/chat/completions`, { method: "OPTIONS", headers: { ...origin, "access-control-request-method": "POST" } });
  await pre.text();
  assert.equal(pre.headers.get("access-control-allow-origin"), null);
  // a stream that a page could open by GET is not there; and nothing upgrades
  for (const path of ["/v1/chat/completions", "/mcp", "/v1/responses"]) {
    const r = await fetch(a.url + path, { headers: { accept: "text/event-stream", cookie: jar, ...origin } });
    await r.text();
    assert.equal(r.status, 405, path);
  }
  const up = await bytes(`GET /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nCookie: ${jar}\r\nOrigin: https://evil.example\r\n\r\n`);
  assert.doesNotMatch(up, /^HTTP\/1\.1 101/);
  for (const [verb, path] of [["DELETE", "/api/conversations"], ["POST", "/api/erasures"], ["POST", "/api/keys"], ["DELETE", "/api/session"]]) {
    const r = await fetch(a.url + path, { method: verb, body: verb === "POST" ? "{}" : undefined, headers: { "content-type": "application/json", ...origin, cookie: jar } });
    await r.text();
    assert.equal(r.status, 403, `${verb} ${path}`);
  }
});

test("oversized everything: head, address, headers, body, name", { timeout: 180_000 }, async () => {
  for (const [what, text] of [
    ["address", `GET /${"a".repeat(200_000)} HTTP/1.1\r\nHost: localhost\r\n\r\n`],
    ["header", `GET / HTTP/1.1\r\nHost: localhost\r\nX: ${"a".repeat(200_000)}\r\n\r\n`],
    ["headers", `GET / HTTP/1.1\r\nHost: localhost\r\n${"X: a\r\n".repeat(20_000)}\r\n`],
    ["length", `POST /api/search HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${a.key}\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n{`],
    ["length that is none", `POST /api/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999999999\r\n\r\n{`],
  ]) {
    const head = await bytes(text).catch((e) => `HTTP/1.1 4xx ${e.code}`);
    assert.ok(head === "" || /^HTTP\/1\.1 4/.test(head), `${what}: ${head.slice(0, 100)}`);
  }
  const r = await raw(`/api/documents?path=${"n".repeat(5000)}.md`, "POST", "x", { "content-type": "application/octet-stream" });
  await r.text();
  assert.ok(r.status >= 400 && r.status < 500, `${r.status}`);
  assert.equal((await a.request("/api/health", { key: null })).status, 200);
});
