// Parts, conditions and codings: the page's files by serve alone, originals by an appliance.

import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { execFileSync } from "node:child_process";
import { startAppliance } from "./appliance.mjs";
import { raw, startServe } from "./serve_alone.mjs";

const script = Array.from({ length: 3000 }, (_, i) => `export const name${i} = ${i * 7919};\n`).join("");
const picture = Buffer.from(Array.from({ length: 5000 }, (_, i) => (i * 2654435761) >>> 24));
let web, s, a;

before(async () => {
  web = mkdtempSync(join(tmpdir(), "carrel-web-"));
  mkdirSync(join(web, "assets"));
  writeFileSync(join(web, "index.html"), "<!doctype html><title>x</title>");
  writeFileSync(join(web, "assets/app-abc.js"), script);
  writeFileSync(join(web, "assets/dot-abc.png"), picture);
  writeFileSync(join(web, "assets/empty-abc.txt"), "");
  s = await startServe({ config: "http:\n  requests_per_minute: 0\n", args: ["--web", web] });
});
after(async () => {
  assert.deepEqual(await s.stop(), { code: 0, signal: null }, s.log.slice(-3000));
  await a?.stop();
  rmSync(web, { recursive: true, force: true });
});

/** One request by hand: fetch would undo the coding and add headers of its own. */
async function ask(port, path, headers = {}, method = "GET") {
  const lines = Object.entries(headers).map(([k, v]) => `${k}: ${v}\r\n`).join("");
  const r = await raw(port, `${method} ${path} HTTP/1.1\r\nHost: localhost\r\n${lines}Connection: close\r\n\r\n`);
  const cut = r.text.indexOf("\r\n\r\n");
  const got = Object.fromEntries(r.text.slice(0, cut).split("\r\n").slice(1).map((l) => [l.slice(0, l.indexOf(":")).toLowerCase(), l.slice(l.indexOf(":") + 2)]));
  return { status: r.status, headers: got, body: Buffer.from(r.text.slice(cut + 4), "latin1") };
}

test("the page's files: codings made at start, each with a tag of its own", async () => {
  const js = "/assets/app-abc.js";
  const plain = await ask(s.port, js);
  assert.equal(plain.body.toString(), script);
  assert.equal(plain.headers["content-encoding"], undefined);
  assert.equal(plain.headers.vary, "Accept-Encoding");
  assert.equal(plain.headers["accept-ranges"], "bytes");
  const gz = await ask(s.port, js, { "Accept-Encoding": "gzip, deflate, br" });
  assert.equal(gz.headers["content-encoding"], "gzip");
  assert.equal(Number(gz.headers["content-length"]), gz.body.length);
  assert.ok(gz.body.length < script.length / 2);
  assert.equal(gunzipSync(gz.body).toString(), script);
  const z = await ask(s.port, js, { "Accept-Encoding": "gzip;q=0.5, zstd" });
  assert.equal(z.headers["content-encoding"], "zstd");
  assert.deepEqual([...z.body.subarray(0, 4)], [0x28, 0xb5, 0x2f, 0xfd]);
  assert.equal(new Set([plain, gz, z].map((r) => r.headers.etag)).size, 3);
  assert.equal((await ask(s.port, js, { "Accept-Encoding": "gzip;q=0, identity" })).headers["content-encoding"], undefined);
  const known = await ask(s.port, js, { "Accept-Encoding": "gzip", "If-None-Match": `"x", ${gz.headers.etag}` });
  assert.equal(known.status, 304);
  assert.equal(known.body.length, 0);
  assert.equal(known.headers.etag, gz.headers.etag);
  assert.equal(known.headers.vary, "Accept-Encoding");
  assert.equal((await ask(s.port, js, { "If-None-Match": gz.headers.etag })).status, 200, "another coding is another version");
  const head = await ask(s.port, js, { "Accept-Encoding": "gzip" }, "HEAD");
  assert.equal(Number(head.headers["content-length"]), gz.body.length);
  assert.equal(head.body.length, 0);
  const png = await ask(s.port, "/assets/dot-abc.png", { "Accept-Encoding": "gzip, zstd" });
  assert.equal(png.headers["content-encoding"], undefined, "what does not shrink is not packed");
  assert.equal(png.headers.vary, undefined);
  assert.ok(png.body.equals(picture));
});

test("the page's files: parts", async () => {
  const path = "/assets/dot-abc.png";
  const { etag } = (await ask(s.port, path)).headers;
  for (const [range, from, to] of [["bytes=0-0", 0, 0], ["bytes=100-199", 100, 199], ["bytes=4990-", 4990, 4999], ["bytes=-10", 4990, 4999], ["bytes=4000-9999999", 4000, 4999]]) {
    const r = await ask(s.port, path, { Range: range });
    assert.equal(r.status, 206, range);
    assert.equal(r.headers["content-range"], `bytes ${from}-${to}/5000`);
    assert.equal(Number(r.headers["content-length"]), to - from + 1);
    assert.ok(r.body.equals(picture.subarray(from, to + 1)));
  }
  for (const range of ["bytes=0-1,5-6", "bytes=9-1", "pages=1-2", "bytes=x"]) {
    const r = await ask(s.port, path, { Range: range });
    assert.equal(r.status, 200, range);
    assert.equal(r.body.length, 5000);
    assert.equal(r.headers["content-range"], undefined);
  }
  const outside = await ask(s.port, path, { Range: "bytes=5000-" });
  assert.equal(outside.status, 416);
  assert.equal(outside.headers["content-range"], "bytes */5000");
  assert.equal(outside.headers["cache-control"], "no-store");
  assert.equal(JSON.parse(outside.body).error.code, "range_not_satisfiable");
  assert.equal((await ask(s.port, "/assets/empty-abc.txt", { Range: "bytes=0-" })).status, 416);
  assert.equal((await ask(s.port, path, { Range: "bytes=0-9", "If-Range": etag })).status, 206);
  assert.equal((await ask(s.port, path, { Range: "bytes=0-9", "If-Range": '"old"' })).status, 200);
  const other = await ask(s.port, path, { "If-Match": '"old"', "Accept-Encoding": "gzip" });
  assert.equal(other.status, 412);
  assert.equal(other.headers["content-encoding"], undefined);
  assert.equal(other.headers.etag, etag, "what it is now");
  const js = await ask(s.port, "/assets/app-abc.js", { Range: "bytes=0-5", "Accept-Encoding": "gzip" });
  assert.equal(js.headers["content-encoding"], undefined, "parts are of the file itself");
  assert.equal(js.body.toString(), "export");
  assert.equal((await ask(s.port, path, { Range: "bytes=0-5" }, "HEAD")).status, 200);
});

test("JSON that did not change is not sent again", async () => {
  const auth = { Authorization: `Bearer ${s.key}` };
  const first = await ask(s.port, "/api/keys", auth);
  assert.equal(first.status, 200);
  assert.match(first.headers.etag, /^"[0-9a-f]{32}"$/);
  const again = await ask(s.port, "/api/keys", { ...auth, "If-None-Match": first.headers.etag });
  assert.equal(again.status, 304);
  assert.equal(again.body.length, 0);
  assert.equal((await ask(s.port, "/api/keys", { ...auth, "If-None-Match": '"other"' })).status, 200);
  assert.equal((await ask(s.port, "/api/keys", { "If-None-Match": first.headers.etag })).status, 401, "who may not see it is not told");
});

test("large JSON is compressed for keys, not for cookies", async () => {
  const t = await startServe({ config: "http:\n  requests_per_minute: 0\n  compress_above: 64\n" });
  try {
    const accept = { "Accept-Encoding": "gzip" };
    const byKey = await ask(t.port, "/v1/models", { ...accept, Authorization: `Bearer ${t.key}` });
    assert.equal(byKey.headers["content-encoding"], "gzip");
    assert.equal(byKey.headers.vary, "Accept-Encoding");
    assert.ok(JSON.parse(gunzipSync(byKey.body)).data.length > 0);
    const zstd = await ask(t.port, "/v1/models", { "Accept-Encoding": "gzip, zstd", Authorization: `Bearer ${t.key}` });
    assert.equal(zstd.headers["content-encoding"], "zstd");
    const plain = await ask(t.port, "/v1/models", { Authorization: `Bearer ${t.key}` });
    assert.equal(plain.headers["content-encoding"], undefined);
    assert.equal(plain.headers.vary, "Accept-Encoding");
    const login = await fetch(t.url + "/api/session", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ key: t.key }), signal: AbortSignal.timeout(20_000) });
    const cookie = login.headers.get("set-cookie").split(";")[0];
    const byCookie = await ask(t.port, "/v1/models", { ...accept, Cookie: cookie });
    assert.equal(byCookie.status, 200);
    assert.equal(byCookie.headers["content-encoding"], undefined);
  } finally {
    await t.stop();
  }
});

test("originals: parts, conditions, the hash as tag", async () => {
  a = await startAppliance();
  const port = Number(new URL(a.url).port);
  const text = Array.from({ length: 40_000 }, (_, i) => `Line ${i} of the ledger.\n`).join("");
  a.drop("ledger.txt", text);
  const [doc] = await a.settled({ n: 1 });
  const path = `/api/documents/${doc.id}/original`;
  const auth = { Authorization: `Bearer ${a.key}` };
  const whole = await ask(port, path, auth);
  assert.equal(whole.status, 200);
  assert.equal(whole.body.toString(), text);
  const etag = whole.headers.etag;
  assert.equal(etag, `"${createHash("sha256").update(text).digest("hex")}"`);
  for (const [range, from, to] of [["bytes=0-9", 0, 9], ["bytes=262100-262200", 262100, 262200], ["bytes=65535-400000", 65535, 400000], ["bytes=-100", text.length - 100, text.length - 1]]) {
    const r = await ask(port, path, { ...auth, Range: range });
    assert.equal(r.status, 206, range);
    assert.equal(r.headers["content-range"], `bytes ${from}-${to}/${text.length}`);
    assert.equal(r.body.toString(), text.slice(from, to + 1));
    assert.match(r.headers["content-disposition"], /ledger\.txt/);
  }
  assert.equal((await ask(port, path, { ...auth, Range: `bytes=${text.length}-` })).status, 416);
  assert.equal((await ask(port, path, { ...auth, "If-None-Match": etag })).status, 304);
  assert.equal((await ask(port, path, { ...auth, "If-Match": '"x"' })).status, 412);
  assert.equal((await ask(port, path, { ...auth, Range: "bytes=0-4", "If-Range": '"x"' })).body.length, text.length);
  assert.equal((await ask(port, path, { ...auth, Range: "bytes=0-4", "If-Range": etag })).body.toString(), "Line ");
  assert.equal((await ask(port, path, { ...auth, "If-None-Match": '"x"' })).body.length, text.length);
  assert.equal((await ask(port, path, { Range: "bytes=0-4" })).status, 401);
  assert.equal((await ask(port, "/api/documents/00000000000000000000000000/original", { ...auth, Range: "bytes=0-4" })).status, 404);
  const head = await ask(port, path, auth, "HEAD");
  assert.equal(Number(head.headers["content-length"]), text.length);
  // what curl makes of a broken download
  const rest = execFileSync("curl", ["-s", "--max-time", "30", "-C", "100000", "-H", `Authorization: ${auth.Authorization}`, a.url + path], { maxBuffer: 1 << 24 });
  assert.equal(rest.toString(), text.slice(100_000));
});
