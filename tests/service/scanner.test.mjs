// The malware scanner: nothing is read before it has said yes, whatever it does; what it finds is not read, and can be
// let in. A small server speaks clamd's protocol; what it thinks of a file stands in the file.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { binDir, startAppliance, until } from "./appliance.mjs";

const exec = promisify(execFile);

/** clamd's zINSTREAM and zPING on a free port of this machine. scanner.down: it answers nobody. */
async function fakeClamd() {
  const scanner = { down: false, asked: [], sockets: new Set() };
  const server = createServer((s) => {
    scanner.sockets.add(s);
    s.on("close", () => scanner.sockets.delete(s)).on("error", () => {});
    let got = Buffer.alloc(0);
    s.on("data", (piece) => {
      if (scanner.down) return s.destroy();
      got = Buffer.concat([got, piece]);
      if (got.includes("zPING\0")) return s.end("PONG\0");
      let at = "zINSTREAM\0".length;
      const parts = [];
      for (;;) {
        if (got.length < at + 4) return;
        const n = got.readUInt32BE(at);
        if (n === 0) break;
        if (got.length < at + 4 + n) return;
        parts.push(got.subarray(at + 4, at + 4 + n));
        at += 4 + n;
      }
      const text = Buffer.concat(parts).toString();
      scanner.asked.push(text);
      if (/EVIL/.test(text)) s.end("stream: Test.Evil.UNOFFICIAL FOUND\0");
      else if (/HANG/.test(text)) return;
      else if (/CUT/.test(text)) s.destroy();
      else if (/GARBAGE/.test(text)) s.end("250 OK");
      else if (/LARGE/.test(text)) s.end("INSTREAM size limit exceeded. ERROR\0");
      else s.end("stream: OK\0");
    });
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  scanner.address = `127.0.0.1:${server.address().port}`;
  scanner.close = () => {
    for (const s of scanner.sockets) s.destroy();
    server.close();
  };
  return scanner;
}

const config = (scanner, more = "") =>
  `ingest:\n  scanner: "${scanner.address}"\n  scanner_timeout_s: 3\n  max_attempts: 2\n${more}`;

test("found is not read, nor what cannot be checked; a person lets it in", { timeout: 180_000 }, async () => {
  const scanner = await fakeClamd();
  const a = await startAppliance({ config: config(scanner) });
  const carrel = async (...args) => (await exec(join(binDir, "carrel"), [...args, "--home", a.home])).stdout;
  const doc = async (path) => (await a.documents()).find((d) => d.path === path);
  try {
    a.drop("good.md", "# Good\n\nThe falcon nests.");
    a.drop("evil.md", "# Bad\n\nThe falcon nests. EVIL");
    a.drop("huge.md", "# Large\n\nThe falcon nests. LARGE");
    a.drop("cut.md", "# Cut\n\nThe falcon nests. CUT");
    a.drop("hang.md", "# Hang\n\nThe falcon nests. HANG");
    a.drop("garbage.md", "# Garbage\n\nThe falcon nests. GARBAGE");
    await a.settled({ n: 6 });
    assert.equal((await doc("good.md")).state, "ready");
    for (const [path, why] of [
      ["evil.md", /^quarantined: Test\.Evil\.UNOFFICIAL \(`carrel quarantine list` shows it/],
      ["huge.md", /StreamMaxLength/],
      ["cut.md", /not checked for malware: .*hung up/],
      ["hang.md", /not checked for malware: .*does not answer/],
      ["garbage.md", /not checked for malware/],
    ]) {
      const d = await doc(path);
      assert.equal(d.state, "failed", path);
      assert.match(d.error, why, path);
    }
    assert.deepEqual((await a.search("falcon nests")).map((p) => p.document.path), ["good.md"]);

    // an upload goes the same way
    const form = new FormData();
    form.append("file", new Blob(["The falcon nests. EVIL twin"]), "up.md");
    const up = await a.request("/api/documents", { method: "POST", body: form });
    assert.ok(up.ok, await up.text());
    await until("the upload is refused", async () => /^quarantined/.test((await doc("up.md"))?.error ?? ""));

    // what becomes bad leaves search
    a.drop("good.md", "# Good\n\nThe falcon nests no more. EVIL");
    await until("good.md is quarantined", async () => /^quarantined/.test((await doc("good.md"))?.error ?? ""));
    assert.deepEqual(await a.search("falcon nests"), []);

    const list = JSON.parse(await carrel("quarantine", "list", "--json")).files;
    assert.deepEqual(list.map((f) => f.path).sort(), ["evil.md", "good.md", "up.md"]);
    assert.match(await carrel("quarantine", "list"), /evil\.md  Test\.Evil\.UNOFFICIAL  \(left in its place\)/);
    const evil = list.find((f) => f.path === "evil.md");
    assert.match(await carrel("quarantine", "release", evil.id), /let in/);
    await until("it is read", async () => (await doc("evil.md")).state === "ready");
    assert.deepEqual((await a.search("falcon nests")).map((p) => p.document.path), ["evil.md"]);
    const after = JSON.parse(await carrel("quarantine", "list", "--json")).files.find((f) => f.id === evil.id);
    assert.ok(after.released > 0 && after.released_by.length > 0); // who did it stays written down
    await assert.rejects(carrel("quarantine", "release", evil.id), /already/);
    const key = (await carrel("key", "create", "none")).trim();
    assert.equal((await a.request("/api/quarantine", { key })).status, 403);
  } finally {
    await a.stop();
    scanner.close();
  }
});

test("while it is down files wait, and that is said", { timeout: 180_000 }, async () => {
  const scanner = await fakeClamd();
  scanner.down = true;
  const a = await startAppliance({ config: config(scanner) });
  try {
    a.drop("a.md", "# A\n\nThe falcon nests.");
    await until("the queue says so", async () => /malware scanner/.test((await a.get("/api/progress")).doing ?? ""));
    await sleep(2500);
    const [d] = await a.documents();
    assert.equal(d.state === "queued" || d.state === "working", true);
    assert.equal(d.attempts ?? 0, 0);
    assert.deepEqual(await a.search("falcon nests"), []);
    scanner.down = false;
    await until("it is read", async () => (await a.documents())[0].state === "ready");
  } finally {
    await a.stop();
    scanner.close();
  }
});

test("moved away: kept, listed, put back when it is released", { timeout: 180_000 }, async () => {
  const scanner = await fakeClamd();
  let a = await startAppliance({ config: config(scanner, "  quarantine: move\n  rescan_s: 1\n") });
  const carrel = async (...args) => (await exec(join(binDir, "carrel"), [...args, "--home", a.home])).stdout;
  const body = "# Bad\n\nThe falcon nests. EVIL";
  try {
    const path = a.drop("notes/evil.md", body);
    await until("it is moved", async () => !existsSync(path));
    await until("it is listed", async () => /^quarantined/.test((await a.documents())[0]?.error ?? ""));
    await sleep(2500); // rescans do not take it for deleted
    const [d] = await a.documents();
    assert.deepEqual([d.path, d.state], ["notes/evil.md", "failed"]);
    const [f] = JSON.parse(await carrel("quarantine", "list", "--json")).files;
    assert.deepEqual([f.path, f.moved], ["notes/evil.md", true]);
    assert.equal(readFileSync(join(a.home, "quarantine/main", f.id, "evil.md"), "utf8"), body);

    const { home } = a;
    await a.stop({ keep: true });
    a = await startAppliance({ home });
    await sleep(1500);
    assert.equal((await a.documents())[0].state, "failed");
    writeFileSync(path, "another stands in its place");
    await assert.rejects(carrel("quarantine", "release", f.id), /stands in its place/);
    rmSync(path);
    await carrel("quarantine", "release", f.id);
    assert.equal(readFileSync(path, "utf8"), body);
    await until("it is read", async () => (await a.documents()).some((x) => x.path === "notes/evil.md" && x.state === "ready"));
    assert.deepEqual(readdirSync(join(a.home, "quarantine/main")), []);
  } finally {
    await a.stop();
    scanner.close();
  }
});
