// A vector store whose time is over (expires_after): what it refuses, to whom it is told, and what becomes of the documents
// that were attached to it. The time is moved in its row: a day is the shortest that may be asked for.
import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { binDir, startAppliance, until } from "./appliance.mjs";

const exec = promisify(execFile);
const DAY = 86_400_000;
const carrel = async (...args) => (await exec(join(binDir, "carrel"), [...args, "--home", a.home])).stdout.trim();
let a, reader, editor;

before(async () => {
  a = await startAppliance({ config: "http:\n  requests_per_minute: 0\n" });
  a.drop("kitchen/tea.md", "# Tea\n\nThe kettle for tea is cleaned with vinegar every Friday.\n");
  await a.settled({ n: 1 });
  reader = await carrel("key", "create", "reader");
  editor = (await a.post("/api/keys", { name: "editor", role: "editor" })).key;
});
after(async () => a?.stop());

const call = async (method, path, body, key = a.key) => {
  const r = await a.request(path, { method, body, key });
  return { status: r.status, body: await r.json() };
};
const upload = async (name, text, key = a.key) => {
  const form = new FormData();
  form.append("purpose", "assistants");
  form.append("file", new Blob([text]), name);
  return (await (await a.request("/v1/files", { method: "POST", body: form, key })).json()).id;
};
const inDatabase = (sql, ...values) =>
  execFileSync("python3", ["-c", "import json, sqlite3, sys\nd = sqlite3.connect(sys.argv[1], timeout=20)\nr = d.execute(sys.argv[2], json.loads(sys.argv[3])).fetchall()\nd.commit()\nprint(json.dumps(r))", join(a.home, "tenants/main/serve.db"), sql, JSON.stringify(values)], { encoding: "utf8" });
const lastUsed = (name, ago) => inDatabase("UPDATE stores SET active_wall_ms = ? WHERE collection = ?", Date.now() - ago, name);
const usedAgo = (name) => Date.now() - JSON.parse(inDatabase("SELECT active_wall_ms FROM stores WHERE collection = ?", name))[0][0];
const store = async (name, files, days = 1, key = a.key) => {
  const { status, body } = await call("POST", "/v1/vector_stores", { name, file_ids: files, expires_after: { anchor: "last_active_at", days } }, key);
  assert.equal(status, 200, JSON.stringify(body));
  for (const f of files) {
    await until(`${f} is read`, async () => (await call("GET", `/v1/vector_stores/${body.id}/files/${f}`, undefined, key)).body.status === "completed");
  }
  return body;
};
const restart = async () => {
  const { home, key } = a;
  await a.stop({ keep: true });
  a = await startAppliance({ home, config: null });
  a.key ??= key;
};
const ask = (ids, { key, more = {} } = {}) =>
  call("POST", "/v1/responses", { model: "carrel", input: "Where does the heron nest?", store: false, include: ["file_search_call.results"], tools: [{ type: "file_search", vector_store_ids: ids, ...more }] }, key);

test("an expired store is refused by file_search as by search; one that answers does not expire", { timeout: 180_000 }, async () => {
  const file = await upload("heron.md", "# Heron\n\nThe heron nests in the old alder by the weir.\n");
  const vs = await store("herons", [file]);
  const other = await store("storks", [await upload("stork.md", "# Stork\n\nThe stork nests on the chimney.\n")], 9);
  lastUsed("herons", DAY / 2);
  assert.deepEqual((await ask([vs.id])).body.output[0].results.map((x) => x.filename), ["heron.md"]);
  assert.ok(usedAgo("herons") < 60_000, "an answer is a use");
  lastUsed("herons", DAY / 2);
  assert.equal((await ask([vs.id], { key: reader })).status, 200);
  assert.ok(usedAgo("herons") < 60_000, "whoever may read it uses it");

  lastUsed("herons", 2 * DAY);
  assert.equal((await call("GET", `/v1/vector_stores/${vs.id}`)).body.status, "expired");
  for (const key of [a.key, editor, reader]) {
    for (const [ids, more] of [[[vs.id]], [[other.id, vs.id]], [[vs.id], { filters: { type: "eq", key: "filename", value: "heron.md" } }]]) {
      const { status, body } = await ask(ids, { key, more });
      assert.deepEqual([status, body.error?.code, body.error?.param], [400, "expired", "tools"], JSON.stringify(body));
    }
    const { status, body } = await call("POST", `/v1/vector_stores/${vs.id}/search`, { query: "heron" }, key);
    assert.deepEqual([status, body.error.code], [400, "expired"]);
  }
  assert.ok(usedAgo("herons") > DAY, "who is refused has not used it");
  const streamed = await a.request("/v1/responses", { method: "POST", body: { model: "carrel", input: "heron", stream: true, tools: [{ type: "file_search", vector_store_ids: [vs.id] }] } });
  assert.equal(streamed.status, 400);
  assert.equal((await call("POST", `/v1/vector_stores/${vs.id}/files`, { file_id: file })).body.error.code, "expired");
  assert.equal((await call("POST", `/v1/vector_stores/${vs.id}/file_batches`, { file_ids: [file] })).body.error.code, "expired");
  assert.equal((await ask([other.id])).status, 200);

  const again = (await call("POST", `/v1/vector_stores/${vs.id}`, { expires_after: { anchor: "last_active_at", days: 2 } })).body;
  assert.equal(again.status, "completed", "who changes it uses it");
  assert.deepEqual((await ask([vs.id])).body.output[0].results.map((x) => x.filename), ["heron.md"]);
});

test("who may not see a store is not told that it expired, and does not keep it", { timeout: 180_000 }, async () => {
  const hidden = (await a.post("/api/keys", { name: "held", role: "editor", collections: ["kitchen"] })).key;
  const vs = await store("secret", [await upload("secret.md", "# Secret\n\nThe secret heron nests in the tower.\n")]);
  const empty = (await call("POST", "/v1/vector_stores", { name: "empty", expires_after: { anchor: "last_active_at", days: 1 } })).body;
  for (const [id, name, key] of [[vs.id, "secret", hidden], [empty.id, "empty", reader]]) {
    lastUsed(name, DAY / 2);
    assert.equal((await ask([id], { key })).status, 200);
    assert.ok(usedAgo(name) > DAY / 3, `${name} is not used by whom it is not shown`);
    lastUsed(name, 2 * DAY);
    const { status, body } = await ask([id], { key });
    assert.equal(status, 200, JSON.stringify(body));
    assert.deepEqual(body.output[0].results, []);
  }
});

test("what only an expired store holds goes to the trash, in the audit; everything else stays", { timeout: 180_000 }, async () => {
  const gone = await store("voles", [await upload("vole.md", "# Vole\n\nThe vole digs below the greenhouse.\n")]);
  const shrew = await upload("shrew.md", "# Shrew\n\nThe shrew lives behind the woodpile.\n", editor);
  assert.equal((await call("POST", `/v1/vector_stores/${gone.id}/files`, { file_id: shrew }, editor)).status, 200, "another's file in it goes too");
  const kept = await store("newts", [await upload("newt.md", "# Newt\n\nThe newt sleeps below a stone.\n")]);
  // A collection that people fill: its own document is attached once more, one of it is the store's.
  a.drop("toads/toad.md", "# Toad\n\nThe toad sits in the cellar.\n");
  await until("the toad is ready", async () => (await a.documents()).some((d) => d.path === "toads/toad.md" && d.state === "ready"));
  const toads = `vs_${Buffer.from("toads").toString("hex")}`;
  const same = await upload("toad.md", "# Toad\n\nThe toad sits in the cellar.\n"), own = await upload("frog.md", "# Frog\n\nThe frog sits in the well.\n");
  for (const f of [same, own]) assert.equal((await call("POST", `/v1/vector_stores/${toads}/files`, { file_id: f, attributes: { leg: 4 } })).status, 200);
  assert.equal((await call("POST", `/v1/vector_stores/${toads}`, { expires_after: { anchor: "last_active_at", days: 1 } })).status, 200);
  await a.settled({ n: 8 });
  inDatabase("UPDATE attached SET created_wall_ms = created_wall_ms + 60000 WHERE file = ?", same); // the toad was there long before
  for (const name of ["voles", "toads"]) lastUsed(name, 2 * DAY);
  await restart(); // the sweep comes soon after the start, then once an hour
  const b = a;
  const paths = async () => (await b.documents()).map((d) => d.path).filter((p) => /^(voles|newts|toads)\//.test(p)).sort();
  await until("they have gone", async () => (await paths()).join() === "newts/newt.md,toads/toad.md");
  assert.equal(existsSync(join(b.watch, "voles/vole.md")), false);
  assert.equal(existsSync(join(b.watch, "toads/toad.md")), true);
  const { body: told } = await call("GET", `/v1/vector_stores/${gone.id}`);
  assert.deepEqual([told.status, told.file_counts.total], ["expired", 0], "the store says what became of it");
  assert.equal((await call("GET", `/v1/vector_stores/${kept.id}`)).body.file_counts.completed, 1);
  assert.equal((await call("GET", `/v1/files/${shrew}`, undefined, editor)).status, 200, "the uploaded file stays");
  await until("the rows have gone", () => JSON.parse(inDatabase("SELECT count(*) FROM attached WHERE collection = 'voles' OR file = ?", same))[0][0] === 0);
  assert.equal((await b.search("vole greenhouse", { collections: ["voles"] })).length, 0);
  const acts = (await carrel("audit", "export")).split("\n").filter((l) => /a vector store expired/.test(l) && /"(voles|toads)"/.test(l));
  // a first sweep may have been met by the restart: what it did not get to is done by the second
  assert.equal(new Set(acts.map((l) => JSON.parse(l).text.document)).size, 3, acts.join("\n"));
  for (const l of acts) assert.match(l, /document\.delete/);
  assert.doesNotMatch(await carrel("audit", "verify"), /[1-9]\d* interrupted/);
});

test("a stop in the middle of it ends the act in the audit too", { timeout: 400_000 }, async () => {
  const acts = async () => {
    const all = (await carrel("audit", "export")).split("\n").map((l) => JSON.parse(l));
    const ends = new Map(all.filter((x) => x.record.type === "close").map((x) => [x.record.call, x.record.outcome]));
    return all.filter((x) => x.record.what === "a vector store expired").map((x) => ({ store: x.text.collection, end: ends.get(x.record.call) }));
  };
  const vectorstore = () => readdirSync("/proc").filter((d) => /^\d+$/.test(d)).find((pid) => {
    try {
      const words = readFileSync(`/proc/${pid}/cmdline`, "latin1").split("\0");
      return basename(words[0]) === "carrel-vectorstore" && words.includes(a.home);
    } catch {
      return false;
    }
  });
  for (let i = 0; ; i++) { // on a machine so slow that the sweep was through: once more
    assert.ok(i < 5, "the sweep is met at work");
    const name = `moles${i}`;
    await store(name, [await upload(`mole${i}.md`, `# Mole\n\nMole ${i} digs.\n`)]);
    lastUsed(name, 2 * DAY);
    await restart();
    const pid = Number(vectorstore());
    process.kill(pid, "SIGSTOP"); // ingest begins to delete, and cannot end
    const act = await until("the act is recorded", async () => (await acts()).find((x) => x.store === name));
    const stopped = a.stop({ keep: true });
    await sleep(300);
    process.kill(pid, "SIGCONT");
    await stopped;
    const { home, key } = a;
    const { end } = (await acts()).find((x) => x.store === name);
    a = await startAppliance({ home, config: null });
    a.key ??= key;
    assert.doesNotMatch(await carrel("audit", "verify"), /[1-9]\d* interrupted/);
    await until("it is gone", async () => !(await a.documents()).some((d) => d.path.startsWith(`${name}/`)));
    if (act.end !== undefined) continue;
    assert.equal(end, "cancelled");
    return;
  }
});

test("whoever lets a store expire is one who may delete what is in it", { timeout: 180_000 }, async () => {
  const put = (await a.post("/api/keys", { name: "putter", role: "editor", scopes: ["ingest", "read", "search", "ask"] })).key;
  const expire = (vs, days, key) => call("POST", `/v1/vector_stores/${vs}`, { expires_after: days && { anchor: "last_active_at", days } }, key);
  const whole = (await call("POST", "/v1/vector_stores", { name: "whole" }, editor)).body.id;
  const parts = (await call("POST", "/v1/vector_stores", { name: "parts" }, put)).body.id;
  const kitchen = `vs_${Buffer.from("kitchen").toString("hex")}`;
  assert.equal((await expire(parts, 1, put)).status, 403, "who may not take out");
  assert.equal((await expire(kitchen, 1, editor)).status, 409, "what came by the folder is nobody's");
  assert.equal((await expire(whole, 5, editor)).body.expires_after.days, 5);
  const file = await upload("hare.md", "# Hare\n\nThe hare sits in its form.\n");
  assert.equal((await call("POST", `/v1/vector_stores/${whole}/files`, { file_id: file })).status, 200);
  assert.equal((await expire(whole, 4, editor)).status, 409, "another's file is in it");
  assert.equal((await expire(whole, 5, editor)).status, 200, "no sooner than it was");
  assert.equal((await expire(whole, 4)).body.expires_after.days, 4);
  assert.equal((await expire(whole, null, editor)).body.expires_after, null);
  assert.equal((await expire(whole, 9, editor)).status, 409);
});
