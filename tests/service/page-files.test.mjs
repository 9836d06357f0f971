// Large files of the page: byte for byte, whatever the reader does.

import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import https from "node:https";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { gunzipSync } from "node:zlib";
import { quiet, startServe } from "./serve_alone.mjs";

const dir = mkdtempSync(join(tmpdir(), "carrel-page-"));
const files = { "huge.png": randomBytes(9 * 1024 * 1024 + 7), "large.png": randomBytes(300_001), "edge.png": randomBytes(64 * 1024), "small.png": randomBytes(5000), "text.js": Buffer.from(Array.from({ length: 60_000 }, (_, i) => `f(${(i * 7919) % 60_013});\n`).join("")) };
const [cert, pem] = [join(dir, "c.pem"), join(dir, "k.pem")];
let s;
before(async () => {
  mkdirSync(join(dir, "web/assets"), { recursive: true });
  writeFileSync(join(dir, "web/index.html"), "<!doctype html>");
  for (const [name, bytes] of Object.entries(files)) writeFileSync(join(dir, "web/assets", name), bytes);
  execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", pem, "-out", cert, "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"], { stdio: "ignore" });
  s = await startServe({ args: ["--web", join(dir, "web")], config: "http:\n  idle_timeout: 2s\n  requests_per_minute: 0\n" });
});
after(async () => {
  const end = await s?.stop();
  rmSync(dir, { recursive: true, force: true });
  assert.deepEqual(end, { code: 0, signal: null }, s.log.slice(-3000));
});

const same = (got, expected, what) => assert.ok(got.equals(expected), `${what}: ${got.length} bytes of ${createHash("sha256").update(got).digest("hex")}, not ${expected.length}`);
const ask = (name, more = "", method = "GET") => `${method} /assets/${name} HTTP/1.1\r\nHost: localhost\r\n${more}\r\n`;

/** The answers off one connection: heads and bodies. `slow`: read 64 KiB now and then. */
function answers(text, { slow = false } = {}) {
  return new Promise((done, fail) => {
    const socket = connect(s.port, "127.0.0.1");
    const pieces = [];
    socket.on("data", (d) => {
      pieces.push(d);
      if (!slow) return;
      socket.pause();
      setTimeout(() => socket.resume(), 3);
    });
    socket.on("error", fail);
    socket.on("close", () => {
      let all = Buffer.concat(pieces);
      const list = [];
      for (let i = 0; all.length > 0; i++) {
        const end = all.indexOf("\r\n\r\n") + 4;
        if (end < 4) return fail(new Error(`no head after answer ${i}: ${all.subarray(0, 100).toString("latin1")}`));
        const head = all.subarray(0, end).toString("latin1");
        const n = text[i].startsWith("HEAD") || / 304 /.test(head) ? 0 : Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
        list.push({ status: Number(head.slice(9, 12)), head, body: all.subarray(end, end + n) });
        all = all.subarray(end + n);
      }
      done(list);
    });
    socket.write(text.join(""));
  });
}

test("whole, in part, coded, by turns on one connection, to quick readers and slow ones", { timeout: 180_000 }, async () => {
  const text = [ask("huge.png"), ask("large.png"), ask("small.png"), ask("large.png", "Range: bytes=100001-250000\r\n"), ask("edge.png"), ask("huge.png", "", "HEAD"), ask("huge.png", "Range: bytes=5000000-\r\n"), ask("text.js", "Accept-Encoding: gzip\r\n"), ask("nothing.png"), ask("text.js"), ask("large.png", "Range: bytes=-70000\r\n"), ask("large.png", "Connection: close\r\n")];
  for (const slow of [false, true]) {
    const a = await answers(text, { slow });
    assert.deepEqual(a.map((x) => x.status), [200, 200, 200, 206, 200, 200, 206, 200, 404, 200, 206, 200]);
    const { "huge.png": huge, "large.png": large, "text.js": js } = files;
    const expected = [huge, large, files["small.png"], large.subarray(100_001, 250_001), files["edge.png"], Buffer.alloc(0), huge.subarray(5_000_000), js, null, js, large.subarray(-70_000), large];
    for (const [i, e] of expected.entries()) if (e) same(i === 7 ? gunzipSync(a[i].body) : a[i].body, e, `${text[i]} slow: ${slow}`);
  }
});

test("many at once, some of whom leave, leave nothing behind", { timeout: 180_000 }, async () => {
  await Promise.all(Array.from({ length: 60 }, async (_, i) => {
    if (i % 2) {
      const [a] = await answers([ask("huge.png", "Connection: close\r\n")], { slow: i % 4 === 1 });
      return same(a.body, files["huge.png"], `reader ${i}`);
    }
    const socket = connect(s.port, "127.0.0.1");
    socket.on("error", () => {});
    socket.write(ask("huge.png") + ask("large.png"));
    await new Promise((done) => socket.once("data", done));
    await sleep(i);
    i % 4 ? socket.destroy() : socket.resetAndDestroy();
  }));
  await quiet(s);
});

test("who stops reading is cut after the idle time; who reads little by little is not", { timeout: 180_000 }, async () => {
  const stopped = connect(s.port, "127.0.0.1");
  stopped.write(ask("huge.png").repeat(4));
  stopped.pause();
  const ended = new Promise((done) => {
    stopped.on("error", () => {});
    stopped.on("close", done);
  });
  await quiet(s, (connections) => connections === 1);
  stopped.resume();
  await ended;
  assert.ok(stopped.bytesRead < 4 * files["huge.png"].length, "it was cut");
  const socket = connect(s.port, "127.0.0.1");
  const pieces = [];
  let wait = true;
  socket.on("data", (d) => {
    pieces.push(d);
    if (!wait) return;
    socket.pause();
    setTimeout(() => socket.resume(), 40);
  });
  setTimeout(() => (wait = false), 5000);
  const whole = new Promise((done, fail) => socket.on("close", done).on("error", fail));
  socket.write(ask("huge.png", "Connection: close\r\n"));
  await whole;
  const all = Buffer.concat(pieces);
  same(all.subarray(all.indexOf("\r\n\r\n") + 4), files["huge.png"], "little by little");
});

test("the same through TLS", { timeout: 180_000 }, async () => {
  const t = await startServe({ args: ["--web", join(dir, "web")], config: `http:\n  requests_per_minute: 0\n  tls_certificate: ${cert}\n  tls_key: ${pem}\n` });
  try {
    for (const name of ["huge.png", "large.png", "edge.png"]) {
      const got = await new Promise((done, fail) =>
        https.get({ host: "127.0.0.1", servername: "localhost", port: t.port, path: `/assets/${name}`, headers: { host: "localhost" }, rejectUnauthorized: false }, (r) => {
          const pieces = [];
          r.on("data", (d) => pieces.push(d)).on("end", () => done(Buffer.concat(pieces))).on("error", fail);
        }).on("error", fail));
      same(got, files[name], name);
    }
  } finally {
    assert.deepEqual(await t.stop(), { code: 0, signal: null }, t.log.slice(-3000));
  }
});
