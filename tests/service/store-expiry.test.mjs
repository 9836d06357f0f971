// A vector store whose time is over (expires_after): what it refuses, to whom it is told, and what becomes of the documents
// that were attached to it. The time is moved in its row: a day is the shortest that may be asked for.
import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
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
const ask = (ids, { key, more = {} } = {}) =>
  call("POST", "/v1/responses", { model: "carrel", input: "Where does the heron nest?", store: false, include: ["file_search_call.results"], tools: [{ type: "file_search", vector_store_ids: ids, ...more }] }, key);

test("an expired store is refused by file_search as by search; one that answers does not expire", { timeout: 120_000 }, async () => {
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

test("who may not see a store is not told that it expired, and does not keep it", { timeout: 120_000 }, async () => {
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
