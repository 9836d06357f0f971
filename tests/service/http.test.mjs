// The HTTP layer of serve against people who mean no good, and against broken clients. No other service runs.

import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import https from "node:https";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { until } from "./appliance.mjs";
import { quiet, raw, startServe } from "./serve_alone.mjs";

let s;
const GET = (path, more = "") => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n${more}\r\n`;

before(async () => {
  s = await startServe({
    config: `http:
  header_timeout: 1500ms
  idle_timeout: 2s
  request_timeout: 8s
  max_body_bytes: 64KiB
  max_upload_bytes: 128KiB
  requests_per_minute: 0
`,
  });
});

after(async () => {
  const end = await s.stop();
  assert.deepEqual(end, { code: 0, signal: null }, s.log.slice(-3000));
});

const auth = () => `Authorization: Bearer ${s.key}\r\n`;

test("health tells up or down, and nothing more, without a key", async () => {
  const r = await fetch(s.url + "/api/health");
  assert.equal(r.status, 503);
  assert.equal(await r.text(), '{"status":"down"}');
  assert.match(r.headers.get("x-request-id"), /^[0-9a-z]{26}$/);
  assert.equal(r.headers.get("x-content-type-options"), "nosniff");
});

test("every other call needs a key; errors have OpenAI's shape", async () => {
  for (const [method, path] of [["GET", "/v1/models"], ["POST", "/v1/chat/completions"], ["POST", "/v1/embeddings"], ["POST", "/api/search"], ["GET", "/api/documents"], ["POST", "/api/documents"], ["DELETE", "/api/documents/x"], ["GET", "/api/progress"], ["GET", "/api/status"], ["GET", "/metrics"], ["GET", "/api/session"], ["GET", "/api/answers/x"]]) {
    for (const authorization of [undefined, "Bearer carrel_wrong", "Basic eDp5"]) {
      const r = await fetch(s.url + path, { method, headers: authorization ? { authorization } : {} });
      const e = (await r.json()).error;
      assert.ok(r.status === 401 || (authorization && r.status === 429), `${method} ${path}: ${r.status}`);
      assert.equal(typeof e.message, "string");
      assert.equal(typeof e.type, "string");
      assert.ok("param" in e && "code" in e);
    }
  }
});

test("too many wrong keys are slowed down; the right one still works", async () => {
  let slowed;
  for (let i = 0; i < 40 && !slowed; i++) {
    const r = await fetch(s.url + "/v1/models", { headers: { authorization: `Bearer carrel_${i}` } });
    await r.text();
    if (r.status === 429) slowed = r;
    else assert.equal(r.status, 401);
  }
  assert.ok(slowed, "429 came");
  assert.ok(Number(slowed.headers.get("retry-after")) >= 1);
  const r = await fetch(s.url + "/v1/models", { headers: { authorization: `Bearer ${s.key}` } });
  assert.equal(r.status, 200);
  assert.ok((await r.json()).data.some((m) => m.id === "carrel"));
});

test("unknown addresses, wrong methods", async () => {
  const key = { authorization: `Bearer ${s.key}` };
  assert.equal((await fetch(s.url + "/nothing", { headers: key })).status, 404);
  assert.equal((await fetch(s.url + "/api/../etc/passwd")).status, 404);
  assert.equal((await raw(s.port, GET("/../../etc/passwd", "Connection: close\r\n"))).status, 404);
  assert.equal((await raw(s.port, GET("/assets/%2e%2e/%2e%2e/etc/passwd", "Connection: close\r\n"))).status, 404);
  const r = await fetch(s.url + "/api/search", { headers: key });
  assert.equal(r.status, 405);
  assert.equal(r.headers.get("allow"), "POST");
});

test("JSON: malformed, too deep, doubled keys, wrong type, too large", async () => {
  const post = (body, type = "application/json") =>
    fetch(s.url + "/api/search", { method: "POST", body, headers: { authorization: `Bearer ${s.key}`, "content-type": type } });
  for (const body of ["", "{", "{}{}", "[1]", '{"query":"a","query":"b"}', '{"query":"\ud800"}', "[".repeat(10_000), '{"query":1}', '{"query":""}', '{"query":"x","top_k":0}', '{"query":"x","mode":"magic"}', '{"query":"x","collections":["",1]}']) {
    const r = await post(body);
    assert.equal(r.status, body === '{"query":"\ud800"}' ? r.status : 400, body.slice(0, 40));
    assert.equal(typeof (await r.json()).error.message, "string");
  }
  assert.equal((await post('{"query":"x"}', "text/plain")).status, 415);
  assert.equal((await post(JSON.stringify({ query: "x".repeat(100_000) }))).status, 413);
});

test("parts that are down: 503 in words, with Retry-After", async () => {
  const key = { authorization: `Bearer ${s.key}`, "content-type": "application/json" };
  const search = await fetch(s.url + "/api/search", { method: "POST", headers: key, body: '{"query":"x"}' });
  assert.equal(search.status, 503);
  assert.ok(search.headers.get("retry-after"));
  assert.match((await search.json()).error.message, /\w/);
  const chat = await fetch(s.url + "/v1/chat/completions", { method: "POST", headers: key, body: '{"model":"carrel","messages":[{"role":"user","content":"x"}]}' });
  assert.equal(chat.status, 503);
  const status = await (await fetch(s.url + "/api/status", { headers: key })).json();
  assert.equal(status.status, "degraded");
  assert.ok(status.services.every((x) => x.up === false));
  const metrics = await (await fetch(s.url + "/metrics", { headers: key })).text();
  assert.match(metrics, /carrel_service_up\{service="retrieve"\} 0/);
  assert.match(metrics, /carrel_serve_http_requests_total\{class="4xx"\} [1-9]/);
});

test("chat requests are checked before anything is asked", async () => {
  const ask = async (body) => {
    const r = await fetch(s.url + "/v1/chat/completions", { method: "POST", headers: { authorization: `Bearer ${s.key}`, "content-type": "application/json" }, body: JSON.stringify(body) });
    return { status: r.status, error: (await r.json()).error };
  };
  const messages = [{ role: "user", content: "x" }];
  const unknown = await ask({ model: "gpt-4o", messages });
  assert.equal(unknown.status, 404);
  assert.equal(unknown.error.code, "model_not_found");
  assert.equal((await ask({ messages })).status, 400);
  assert.equal((await ask({ model: "carrel" })).error.param, "messages");
  assert.equal((await ask({ model: "carrel", messages: [] })).status, 400);
  assert.equal((await ask({ model: "carrel", messages, temperature: 7 })).error.param, "temperature");
});

test("a session: cookie, CSRF token, end", async () => {
  const login = await fetch(s.url + "/api/session", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ key: s.key }) });
  assert.equal(login.status, 201);
  const cookie = login.headers.get("set-cookie");
  assert.match(cookie, /HttpOnly/);
  assert.match(cookie, /SameSite=Strict/);
  const headers = { cookie: cookie.split(";")[0] };
  const me = await (await fetch(s.url + "/api/session", { headers })).json();
  assert.equal(me.tenant, "main");
  assert.equal(typeof me.csrf, "string");
  const write = (more) => fetch(s.url + "/api/search", { method: "POST", headers: { ...headers, "content-type": "application/json", ...more }, body: '{"query":"x"}' });
  assert.equal((await write({})).status, 403);
  assert.equal((await write({ "x-csrf-token": "wrong" })).status, 403);
  assert.equal((await write({ "x-csrf-token": me.csrf })).status, 503); // let through: retrieve is down
  const foreign = await fetch(s.url + "/api/session", { method: "POST", headers: { "content-type": "application/json", "sec-fetch-site": "cross-site" }, body: JSON.stringify({ key: s.key }) });
  assert.equal(foreign.status, 403);
  assert.equal((await fetch(s.url + "/api/session", { method: "DELETE", headers: { ...headers, "x-csrf-token": me.csrf } })).status, 204);
  assert.equal((await fetch(s.url + "/api/session", { headers })).status, 401);
});

test("a foreign Host is refused while only this machine is served", async () => {
  for (const [host, status] of [["evil.example", 421], ["localhost.evil.example", 421], [`localhost:${s.port}`, 503], ["127.0.0.1", 503], ["[::1]", 503]]) {
    const r = await raw(s.port, `GET /api/health HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
    assert.equal(r.status, status, host);
  }
});

test("smuggling and malformed requests: refused, and the connection ends", async () => {
  const post = (headers, body = "") => `POST /api/search HTTP/1.1\r\nHost: localhost\r\n${auth()}${headers}\r\n\r\n${body}`;
  const cases = {
    "CL and TE": post("Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\nGET /x HTTP/1.1\r\n\r\n"),
    "two CL": post("Content-Length: 5\r\nContent-Length: 6", "hello!"),
    "two equal CL": post("Content-Length: 5\r\nContent-Length: 5", "hello"),
    "CL list": post("Content-Length: 5, 5", "hello"),
    "CL sign": post("Content-Length: +5", "hello"),
    "CL hex": post("Content-Length: 0x5", "hello"),
    "TE not chunked": post("Transfer-Encoding: identity", "hello"),
    "TE list": post("Transfer-Encoding: gzip, chunked", "0\r\n\r\n"),
    "TE obfuscated": post("Transfer-Encoding: xchunked", "0\r\n\r\n"),
    "space before colon": post("Transfer-Encoding : chunked", "0\r\n\r\n"),
    "bare CR in value": post("X: a\rTransfer-Encoding: chunked", "0\r\n\r\n"),
    "bare LF": "GET / HTTP/1.1\nHost: localhost\n\n",
    "folded": GET("/", "X: a\r\n b\r\n"),
    "NUL": GET("/", "X: a\0b\r\n"),
    "no host": "GET / HTTP/1.1\r\n\r\n",
    "two hosts": GET("/", "Host: other\r\n"),
    "space in target": GET("/a b"),
    "bad version": "GET / HTTP/3.0\r\nHost: localhost\r\n\r\n",
    "bad chunk size": post("Transfer-Encoding: chunked", "zz\r\nhello\r\n0\r\n\r\n"),
    "huge chunk size": post("Transfer-Encoding: chunked", "fffffffffffffffff\r\n"),
    "chunk too long": post("Transfer-Encoding: chunked", "3\r\nhello\r\n0\r\n\r\n"),
    "trailer": post("Transfer-Encoding: chunked", "0\r\nX: y\r\n\r\n"),
    "unknown method": "BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "TLS hello": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    garbage: "\xff\xfe\xfd garbage\r\n\r\n",
    "HTTP/2 preface": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
  };
  for (const [name, bytes] of Object.entries(cases)) {
    const r = await raw(s.port, bytes);
    assert.ok([400, 501, 505].includes(r.status), `${name}: ${r.text.slice(0, 200)}`);
    assert.equal(r.statuses.length, 1, `${name}: one answer only\n${r.text}`);
    assert.ok(r.ended, `${name}: closed`);
  }
});

test("heads over the limits", async () => {
  assert.equal((await raw(s.port, GET("/", `X: ${"a".repeat(40_000)}\r\n`))).status, 431);
  assert.equal((await raw(s.port, GET("/", "X: y\r\n".repeat(200)))).status, 431);
  assert.equal((await raw(s.port, GET("/" + "a".repeat(10_000)))).status, 414);
});

test("keep-alive, pipelining, and bodies cut at every byte", async () => {
  const r = await raw(s.port, GET("/api/health") + GET("/nothing", auth()) + GET("/api/health", "Connection: close\r\n"));
  assert.deepEqual(r.statuses, [503, 404, 503]);
  const bad = `POST /api/search HTTP/1.1\r\nHost: localhost\r\n${auth()}Transfer-Encoding: chunked\r\n\r\n3\r\n{"a\r\n4\r\n":1}\r\n0\r\n\r\n`;
  const slow = await raw(s.port, [...bad, GET("/api/health", "Connection: close\r\n")]);
  assert.deepEqual(slow.statuses, [400, 503]); // query is missing; the next request is read
  const old = await raw(s.port, "GET /api/health HTTP/1.0\r\n\r\n");
  assert.equal(old.status, 503);
  assert.ok(old.ended);
  const head = await raw(s.port, "HEAD /api/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  assert.equal(head.text.split("\r\n\r\n")[1], "");
});

test("Expect: 100-continue, and a body that is refused before it is sent", async () => {
  const head = (len) => `POST /api/search HTTP/1.1\r\nHost: localhost\r\n${auth()}Expect: 100-continue\r\nContent-Length: ${len}\r\n\r\n`;
  const small = await raw(s.port, [head(2), 200, "{}", GET("/api/health", "Connection: close\r\n")]);
  assert.deepEqual(small.statuses, [100, 400, 503]);
  const large = await raw(s.port, head(10_000_000));
  assert.deepEqual(large.statuses, [413]);
  assert.ok(large.ended);
});

test("a large refused body still lets the answer through", async () => {
  const body = Buffer.alloc(3_000_000, "x");
  const r = await fetch(s.url + "/api/documents?path=big.txt", { method: "POST", body, headers: { authorization: `Bearer ${s.key}` } });
  assert.equal(r.status, 413);
  assert.equal((await r.json()).error.code, "too_large");
});

test("slow-loris, half-open and silent connections are timed out", async () => {
  const silent = await raw(s.port, []);
  assert.ok(silent.ended, "a connection that says nothing");
  const drip = [];
  for (let i = 0; i < 300; i++) drip.push("X", 200);
  const t0 = Date.now();
  const loris = await raw(s.port, ["GET / HTTP/1.1\r\n", ...drip]);
  assert.equal(loris.status, 408);
  assert.ok(Date.now() - t0 < 40_000, "a head that never ends");
  const body = await raw(s.port, `POST /api/search HTTP/1.1\r\nHost: localhost\r\n${auth()}Content-Length: 100\r\n\r\n{`);
  assert.equal(body.status, 408, "a body that stands still");
  const idle = await raw(s.port, GET("/api/health"));
  assert.equal(idle.status, 503);
  assert.ok(idle.ended, "an idle kept connection");
});

test("a body that comes a byte at a time is refused after the grace; a slow one is not", { timeout: 180_000 }, async () => {
  const slow = await startServe({ config: "http:\n  requests_per_minute: 0\n  idle_timeout: 2s\n  body_rate: 1KiB\n  body_grace: 2s\n" });
  try {
    const key = `Authorization: Bearer ${slow.key}\r\n`;
    const timed = async (head, piece, every, n) => {
      const t0 = Date.now();
      const r = await raw(slow.port, [`${head}Host: localhost\r\n${key}`, ...Array.from({ length: n }, () => [piece, every]).flat()], { wait: 150_000 });
      return { ...r, ms: Date.now() - t0 };
    };
    // the first of the pieces ends the head
    const json = (length) => `POST /api/search HTTP/1.1\r\nConnection: close\r\nContent-Type: application/json\r\n${length}`;
    for (const [name, head, piece] of [
      ["sized", json("Content-Length: 5000\r\n"), "\r\n"],
      ["in chunks", json("Transfer-Encoding: chunked\r\n"), "\r\n1\r\n "],
      ["streamed to the disk", "POST /v1/files HTTP/1.1\r\nConnection: close\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: 5000\r\n", "\r\n"],
    ]) {
      const r = await timed(head, piece, 100, 1000);
      assert.equal(r.status, 408, `${name}: ${r.text.slice(0, 300)}`);
      assert.match(r.text, /comes too slowly/, name);
      assert.ok(r.ms > 1900 && r.ms < 60_000, `${name}: after ${r.ms} ms`);
    }
    const r = await timed(json("Content-Length: 40998\r\n"), "\r\n" + " ".repeat(998), 100, 41); // ten times what is asked for: a loaded machine pauses longer
    assert.ok(r.ms > 3500, `it took ${r.ms} ms`);
    assert.equal(r.status, 400, "spaces are no question, but they were waited for");
  } finally {
    assert.deepEqual(await slow.stop(), { code: 0, signal: null }, slow.log.slice(-3000));
  }
});

test("clients that vanish leave nothing behind", async () => {
  for (let i = 0; i < 50; i++) {
    const socket = connect(s.port, "127.0.0.1");
    await new Promise((done) => socket.once("connect", done));
    socket.write(i % 2 ? GET("/api/status", auth()) : "GET / HT");
    if (i % 3 === 0) await sleep(1);
    i % 5 === 0 ? socket.resetAndDestroy() : socket.destroy();
  }
  await quiet(s);
});

test("who asks much and reads nothing is answered no more until he reads", { timeout: 180_000 }, async () => {
  const t = await startServe({ config: "http:\n  requests_per_minute: 0\n" });
  try {
    const deaf = connect(t.port, "127.0.0.1");
    await new Promise((done) => deaf.once("connect", done));
    deaf.pause();
    deaf.write(GET("/openapi.json").repeat(300));
    await sleep(1500);
    const made = async () => Number(/carrel_serve_http_written_bytes_total (\d+)/.exec(await (await fetch(t.url + "/metrics", { headers: { authorization: `Bearer ${t.key}` } })).text())[1]);
    const size = (await (await fetch(t.url + "/openapi.json")).arrayBuffer()).byteLength;
    assert.ok((await made()) < 60 * size, "most of the 300 answers wait to be made, and none in memory");
    let got = 0;
    deaf.on("data", (d) => (got += d.length));
    deaf.resume();
    await until("then all are", async () => got >= 300 * size);
    deaf.destroy();
  } finally {
    assert.equal((await t.stop()).code, 0);
  }
});

test("a body that is coded is refused, not taken for what it is not", async () => {
  for (const [coding, status] of [["gzip", 415], ["zstd", 415], ["gzip, identity", 415], ["identity", 400], ["IDENTITY", 400]]) {
    const r = await raw(s.port, `POST /api/keys HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${s.key}\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Encoding: ${coding}\r\nContent-Length: 2\r\n\r\n{}`);
    assert.equal(r.status, status, `${coding}: ${r.text}`);
    if (status === 415) assert.match(r.text, /\r\nAccept-Encoding: identity\r\n[^]*"unsupported_encoding"/);
  }
});

test("more connections than one address may have", async () => {
  const small = await startServe({ config: "http:\n  max_connections_per_address: 5\n" });
  try {
    const sockets = [];
    for (let i = 0; i < 5; i++) {
      const c = connect(small.port, "127.0.0.1");
      await new Promise((done) => c.once("connect", done));
      sockets.push(c);
    }
    const r = await raw(small.port, GET("/api/health"));
    assert.ok(r.ended);
    assert.equal(r.status, 503);
    assert.match(r.text, /\r\nRetry-After: 1\r\n/);
    for (const c of sockets) c.destroy();
    await until("there is room again", async () => (await (await fetch(small.url + "/api/health")).text()) === '{"status":"down"}');
  } finally {
    await small.stop();
  }
});

test("requests a minute: 429 with Retry-After", async () => {
  const small = await startServe({ config: "http:\n  requests_per_minute: 10\n" });
  try {
    const from = Date.now();
    const all = await Promise.all(Array.from({ length: 30 }, async () => {
      const r = await fetch(small.url + "/api/session", { headers: { authorization: `Bearer ${small.key}` } });
      await r.text();
      return r;
    }));
    const back = Math.ceil(((Date.now() - from) * 10) / 60_000); // what the minute gives back meanwhile
    const passed = all.filter((r) => r.status === 200).length;
    assert.ok(passed >= 10 && passed <= 10 + back, `${passed} passed`);
    for (const r of all.filter((x) => x.status !== 200)) assert.deepEqual([r.status, Number(r.headers.get("retry-after")) >= 1], [429, true]);
    assert.ok(back > 20 || passed < 30);
  } finally {
    await small.stop();
  }
});

test("serve does not listen beyond this machine without TLS unless told so in words", async () => {
  const no = await startServe({ config: "http:\n  listen: 0.0.0.0\n", expectFailure: true });
  const end = await no.exited;
  assert.notEqual(end.code, 0);
  assert.match(no.log, /allow_plain_http_beyond_localhost/);
  await no.stop();
  const yes = await startServe({ config: "http:\n  listen: 0.0.0.0\n  allow_plain_http_beyond_localhost: true\n" });
  assert.equal((await raw(yes.port, "GET /api/health HTTP/1.1\r\nHost: carrel.example\r\nConnection: close\r\n\r\n")).status, 503);
  await yes.stop();
});

test("TLS: the same door, Secure cookies, and no plain HTTP beside it", async () => {
  const dir = mkdtempSync(join(tmpdir(), "carrel-tls-"));
  const cert = join(dir, "c.pem");
  const key = join(dir, "k.pem");
  execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"], { stdio: "ignore" });
  const t = await startServe({ config: `http:\n  tls_certificate: ${cert}\n  tls_key: ${key}\n  header_timeout: 1s\n` });
  const call = (path, { method = "GET", body, headers = {} } = {}) =>
    new Promise((done, fail) => {
      const r = https.request({ host: "127.0.0.1", servername: "localhost", port: t.port, path, method, headers: { host: "localhost", ...headers }, ca: readFileSync(cert) }, (res) => {
        const protocol = res.socket.getProtocol();
        res.resume();
        res.on("end", () => done({ status: res.statusCode, headers: res.headers, protocol }));
      });
      r.on("error", fail);
      r.end(body);
    });
  try {
    const health = await call("/api/health");
    assert.equal(health.status, 503);
    assert.equal(health.protocol, "TLSv1.3");
    const login = await call("/api/session", { method: "POST", body: JSON.stringify({ key: t.key }), headers: { "content-type": "application/json" } });
    assert.equal(login.status, 201);
    assert.match(login.headers["set-cookie"][0], /Secure/);
    const large = await call("/api/search", { method: "POST", body: JSON.stringify({ query: "x".repeat(1_000_000) }), headers: { "content-type": "application/json", authorization: `Bearer ${t.key}` } });
    assert.equal(large.status, 400);
    const plain = await raw(t.port, GET("/api/health"));
    assert.equal(plain.status, 0);
    assert.ok(plain.ended);
    const silent = await raw(t.port, []);
    assert.ok(silent.ended, "a handshake that never comes");
  } finally {
    assert.deepEqual(await t.stop(), { code: 0, signal: null }, t.log.slice(-3000));
    rmSync(dir, { recursive: true });
  }
});

test("the page: strict policy, ETags, hashed files for ever", async (t) => {
  const r = await fetch(s.url + "/");
  if (r.status === 503) return t.skip("serve/web has not been built");
  assert.equal(r.status, 200);
  assert.match(r.headers.get("content-security-policy"), /default-src 'none'/);
  assert.equal(r.headers.get("referrer-policy"), "no-referrer");
  const etag = r.headers.get("etag");
  const html = await r.text();
  const again = await fetch(s.url + "/", { headers: { "if-none-match": etag } });
  assert.equal(again.status, 304);
  const asset = /\/assets\/[^"]+\.js/.exec(html)[0];
  const js = await fetch(s.url + asset);
  assert.equal(js.status, 200);
  assert.match(js.headers.get("content-type"), /javascript/);
  assert.match(js.headers.get("cache-control"), /immutable/);
});
