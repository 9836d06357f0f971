// Rules of access: who finds and opens what, a change that takes effect without re-embedding, and mistakes that
// close.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync, renameSync, unlinkSync, writeFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { join } from "node:path";
import { promisify } from "node:util";
import { binDir, startAppliance, until } from "./appliance.mjs";

const exec = promisify(execFile);
const keys = {};
let a;

async function carrel(...args) {
  const { stdout } = await exec(join(binDir, "carrel"), [...args, "--home", a.home]);
  return stdout.trim();
}
function rules(text) {
  writeFileSync(join(a.home, ".access.tmp"), text);
  renameSync(join(a.home, ".access.tmp"), join(a.home, "access.yaml"));
}
const as = async (key, path, body, method = body === undefined ? "GET" : "POST") => {
  const r = await a.request(path, { key, method, body });
  const text = await r.text();
  let json = null;
  try { json = JSON.parse(text); } catch { /* a picture, or plain text */ }
  return { status: r.status, text, json };
};
const found = async (who, query = "falcon nests") =>
  (await as(keys[who] ?? a.key, "/api/search", { query })).json.passages.map((p) => p.document.path).sort();
const equals = (x, y) => JSON.stringify(x) === JSON.stringify(y);
const settlesTo = async (who, list) => {
  let now;
  await until(`${who} finds ${list} (last: ${now})`, async () => equals((now = await found(who)), list));
};
const stamp = (text) => text.replace(/"(request_id|message)":"[^"]*"/g, "");

const RULES = `access:
  - path: hr/**
    readers: [hr]
    label: confidential
    tags: [personnel]
  - path: board/**
    readers: [board, hr]
  - path: closed/**
    readers: [nobody]
`;

before(async () => {
  a = await startAppliance();
  rules(RULES);
  await carrel("tenant", "create", "north");
  for (const [name, ...more] of [["none"], ["hr", "--groups", "hr"], ["board", "--groups", "board"],
    ["north", "--tenant", "north", "--groups", "hr,board"]]) {
    keys[name] = await carrel("key", "create", name, ...more);
  }
  a.drop("hr/pay.md", "# Pay\n\nThe falcon nests in the payroll office, and its pay is secret quicksilver.");
  a.drop("board/plan.md", "# Plan\n\nThe falcon nests above the board room, where plans are made of marzipan.");
  a.drop("open/note.md", "# Note\n\nThe falcon nests on the roof, as everybody may know by looking up.");
  a.drop("closed/old.md", "# Old\n\nThe falcon nests in the archive that is closed to all.");
  await a.settled({ n: 4 });
});
after(async () => {
  await a?.stop();
});

test("each finds what the rules let him read, and opens no more", { timeout: 180_000 }, async () => {
  assert.deepEqual(await found("none"), ["open/note.md"]);
  assert.deepEqual(await found("hr"), ["board/plan.md", "hr/pay.md", "open/note.md"]);
  assert.deepEqual(await found("board"), ["board/plan.md", "open/note.md"]);
  assert.deepEqual(await found("north"), []);
  const list = await a.documents();
  const pay = list.find((d) => d.path === "hr/pay.md");
  assert.deepEqual([pay.label, pay.tags, pay.readers], ["confidential", ["personnel"], ["hr"]]);
  assert.deepEqual(list.find((d) => d.path === "closed/old.md").readers, ["nobody"]);
  for (const tail of ["", "/text", "/original", "/pages/1.png", "/versions"]) {
    const open = await as(keys.hr, `/api/documents/${pay.id}${tail}`);
    if (tail !== "/pages/1.png") assert.equal(open.status, 200, `hr ${tail}: ${open.text}`);
    for (const who of ["none", "board", "north"]) {
      const hidden = await as(keys[who], `/api/documents/${pay.id}${tail}`);
      const absent = await as(keys[who], `/api/documents/${pay.id.slice(0, -1)}${pay.id.endsWith("0") ? "1" : "0"}${tail}`);
      assert.equal(hidden.status, 404, `${who} ${tail}`);
      assert.equal(stamp(hidden.text), stamp(absent.text), `${who} ${tail}: hidden is as missing`);
      assert.ok(!hidden.text.includes("pay") && !hidden.text.includes("hr"), hidden.text);
    }
  }
  for (const who of ["none", "board", "north"]) {
    for (const [path, body] of [
      ["/api/documents"], ["/api/progress"], ["/api/facets"],
      ["/api/search", { query: "quicksilver payroll" }], ["/api/search", { query: "quicksilver", mode: "bm25" }],
      ["/v1/chat/completions", { model: "carrel", messages: [{ role: "user", content: "What is the secret pay of the falcon?" }] }],
      ["/v1/chat/completions", { model: "carrel", stream: true, messages: [{ role: "user", content: "Where is the payroll office?" }] }],
    ]) {
      const r = await as(keys[who], path, body);
      assert.equal(r.status, 200, `${who} ${path}: ${r.text}`);
      assert.ok(!/quicksilver|hr\/pay|personnel|confidential/.test(r.text.replaceAll("quicksilver payroll", "")), `${who} ${path}: ${r.text}`);
    }
    assert.equal((await as(keys[who], `/api/documents/${pay.id}`, undefined, "DELETE")).status, 403);
  }
});

test("what is hidden reads as what never was, by every field and name", { timeout: 180_000 }, async () => {
  const pay = (await a.documents()).find((d) => d.path === "hr/pay.md");
  const never = pay.id.slice(0, -1) + (pay.id.endsWith("0") ? "1" : "0");
  // scores may differ: docs/decisions/access.md
  // ids are made by chance, and may hold one of the words that are blotted out below
  const same = (r) => stamp(r.text).replace(/"id":"[^"]*"/g, (id) => id.toUpperCase()).replace(/"(took_ms|created|[a-z_]*score|words|proximity|char4|fused|share|upper_bound_share)":[\d.]+/g, "").replace(/chatcmpl-[^"]+|"answer_id":"[^"]+"/g, "");
  const post = async (path, body) => same(await as(keys.none, path, body));
  for (const [one, other] of [["collection:hr", "collection:qx"], ["label:confidential", "label:restricted"], ["tag:personnel", "tag:perpetuum"],
    ["path:hr", "path:qx"], ["file:pay", "file:qqx"], ["title:pay", "title:qqx"], ['"secret quicksilver"', '"secret quicksilbex"'], ["falcon -quicksilver", "falcon -quicksilbex"]]) {
    for (const path of ["/api/search", "/api/explain"]) {
      const [x, y] = [await post(path, { query: "falcon " + one }), await post(path, { query: "falcon " + other })];
      assert.equal(x.replaceAll(/personnel|confidential|quicksilver|pay|hr/g, "_"), y.replaceAll(/perpetuum|restricted|quicksilbex|qqx|qx/g, "_"), `${path} ${one}`);
    }
  }
  const explained = async (id) => JSON.stringify((await as(keys.none, "/api/explain", { query: "falcon pay", document: id })).json.why_not);
  assert.equal(await explained(pay.id), await explained(never));
  for (const q of ["after=", "collection=hr&after=", "state=failed&after="]) {
    assert.ok(!(await as(keys.none, `/api/documents?${q}${pay.id}`)).text.includes("pay"), q);
  }
  assert.equal((await as(keys.none, "/api/facets?collection=hr")).text, (await as(keys.none, "/api/facets?collection=qx")).text);
});

test("an editor deletes nothing that is hidden from him, by no name it has", { timeout: 180_000 }, async () => {
  const key = async (name, groups) => (await as(a.key, "/api/keys", { name, role: "editor", groups })).json.key;
  const [out, hr, other] = [await key("outside", []), await key("inside", ["hr"]), await key("inside too", ["hr"])];
  const pay = (await a.documents()).find((d) => d.path === "hr/pay.md");
  const store = `vs_${Buffer.from("hr").toString("hex")}`;
  for (const path of [`/api/documents/${pay.id}`, `/v1/files/${pay.id}`, `/v1/vector_stores/${store}/files/${pay.id}`, `/v1/vector_stores/${store}`]) {
    assert.equal((await as(out, path, undefined, "DELETE")).status, 404, path);
  }
  const form = new FormData();
  form.append("purpose", "assistants");
  form.append("file", new Blob(["# Raise\n\nThe falcon is paid more from June on.\n"]), "raise.md");
  const file = (await as(hr, "/v1/files", form)).json;
  assert.equal((await as(hr, `/v1/vector_stores/${store}`)).status, 200);
  const put = await as(hr, `/v1/vector_stores/${store}/files`, { file_id: file.id });
  assert.equal(put.status, 200, put.text);
  await until("it is read", async () => (await as(hr, `/v1/vector_stores/${store}/files/${file.id}`)).json?.status === "completed");
  for (const path of [`/v1/files/${file.id}`, `/v1/vector_stores/${store}/files/${file.id}`]) assert.equal((await as(out, path, undefined, "DELETE")).status, 404, path);
  assert.deepEqual((await found("hr")).filter((p) => p.startsWith("hr/")), ["hr/pay.md", "hr/raise.md"], "both are there");
  assert.equal((await as(other, `/v1/files/${file.id}`, undefined, "DELETE")).status, 200, "who may read it takes it out");
  await settlesTo("hr", ["board/plan.md", "hr/pay.md", "open/note.md"]);
});

test("who may not replace files puts new ones all the same, also when asking to replace", { timeout: 180_000 }, async () => {
  const put = async (key, path, text) => {
    const r = await a.request(`/api/documents?path=${path}&replace=true`, { method: "POST", key, body: text });
    return { status: r.status, text: await r.text() };
  };
  const key = (await as(a.key, "/api/keys", { name: "puts", role: "service" })).json.key;
  const first = await put(key, "open/new.md", "# New\n\nThe lapwing waits at the door.\n");
  assert.equal(first.status, 201, first.text);
  for (const path of ["open/new.md", "hr/pay.md"]) {
    const r = await put(key, path, "# Other\n\nIt is not.\n");
    assert.equal(r.status, 403, r.text);
    assert.match(r.text, /already there, and while rules say who reads what, only an administrator replaces files/);
  }
  assert.match(readFileSync(join(a.watch, "open/new.md"), "utf8"), /lapwing/);
  assert.equal((await put(a.key, "open/new.md", "# New\n\nThe administrator replaced it.\n")).status, 201);
});

test("an administrator of a tenant is told nothing of the others' work", { timeout: 180_000 }, async () => {
  const made = await as(a.key, "/api/keys", { name: "north admin", tenant: "north", admin: true });
  assert.equal(made.status, 201, made.text);
  const key = made.json.key;
  assert.equal((await as(key, "/metrics")).status, 403);
  const status = await as(key, "/api/status");
  assert.equal(status.status, 200);
  for (const s of status.json.services) assert.deepEqual([s.up, s.queue, s.detail, s.last_error], [true, 0, "", ""], s.name);
  assert.deepEqual((await as(key, "/api/tenants")).json.tenants.length, 1);
  assert.equal((await as(key, "/api/keys", { name: "x", tenant: "main" })).status >= 400, true);
  const pay = (await a.documents()).find((d) => d.path === "hr/pay.md");
  for (const tail of ["", "/text", "/original", "/versions"]) assert.equal((await as(key, `/api/documents/${pay.id}${tail}`)).status, 404, tail);
  const deleted = () => as(key, `/api/documents/${pay.id}`, undefined, "DELETE");
  const told = await until("ingest knows the tenant", async () => { const r = await deleted(); return r.status !== 503 && r; }); // made a moment ago
  assert.equal(told.status, 404);
  assert.ok(!(await as(key, "/api/erasures", { documents: [pay.id], dry_run: true })).text.includes("hr/"));
});

test("a changed rule moves the documents it is about, and nothing is read or encoded again", { timeout: 180_000 }, async () => {
  const jobs = async () => {
    const text = (await as(a.key, "/metrics")).text;
    return Number(/carrel_ingest_chunks_done_total(?:\{[^}]*\})? (\d+)/.exec(text)[1]);
  };
  const before = await jobs();
  rules(RULES.replace("readers: [hr]", "readers: [board]"));
  await settlesTo("hr", ["board/plan.md", "open/note.md"]);
  await settlesTo("board", ["board/plan.md", "hr/pay.md", "open/note.md"]);
  await a.settled({ n: 4 });
  assert.equal(await jobs(), before, "no document was put again");
  assert.deepEqual((await a.documents()).find((d) => d.path === "hr/pay.md").readers, ["board"]);
  rules(RULES);
  await settlesTo("hr", ["board/plan.md", "hr/pay.md", "open/note.md"]);
});

test("a mistake closes what comes in and opens nothing", { timeout: 180_000 }, async () => {
  await a.settled({ n: 4 });
  rules(RULES.replace("label: confidential", "label: secret"));
  await until("the mistake is told", async () => (await as(a.key, "/api/status")).text.includes("access.yaml:4: label: must be"));
  a.drop("open/late.md", "# Late\n\nThe falcon nests late in the year, in the open folder.");
  await a.settled({ n: 5 });
  assert.deepEqual(await found("none"), ["open/note.md"], "closed until the rules can be read");
  assert.deepEqual(await found("hr"), ["board/plan.md", "hr/pay.md", "open/note.md"], "what is stored stays as it is");
  await assert.rejects(carrel("config", "check"), /access.yaml:4/);
  rules(RULES);
  await settlesTo("none", ["open/late.md", "open/note.md"]);
  unlinkSync(join(a.home, "access.yaml"));
  await until("its absence is told", async () => (await as(a.key, "/api/status")).text.includes("access.yaml is gone"));
  a.drop("hr/bonus.md", "# Bonus\n\nThe falcon nests on the bonus.");
  await a.settled({ n: 6 });
  assert.deepEqual(await found("none"), ["open/late.md", "open/note.md"], "gone rules open nothing");
  rules("access: []\n");
  await settlesTo("none", ["board/plan.md", "closed/old.md", "hr/bonus.md", "hr/pay.md", "open/late.md", "open/note.md"]);
});

test("who puts documents in sees what failed of what he may read, and readers see none of it", async () => {
  rules("access:\n  - path: hr/**\n    readers: [hr]\n  - path: closed/**\n    readers: [nobody]\n");
  const torn = "%PDF-1.7 and nothing that follows is one";
  a.drop("hr/torn.pdf", torn);
  a.drop("closed/torn.pdf", `${torn}.`);
  a.drop("open/torn.pdf", `${torn}!`);
  await until("they failed", async () => (await a.get("/api/documents?state=failed")).documents.length === 3);
  const made = async (more) => (await a.post("/api/keys", { name: "unready", role: "editor", ...more })).key;
  const failed = async (key) => (await as(key, "/api/documents")).json.documents.filter((d) => d.state === "failed").map((d) => d.path).sort();
  const hr = await made({ groups: ["hr"] });
  const other = await made({ groups: ["board"] });
  const held = await made({ groups: ["hr"], collections: ["open"] });
  const reader = await made({ groups: ["hr"], role: "reader" });
  assert.deepEqual(await failed(hr), ["hr/torn.pdf", "open/torn.pdf"]);
  assert.deepEqual(await failed(other), ["open/torn.pdf"]);
  assert.deepEqual(await failed(held), ["open/torn.pdf"]);
  assert.deepEqual(await failed(reader), []);
  const one = (await as(hr, "/api/documents?state=failed&limit=1")).json.documents;
  assert.equal(one.length, 1);
  assert.deepEqual(one[0].readers, []);
  assert.equal((await as(hr, `/api/documents?state=failed&after=${one[0].id}`)).json.documents.length, 1);
  assert.equal((await as(reader, "/api/documents?state=failed")).json.documents.length, 0);
  assert.deepEqual([(await as(hr, "/api/progress")).json.failed, (await as(reader, "/api/progress")).json.failed], [2, 0]);
  const all = (await as(hr, "/api/documents")).json.documents.map((d) => d.id);
  assert.equal(new Set(all).size, all.length, "each once");
  rules("access:\n  - path: hr/**\n    readers: [board]\n  - path: closed/**\n    readers: [nobody]\n");
  await until("the new rule holds", async () => (await failed(other)).join() === "hr/torn.pdf,open/torn.pdf");
  assert.deepEqual(await failed(hr), ["open/torn.pdf"]);
  rules("access:\n  - path: hr/**\n    raeders: [hr]\n");
  a.drop("open/later.pdf", `${torn}?`);
  await until("it failed", async () => (await a.get("/api/documents?state=failed")).documents.length === 4);
  assert.ok(!(await failed(hr)).includes("open/later.pdf"), "a mistake in the rules closes");
});
