// The rules of RFC 9112 and 9110 on serve alone: plain and through TLS, in one piece and byte by byte.

import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as tlsConnect } from "node:tls";
import { rows } from "./malformed_rows.mjs";
import { startServe } from "./serve_alone.mjs";

const AT_ONCE = 16;
let dir, plain, tls;

before(async () => {
  dir = mkdtempSync(join(tmpdir(), "carrel-malformed-"));
  const [cert, key] = [join(dir, "c.pem"), join(dir, "k.pem")];
  execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost"], { stdio: "ignore" });
  const limits = "  max_body_bytes: 64KiB\n  requests_per_minute: 0\n  header_timeout: 20s\n";
  plain = await startServe({ config: `http:\n${limits}` });
  tls = await startServe({ config: `http:\n${limits}  tls_certificate: ${cert}\n  tls_key: ${key}\n` });
});
after(async () => {
  for (const s of [plain, tls]) assert.deepEqual(await s.stop(), { code: 0, signal: null }, s.log.slice(-3000));
  rmSync(dir, { recursive: true, force: true });
});

/** Sends the row's bytes and gives the statuses that came, and whether the other side ended. */
function send(row, { secure, slow }) {
  return new Promise((done) => {
    const s = secure ? tls : plain;
    const socket = secure ? tlsConnect({ port: s.port, host: "127.0.0.1", rejectUnauthorized: false }) : connect(s.port, "127.0.0.1");
    let text = "";
    let ended = false;
    const finish = () => {
      clearTimeout(timer);
      socket.destroy();
      done({ text, ended, statuses: [...text.matchAll(/HTTP\/1\.1 (\d+) /g)].map((m) => Number(m[1])) });
    };
    const timer = setTimeout(finish, 60_000);
    const over = () => {
      ended = true;
      finish();
    };
    socket.on("data", (d) => (text += d.toString("latin1")));
    socket.on("error", over);
    socket.on("end", over);
    socket.on("close", over);
    socket.on(secure ? "secureConnect" : "connect", async () => {
      socket.setNoDelay(true);
      const bytes = Buffer.from(row.bytes, "latin1");
      if (!slow) socket.write(bytes);
      for (let i = 0; slow && i < bytes.length && !ended; i++) await new Promise((next) => socket.write(bytes.subarray(i, i + 1), next));
      if (row.end) socket.end();
    });
  });
}

for (const secure of [false, true]) {
  for (const slow of [false, true]) {
    test(`${rows.length} rules, ${secure ? "TLS" : "plain"}, ${slow ? "byte by byte" : "in one piece"}`, async () => {
      const left = rows.filter((r) => !(slow && r.slow));
      const wrong = [];
      await Promise.all(Array.from({ length: AT_ONCE }, async () => {
        for (let row = left.shift(); row; row = left.shift()) {
          const r = await send(row, { secure, slow });
          const want = row.either ?? row.want;
          const ok = row.either ? r.statuses.length === 1 && want.includes(r.statuses[0]) : JSON.stringify(r.statuses) === JSON.stringify(want);
          if (!ok || !r.ended) wrong.push(`${row.rule}: wanted ${want}, got ${r.statuses}${r.ended ? "" : ", and no end"}\n  ${JSON.stringify(r.text.slice(0, 200))}`);
        }
      }));
      assert.equal(wrong.join("\n"), "");
    });
  }
}

test("whatever came, the door is as open as before", async () => {
  const r = await fetch(plain.url + "/api/version");
  assert.equal(r.status, 200);
  const m = await (await fetch(plain.url + "/metrics", { headers: { authorization: `Bearer ${plain.key}` } })).text();
  assert.match(m, /carrel_serve_http_requests_in_flight 1\n/);
});
