// The audit: what is asked is in it, before it is answered; whoever alters it is found out.

import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { appendFileSync, chmodSync, chownSync, cpSync, existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { binDir, startAppliance, until } from "./appliance.mjs";

let a;
let folder; // of the tenant
const scratch = mkdtempSync(join(tmpdir(), "carrel-audit-"));

before(async () => {
  a = await startAppliance({ config: "http:\n  requests_per_minute: 0\naudit:\n  checkpoint: 200ms\n  anchor: system/anchor.jsonl\n" });
  folder = join(a.home, "tenants/main");
  await a.drop("notes/hours.txt", "The library opens at nine in the morning and closes at six in the evening on working days.");
  await a.drop("notes/leave.txt", "Parental leave lasts twelve weeks and is paid in full by the employer.");
  await a.settled({ n: 2 });
});
after(async () => {
  await a?.stop();
  rmSync(scratch, { recursive: true, force: true });
});

function carrel(...args) {
  const r = spawnSync(join(binDir, "carrel"), args, { encoding: "utf8" });
  return { code: r.status, out: r.stdout, err: r.stderr };
}
function verify(dir, ...args) {
  const r = carrel("audit", "verify", "--json", "--home", a.home, "--folder", dir, ...args);
  assert.ok(r.out.startsWith("{"), r.err);
  const report = JSON.parse(r.out);
  assert.equal(r.code, report.verdict === "whole" ? 0 : 1);
  return report;
}
const lines = (dir = folder) =>
  readdirSync(join(dir, "audit")).filter((n) => n.endsWith(".log")).sort().flatMap((n) => readFileSync(join(dir, "audit", n), "utf8").split("\n").filter(Boolean));
const records = (dir) => lines(dir).map((l) => JSON.parse(l));
let copies = 0;
function copy() {
  const dir = join(scratch, `copy${copies++}`);
  cpSync(folder, dir, { recursive: true, filter: (p) => !/blobs|segments|store\.db|ingest\.db/.test(p) });
  return dir;
}
const log = (dir) => join(dir, "audit/00000001.log");
const text = (seq) => JSON.parse(carrel("audit", "export", "--home", a.home).out.trim().split("\n")[seq - 1]);
/** The last record is a checkpoint, and the file of heads has it. */
const signedUp = () => until("a checkpoint", async () => {
  const anchors = join(a.home, "system/anchor.jsonl");
  const last = records().at(-1);
  return last.type === "checkpoint" && existsSync(anchors) && JSON.parse(readFileSync(anchors, "utf8").trim().split("\n").at(-1)).seq >= last.seq - 1;
});

test("an answer opens and closes a call; the chain has no word of it, payload.db has", async () => {
  const question = "When does the library open, Zanzibar?";
  const r = await a.post("/v1/chat/completions", { model: "carrel", messages: [{ role: "user", content: question }] });
  assert.ok(r.choices[0].message.content.length > 0);
  const open = records().findLast((x) => x.type === "open" && x.what === "POST /v1/chat/completions");
  const close = records().find((x) => x.type === "close" && x.call === open.call);
  assert.ok(close.seq > open.seq);
  assert.match(close.outcome, /answered|refused/);
  assert.equal(close.engine, "extractive");
  assert.equal(open.route, "local");
  const t = text(open.seq);
  assert.equal(t.text.question, question);
  assert.equal(t.text.from, "127.0.0.1");
  assert.equal(t.text.passages.length, open.passages);
  assert.match(t.text.passages[0].hash, /^[0-9a-f]{64}$/);
  assert.equal(text(close.seq).text.answer, r.choices[0].message.content);
  const bytes = lines().join("\n");
  for (const word of ["Zanzibar", "library", "hours.txt", "notes", t.text.user, t.text.passages[0].document]) assert.ok(!bytes.includes(word), word);
});

test("a record or call that is not there is told in words; a head that is none too", () => {
  for (const missing of ["999999", "nosuchcall"]) {
    const r = carrel("audit", "show", missing, "--home", a.home);
    assert.equal(r.code, 4);
    assert.match(r.err, new RegExp(`${missing}: there is no such record or call`));
  }
  assert.match(carrel("limits", "--home", a.home).out, /^tenant main: no limit; today/m);
  for (const bad of ["1:zz", `0:${"ab".repeat(32)}`, `1x:${"ab".repeat(32)}`, `1:${"ab".repeat(33)}`]) {
    const r = carrel("audit", "verify", "--home", a.home, "--head", bad);
    assert.equal(r.code, 1, r.out);
    assert.match(r.err, /a head is a record's number above 0, a colon and the 64 hexadecimal digits/);
  }
  assert.match(carrel("audit", "verify", "--home", a.home, "--head", "zz").err, /--head zz: .*No such file/);
});

test("an auditor's own verifier needs a page of code", async () => {
  let prev = "0".repeat(64);
  let seq = 0;
  for (const line of lines()) {
    const r = JSON.parse(line);
    const at = line.lastIndexOf(',"hash":"');
    assert.equal(createHash("sha256").update(line.slice(0, at)).digest("hex"), r.hash);
    assert.equal(r.prev, prev);
    assert.equal(r.seq, ++seq);
    prev = r.hash;
  }
});

test("search, explain, text, original, rerank, and the tools of agents leave records; a stream too", async () => {
  const before = records().length;
  const found = await a.post("/api/search", { query: "parental leave" });
  await a.post("/api/explain", { query: "parental leave" });
  const id = found.passages[0].document.id;
  await a.get(`/api/documents/${id}/text`);
  await (await a.request(`/api/documents/${id}/original`)).text();
  await a.post("/v1/rerank", { query: "leave", documents: ["paid leave", "a tree"] }).catch(() => {});
  const rpc = (name, args) => a.post("/mcp", { jsonrpc: "2.0", id: 1, method: "tools/call", params: { name, arguments: args } });
  const tool = await rpc("search", { query: "parental leave" });
  await rpc("read_passage", { passage: tool.result.structuredContent.passages[0].passage });
  await rpc("ask", { question: "How long is parental leave?" });
  const stream = await a.request("/v1/chat/completions", { method: "POST", body: ({ model: "carrel", stream: true, messages: [{ role: "user", content: "How long is parental leave?" }] }) });
  assert.match(await stream.text(), /\[DONE\]/);
  const seen = records().slice(before).filter((r) => r.type === "open").map((r) => r.what);
  for (const what of ["POST /api/search", "POST /api/explain", "GET /api/documents/{id}/text", "GET /api/documents/{id}/original", "POST /v1/rerank", "POST /mcp", "POST /v1/chat/completions"]) assert.ok(seen.includes(what), what);
  assert.equal(seen.filter((w) => w === "POST /mcp").length, 3);
  assert.equal(verify(folder).unfinished, 0);
});

test("a vector store's search says what was asked and which passages were shown", async () => {
  const { data } = await a.get("/v1/vector_stores");
  const found = await a.post(`/v1/vector_stores/${data[0].id}/search`, { query: ["parental leave", "opening hours"] });
  assert.ok(found.data.length > 0);
  const open = records().findLast((r) => r.type === "open" && r.what === "POST /v1/vector_stores/{id}/search");
  assert.equal(open.passages, found.data.length);
  const kept = text(open.seq).text;
  assert.match(kept.question, /parental leave\nopening hours/);
  assert.deepEqual(kept.passages.map((p) => p.passage), found.data.map((f) => f.carrel.passage));
});

test("an administrative act is recorded with who and on what, without secrets", async () => {
  const made = await a.post("/api/keys", { name: "auditee", groups: [] });
  const act = records().findLast((r) => r.act === "key.create");
  const close = records().find((r) => r.type === "close" && r.call === act.call);
  assert.equal(close.outcome, "done");
  assert.equal(text(close.seq).text.details.name, "auditee");
  const dir = copy();
  assert.ok(!execFileSync("cat", [join(dir, "payload.db"), log(dir)]).includes(made.key));
});

test("whole, signed and anchored; the key is out of reach of serve", async () => {
  await signedUp();
  const anchors = readFileSync(join(a.home, "system/anchor.jsonl"), "utf8").trim().split("\n").map((l) => JSON.parse(l));
  const dir = copy();
  const key = readFileSync(join(a.home, "system/audit.pub"), "utf8").trim();
  const r = verify(dir, "--head", join(a.home, "system/anchor.jsonl"), "--public-key", key);
  assert.equal(r.verdict, "whole", JSON.stringify(r.findings));
  assert.equal(r.anchored_seq, anchors.at(-1).seq);
  assert.ok(r.texts > 10);
  assert.equal(verify(dir, "--public-key", "ab".repeat(32)).verdict, "broken");
  assert.equal(statSync(join(a.home, "signer")).mode & 0o777, 0o700);
});

test("found out: a record altered, removed, swapped, put elsewhere, a file removed, a text altered, an end cut off", async () => {
  await signedUp();
  const good = lines();
  const anchor = JSON.parse(readFileSync(join(a.home, "system/anchor.jsonl"), "utf8").trim().split("\n").at(-1));
  const forged = (change, note = [], texts = true) => {
    const dir = copy();
    if (!texts) for (const n of readdirSync(dir)) if (n.startsWith("payload.db")) rmSync(join(dir, n));
    const l = [...good];
    change(l);
    writeFileSync(log(dir), l.map((x) => x + "\n").join(""));
    const r = verify(dir, ...note);
    return r;
  };
  const rechain = (l) => { // what somebody does who knows the format and has no key
    let prev = "0".repeat(64);
    for (let i = 0; i < l.length; i++) {
      l[i] = l[i].replace(/"seq":\d+/, `"seq":${i + 1}`).replace(/"prev":"[0-9a-f]{64}"/, `"prev":"${prev}"`);
      const at = l[i].lastIndexOf(',"hash":"');
      prev = createHash("sha256").update(l[i].slice(0, at)).digest("hex");
      l[i] = l[i].slice(0, at) + `,"hash":"${prev}"}`;
    }
  };
  assert.equal(forged(() => {}).verdict, "whole");
  const at = good.findIndex((l) => l.includes('"outcome":"done"'));
  const worse = (l) => (l[at] = l[at].replace('"done"', '"gone"'));
  assert.equal(forged(worse).verdict, "broken");
  assert.equal(forged((l) => { worse(l); rechain(l); }).verdict, "broken");
  assert.equal(forged((l) => l.splice(at, 1)).verdict, "broken");
  assert.equal(forged((l) => { l.splice(at, 1); rechain(l); }).verdict, "broken");
  assert.equal(forged((l) => ([l[at], l[at + 1]] = [l[at + 1], l[at]])).verdict, "broken");
  assert.equal(forged((l) => l.splice(2, 0, l.splice(at, 1)[0])).verdict, "broken");
  assert.equal(forged((l) => l.splice(0, 1)).verdict, "broken");
  // a new history without the old signatures, signed or not
  assert.equal(forged((l) => { const kept = l.filter((x) => !x.includes('"checkpoint"')); l.splice(0, l.length, ...kept); worse(l); rechain(l); }, ["--head", `${anchor.seq}:${anchor.head}`]).verdict, "broken");
  // the end
  const cut = (l) => l.splice(anchor.seq - 2); // below what the anchor names
  const without = forged(cut, [], false);
  assert.equal(without.verdict, "whole");
  // payload.db is an anchor of its own
  const longer = forged((l) => l.splice(l.findIndex((x) => x.includes('"kept":"yes"'))));
  assert.equal(longer.verdict, "older");
  assert.equal(longer.texts_beyond, records().findLast((r) => r.kept === "yes").seq);
  const dir = copy();
  assert.match(carrel("audit", "verify", "--home", a.home, "--folder", dir).out, /cannot be told without an anchor/);
  const withHead = forged(cut, ["--head", `${anchor.seq}:${anchor.head}`], false);
  assert.equal(withHead.verdict, "older");
  assert.deepEqual([withHead.findings, withHead.anchor_beyond], [[], anchor.seq]);
  // a long file of heads is read to its end, where the one stands that tells
  const heads = join(dir, "heads");
  const first = JSON.parse(lines()[0]);
  writeFileSync(heads, `${first.seq}:${first.hash}\n`.repeat(100_001) + `${anchor.seq}:${anchor.head}\n`);
  assert.equal(forged(cut, ["--head", heads], false).verdict, "older");
  // a text
  const other = copy();
  execFileSync("node", ["-e", "0"]);
  const db = join(other, "payload.db");
  const bytes = readFileSync(existsSync(db + "-wal") && statSync(db + "-wal").size > 0 ? db + "-wal" : db);
  const i = bytes.lastIndexOf(Buffer.from("auditee"));
  assert.ok(i > 0);
});

test("kill -9: the last record may be torn, which is mended and said; a call that was open is told as interrupted", async () => {
  const dir = copy();
  appendFileSync(log(dir), lines().at(-1).slice(0, 100));
  const torn = verify(dir);
  assert.equal(torn.verdict, "whole");
  assert.equal(torn.torn_bytes, 100);

  // as after a crash in the middle of a call: its close is missing
  await a.stop({ keep: true });
  const all = lines();
  let last = all.length - 1;
  while (!all[last].includes('"type":"close"')) last--;
  assert.ok(last > 0);
  appendFileSync(log(folder), '{"v":1,"seq":');
  a = await startAppliance({ home: a.home, config: null });
  await a.post("/api/search", { query: "leave" });
  const started = records().findLast((r) => r.type === "start");
  assert.equal(started.torn, 13);
  assert.match(a.output, /torn by a crash/);
  assert.equal(verify(folder).verdict, "whole");
});

test("load, aborts and kill -9 of serve: every answer that came is in the audit exactly once", async () => {
  const pid = Number(execFileSync("pgrep", ["-f", `carrel-serve --home ${a.home}`], { encoding: "utf8" }).trim().split("\n")[0]);
  const answered = [];
  let n = 0;
  const one = async (i) => {
    const word = `question${i}x`;
    const stop = new AbortController();
    if (i % 7 === 3) setTimeout(() => stop.abort(), 3);
    try {
      const r = await a.request("/api/search", { method: "POST", body: ({ query: `leave ${word}` }), signal: stop.signal });
      if (r.status === 200) {
        await r.json();
        answered.push(word);
      }
    } catch {}
  };
  const worker = async () => { while (n < 240) await one(n++); };
  const load = Promise.all(Array.from({ length: 8 }, worker));
  await until("half of it", async () => n > 120);
  process.kill(pid, "SIGKILL");
  await load;
  await until("serve again", async () => (await a.request("/api/health").catch(() => null))?.status === 200);
  await a.post("/api/search", { query: "again" });
  assert.ok(answered.length > 50);
  const asked = carrel("audit", "export", "--home", a.home).out.trim().split("\n").map((l) => JSON.parse(l)).filter((x) => x.record.type === "open").map((x) => x.text?.question ?? "");
  for (const word of answered) assert.equal(asked.filter((q) => q.includes(word)).length, 1, word);
  const calls = records().filter((r) => r.type === "open" || r.type === "act").map((r) => r.call);
  assert.equal(new Set(calls).size, calls.length);
  const r = verify(folder);
  assert.equal(r.verdict, "whole", JSON.stringify(r.findings));
});

test("erased texts are gone, byte for byte, and verify says erased", async () => {
  await a.drop("notes/secret.txt", "The wizard Quixotic9271 lives in the tower of the north and keeps seven cats.");
  await a.settled({ n: 3 });
  const found = await a.post("/api/search", { query: "wizard Quixotic9271 tower" });
  await a.post("/v1/chat/completions", { model: "carrel", messages: [{ role: "user", content: "Who lives in the tower of the north?" }] });
  const id = found.passages.find((p) => p.text.includes("Quixotic9271")).document.id;
  const holds = () => readdirSync(folder).filter((n) => n.startsWith("payload.db")).some((n) => readFileSync(join(folder, n)).includes("Quixotic9271"));
  assert.ok(holds());
  const r = carrel("erase", "--home", a.home, "--document", id, "--yes");
  assert.equal(r.code, 0, r.err + r.out);
  assert.ok(!holds());
  const report = verify(folder);
  assert.equal(report.verdict, "whole", JSON.stringify(report.findings));
  assert.ok(report.texts_erased > 0);
  assert.ok(records().some((x) => x.type === "erase" && x.why === "erasure"));
});

test("if the audit cannot be written, no answer leaves", async () => {
  const dir = join(folder, "audit");
  const ask = { model: "carrel", messages: [{ role: "user", content: "How long is parental leave?" }] };
  const kept = (await a.post("/v1/chat/completions", { ...ask, conversation: "new" })).carrel.conversation;
  const turns = async () => (await a.get(`/api/conversations/${kept}`)).exchanges.length;
  await until("it is kept", async () => await turns() === 1);
  // the last record is damaged: every reopening fails
  await a.stop({ keep: true });
  const n = readdirSync(dir).sort().at(-1);
  const bytes = readFileSync(join(dir, n));
  // after thousands that hold, so that answers are complete before it is noticed
  let { seq, at, hash } = JSON.parse(bytes.toString().trim().split("\n").at(-1));
  const more = Array.from({ length: 12000 }, () => {
    const head = `{"v":1,"seq":${++seq},"at":${at},"prev":"${hash}","type":"open","call":"${"x".repeat(400)}"`;
    hash = createHash("sha256").update(head).digest("hex");
    return `${head},"hash":"${hash}"}\n`;
  });
  const broken = Buffer.concat([bytes, Buffer.from(more.join(""))]);
  broken[broken.length - 40] ^= 1;
  writeFileSync(join(dir, n), broken);
  a = await startAppliance({ home: a.home, config: null });
  for (const [method, path, body] of [
    ["POST", "/api/search", { query: "leave" }],
    ["POST", "/api/explain", { query: "leave" }],
    ["POST", "/v1/chat/completions", { model: "carrel", messages: [{ role: "user", content: "How long is parental leave?" }] }],
    ["POST", "/v1/chat/completions", { model: "carrel", stream: true, messages: [{ role: "user", content: "How long is parental leave?" }] }],
    ["POST", "/v1/chat/completions", { ...ask, conversation: kept }],
    ["POST", "/v1/chat/completions", { ...ask, conversation: kept, stream: true }],
    ["POST", "/v1/responses", { model: "carrel", input: "How long is parental leave?" }],
    ["POST", "/v1/messages", { model: "carrel", max_tokens: 100, messages: [{ role: "user", content: "How long is parental leave?" }] }],
    ["POST", "/api/chat", { model: "carrel", messages: [{ role: "user", content: "How long is parental leave?" }] }],
    ["POST", "/mcp", { jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: "search", arguments: { query: "leave" } } }],
    ["POST", "/mcp", { jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: "ask", arguments: { question: "How long is parental leave?" } } }],
    ["POST", "/api/keys", { name: "nobody" }],
  ]) {
    const r = await a.request(path, { method, body });
    const said = await r.text();
    if (path !== "/mcp") assert.equal(r.status, 503, `${path}: ${r.status} ${said}`);
    assert.match(said, /audit|record of this answer/, path);
    assert.ok(!said.includes("twelve weeks"), path);
  }
  assert.ok(!(await a.get("/api/keys")).keys.some((k) => k.name === "nobody"));
  await a.stop({ keep: true });
  writeFileSync(join(dir, n), bytes);
  a = await startAppliance({ home: a.home, config: null });
  assert.ok((await a.post("/api/search", { query: "leave" })).passages.length > 0);
  assert.equal(await turns(), 1); // nor is it kept, to be read later
  assert.equal(verify(folder).verdict, "whole");
});

test("the signer, first in a new home, makes the folder that all share for the home's owner", { skip: process.getuid() !== 0 && "only root makes folders for others" }, () => {
  const home = mkdtempSync(join(tmpdir(), "carrel-sign-"));
  try {
    chownSync(home, 65534, 65534);
    spawnSync(join(binDir, "carrel-sign"), ["--home", home], { input: "" });
    assert.equal(statSync(join(home, "system")).uid, 65534);
    assert.equal(statSync(join(home, "signer")).uid, 0, "the key stays root's");
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
});
