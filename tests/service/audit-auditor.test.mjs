// The audit from the auditor's side: the API, encrypted texts, no texts, a log server, a backup, the key out of reach.

import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { createServer } from "node:tls";
import { binDir, holding, startAppliance, temporaryHome, until } from "./appliance.mjs";

const scratch = mkdtempSync(join(tmpdir(), "carrel-auditor-"));
const secret = join(scratch, "auditor.key");
const messages = []; // that the log server got
const sockets = new Set();
let a, server, auditor;

function carrel(...args) {
  const r = spawnSync(join(binDir, "carrel"), args, { encoding: "utf8" });
  return { code: r.status, out: r.stdout, err: r.stderr };
}

/** A log server: RFC 5425's octet counting. */
function listen(key, cert, port = 0) {
  return new Promise((done) => {
    const s = createServer({ key, cert }, (socket) => {
      let rest = Buffer.alloc(0);
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("data", (d) => {
        rest = Buffer.concat([rest, d]);
        for (;;) {
          const m = /^(\d+) /.exec(rest.subarray(0, 12).toString("latin1"));
          if (!m || rest.length < m[0].length + Number(m[1])) break;
          messages.push(rest.subarray(m[0].length, m[0].length + Number(m[1])).toString());
          rest = rest.subarray(m[0].length + Number(m[1]));
        }
      });
    });
    s.listen(port, "127.0.0.1", () => done(s));
  });
}

before(async () => {
  const key = join(scratch, "log.key"), cert = join(scratch, "log.crt");
  execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"], { stdio: "ignore" });
  server = await listen(readFileSync(key), readFileSync(cert));
  const home = temporaryHome();
  mkdirSync(home, { recursive: true });
  writeFileSync(join(home, "log.crt"), readFileSync(cert), { mode: 0o644 });
  const made = carrel("audit", "key", secret);
  assert.equal(made.code, 0, made.err);
  const pub = /auditor_key: ([0-9a-f]{64})/.exec(made.out)[1];
  a = await startAppliance({ home, config: `http:\n  requests_per_minute: 0\naudit:\n  checkpoint: 200ms\n  payload: encrypted\n  auditor_key: ${pub}\n  syslog: tls://localhost:${server.address().port}\n  syslog_ca: log.crt\n` });
  await a.drop("notes/hours.txt", "The library opens at nine in the morning and closes at six.");
  await a.settled({ n: 1 });
  auditor = (await a.post("/api/keys", { name: "auditor", role: "auditor", groups: [] })).key;
});
after(async () => {
  await a?.stop();
  for (const s of sockets) s.destroy();
  server?.close();
  rmSync(scratch, { recursive: true, force: true });
});

const asAuditor = async (path) => {
  const r = await a.request(path, { key: auditor });
  assert.equal(r.status, 200, await r.clone().text());
  return r;
};

/** No text of the audit can be committed until what this gives back is called. */
async function holdTexts(a) {
  const hold = spawn("python3", ["-c", "import sqlite3, sys\nd = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)\nd.execute('BEGIN IMMEDIATE')\nprint('held', flush=True)\nsys.stdin.read()", join(a.home, "tenants/main/payload.db")]);
  await new Promise((done) => hold.stdout.once("data", done));
  return () => hold.stdin.end();
}

test("sealed texts: none here can read them, the auditor can, and nobody else's key", async () => {
  await a.post("/api/search", { query: "Quagmire opens" });
  const dir = join(a.home, "tenants/main");
  assert.deepEqual(holding(dir, ["Quagmire"]), []);
  const r = carrel("audit", "verify", "--json", "--home", a.home);
  assert.equal(r.code, 0, r.out + r.err);
  assert.ok(JSON.parse(r.out).texts_sealed > 0);
  const opened = carrel("audit", "export", "--home", a.home, "--secret", secret).out.trim().split("\n").map((l) => JSON.parse(l));
  assert.ok(opened.some((x) => x.text?.question === "Quagmire opens"));
  assert.equal(carrel("audit", "verify", "--home", a.home, "--secret", secret).code, 0);
  const other = join(scratch, "other.key");
  carrel("audit", "key", other);
  assert.equal(carrel("audit", "verify", "--home", a.home, "--secret", other).code, 1);
});

test("the API: an auditor reads records, head, verdict and lines, and no document; readers do not", async () => {
  const list = await (await asAuditor("/api/audit?limit=5")).json();
  assert.equal(list.records.length, 5);
  assert.equal(list.records.at(-1).record.seq >= 5, true);
  const opens = await (await asAuditor("/api/audit?type=open&limit=1000")).json();
  assert.ok(opens.records.every((x) => x.record.type === "open" && x.text === null && x.text_state === "sealed"));
  const one = opens.records[0].record.call;
  assert.equal((await (await asAuditor(`/api/audit?call=${one}`)).json()).records.length, 2);
  const head = await (await asAuditor("/api/audit/head")).json();
  assert.match(head.head, /^[0-9a-f]{64}$/);
  const verdict = await (await asAuditor("/api/audit/verify")).json();
  assert.equal(verdict.verdict, "whole", JSON.stringify(verdict));
  const first = await asAuditor("/api/audit/export?from=2&limit=3");
  assert.equal(first.headers.get("x-carrel-next"), "5");
  assert.deepEqual((await first.text()).trim().split("\n").map((l) => JSON.parse(l).record.seq), [2, 3, 4]);
  assert.equal((await a.request("/api/search", { method: "POST", key: auditor, body: { query: "library" } })).status, 403);
  const reader = (await a.post("/api/keys", { name: "reader", role: "reader", groups: [] })).key;
  for (const path of ["/api/audit", "/api/audit/head", "/api/audit/verify", "/api/audit/export"]) assert.equal((await a.request(path, { key: reader })).status, 403, path);
  assert.equal((await a.request("/api/audit?limit=0", { key: auditor })).status, 400);
});

test("the log server gets every record, in order, and the heads; a broken line is taken up again", async () => {
  await a.post("/api/search", { query: "one" });
  const head = await (await asAuditor("/api/audit/head")).json();
  const seqs = () => messages.filter((m) => / record /.test(m)).map((m) => Number(/"seq":(\d+)/.exec(m)[1]));
  await until("all of them", async () => seqs().includes(head.seq));
  assert.match(messages[0], /^<109>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z \S+ carrel - record \[carrel@32473 tenant="main"\] \{"v":1,/);
  assert.ok(messages.some((m) => / head /.test(m)));
  for (const s of sockets) s.destroy();
  for (let i = 0; i < 5; i++) await a.post("/api/search", { query: `again ${i}` });
  const later = await (await asAuditor("/api/audit/head")).json();
  await until("the rest", async () => seqs().includes(later.seq));
});

test("serve cannot reach the key that signs", async () => {
  const pid = execFileSync("pgrep", ["-f", `carrel-serve --home ${a.home}`], { encoding: "utf8" }).trim().split("\n")[0];
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  assert.match(status, /NoNewPrivs:\t1/);
  const signer = execFileSync("pgrep", ["-f", `carrel-sign --home ${a.home}`], { encoding: "utf8" }).trim().split("\n")[0];
  assert.equal(/PPid:\t(\d+)/.exec(readFileSync(`/proc/${signer}/status`, "utf8"))[1], pid);
  assert.match(readFileSync(`/proc/${signer}/status`, "utf8"), /Seccomp:\t2/);
  const fds = readdirSync(`/proc/${pid}/fd`);
  assert.ok(fds.length > 0);
});

test("the signer is killed: serve is started anew with another one, and the chain goes on", async () => {
  const signer = () => spawnSync("pgrep", ["-f", `carrel-sign --home ${a.home}`], { encoding: "utf8" }).stdout.trim().split("\n")[0];
  const before = signer();
  process.kill(Number(before), "SIGKILL");
  await until("another signer", async () => signer() !== "" && signer() !== before);
  await until("an answer", async () => (await a.request("/api/search", { method: "POST", body: { query: "library" } }).catch(() => null))?.status === 200);
  await until("a signature", async () => {
    const r = JSON.parse(carrel("audit", "verify", "--json", "--home", a.home).out);
    assert.equal(r.verdict, "whole", JSON.stringify(r.findings));
    return r.seq - r.signed_seq <= 1;
  });
});

test("a backup has the audit, and what is restored verifies", async () => {
  const target = join(dirname(a.home), "backups");
  const taken = carrel("backup", target, "--home", a.home);
  assert.equal(taken.code, 0, taken.err);
  const again = join(dirname(a.home), "again");
  const given = carrel("restore", target, "--into", again);
  assert.equal(given.code, 0, given.err);
  const r = carrel("audit", "verify", "--json", "--home", again, "--secret", secret);
  assert.equal(r.code, 0, r.out + r.err);
  assert.ok(JSON.parse(r.out).texts > 5);
  // what was asked since is not in it: it is older than a head written down later, and no more than that
  await a.post("/api/search", { query: "since the backup" });
  const head = carrel("audit", "head", "--home", a.home).out.trim();
  const older = carrel("audit", "verify", "--home", again, "--head", head);
  assert.equal(older.code, 1);
  assert.match(older.out, /^older: /);
  assert.match(older.out, new RegExp(`older than its anchor: it ends at record \\d+, and the anchor names record ${head.split(":")[0]}\\. A backup was restored`));
  assert.equal(JSON.parse(carrel("audit", "verify", "--json", "--home", again, "--head", head).out).verdict, "older");
});

test("a file with its length told is not whole for its reader before its close is durable", async () => {
  const bytes = Buffer.alloc(24 << 20, "a line of text that fills a file\n");
  const form = new FormData();
  form.append("purpose", "assistants");
  form.append("file", new Blob([bytes]), "long.txt");
  const { id } = await (await a.request("/v1/files", { method: "POST", body: form })).json();
  const { hostname, port } = new URL(a.url);
  let got = 0, head = "";
  const socket = connect(Number(port), hostname);
  const first = new Promise((done) => socket.once("data", (d) => { head = d.toString("latin1"); got = d.length; socket.pause(); done(); }));
  socket.write(`GET /v1/files/${id}/content HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${a.key}\r\nConnection: close\r\n\r\n`);
  await first;
  const whole = head.indexOf("\r\n\r\n") + 4 + bytes.length;
  assert.match(head, /Content-Length: 25165824/);
  // texts cannot be committed while another has the database, which the audit waits for (five seconds): an act's record stands in line
  let asked;
  const letGo = await holdTexts(a);
  try {
    asked = a.post("/api/keys", { name: "in line", role: "reader" });
    await sleep(500);
    socket.on("data", (d) => (got += d.length));
    socket.resume();
    await until("all but the last byte", async () => got >= whole - 1, { every: 5 });
    await sleep(300);
    assert.equal(got, whole - 1);
  } finally {
    letGo();
  }
  await asked;
  await until("the last byte", async () => got === whole);
  socket.destroy();
  const { records } = await (await asAuditor("/api/audit?limit=50")).json();
  const open = records.findLast((x) => x.record.what === "GET /v1/files/{id}/content");
  assert.equal(records.find((x) => x.record.type === "close" && x.record.call === open.record.call).record.outcome, "done");
});

test("an answer that was found in time and recorded a little late is given", { timeout: 180_000 }, async () => {
  const b = await startAppliance({ config: "http:\n  requests_per_minute: 0\n  request_timeout: 3s\n" });
  try {
    b.drop("visit.md", "# Visitors\n\nVisitors park their cars behind the solar tower.\n");
    await b.settled({ n: 1 });
    await b.search("visitors"); // the audit begins
    const letGo = await holdTexts(b);
    const began = Date.now();
    const asked = b.request("/api/search", { method: "POST", body: { query: "visitors" } });
    setTimeout(letGo, 3600);
    const r = await asked;
    assert.equal(r.status, 200, await r.clone().text());
    assert.match(await r.text(), /solar tower/);
    assert.ok(Date.now() - began > 3500, "it was recorded after its time");
  } finally {
    await b.stop();
  }
});
