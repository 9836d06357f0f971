// Files and vector stores as OpenAI has them: what is uploaded becomes documents of a collection, with attributes to filter
// by; documents of the watched folder are files of a store too. And whom it does not reach.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { binDir, startAppliance, until } from "./appliance.mjs";

const exec = promisify(execFile);
const carrel = async (...args) => (await exec(join(binDir, "carrel"), [...args, "--home", a.home])).stdout.trim();
const storeOf = (collection) => `vs_${Buffer.from(collection).toString("hex")}`;
let a, reader, editor;

before(async () => {
  a = await startAppliance({ config: "http:\n  requests_per_minute: 0\nfiles:\n  max_total_bytes: 2MiB\n" });
  a.drop("kitchen/coffee.md", "# Coffee\n\nThe espresso machine is descaled on the first Monday of every month.\n");
  a.drop("kitchen/tea.md", "# Tea\n\nThe kettle for tea is cleaned with vinegar every Friday.\n");
  await a.settled({ n: 2 });
  reader = await carrel("key", "create", "reader");
  editor = (await a.post("/api/keys", { name: "editor", role: "editor" })).key;
});
after(async () => a?.stop());

const call = async (method, path, body, key = a.key) => {
  const r = await a.request(path, { method, body, key });
  return { status: r.status, body: await r.json() };
};
const upload = async (name, text, { key = a.key, fields = { purpose: "assistants" } } = {}) => {
  const form = new FormData();
  for (const [k, v] of Object.entries(fields)) form.append(k, v);
  form.append("file", new Blob([text]), name);
  const r = await a.request("/v1/files", { method: "POST", body: form, key });
  return { status: r.status, body: await r.json() };
};
const ready = (store, file, key) => until(`${file} is read`, async () => {
  const f = (await call("GET", `/v1/vector_stores/${store}/files/${file}`, undefined, key)).body;
  return f.status !== "in_progress" && f;
});

test("a file: uploaded, listed, read, deleted; nobody else's", { timeout: 180_000 }, async () => {
  const { status, body: f } = await upload("notes.txt", "Some notes.\n", { fields: { purpose: "assistants", "expires_after[anchor]": "created_at", "expires_after[seconds]": "3600" } });
  assert.equal(status, 200);
  assert.match(f.id, /^file-[0-9a-z]{26}$/);
  assert.deepEqual([f.object, f.bytes, f.filename, f.purpose, f.status], ["file", 12, "notes.txt", "assistants", "processed"]);
  assert.ok(f.expires_at - f.created_at === 3600);
  const second = (await upload("more.txt", "More.\n", { key: editor, fields: { purpose: "user_data" } })).body;
  assert.deepEqual((await call("GET", "/v1/files")).body.data.map((x) => x.id), [second.id, f.id]);
  assert.deepEqual((await call("GET", "/v1/files?limit=1&order=asc")).body, { object: "list", data: [f], first_id: f.id, last_id: f.id, has_more: true });
  assert.deepEqual((await call("GET", `/v1/files?order=asc&after=${f.id}`)).body.data.map((x) => x.id), [second.id]);
  assert.deepEqual((await call("GET", "/v1/files?purpose=user_data")).body.data.map((x) => x.id), [second.id]);
  assert.deepEqual((await call("GET", "/v1/files", undefined, editor)).body.data.map((x) => x.id), [second.id]);
  assert.equal((await call("GET", `/v1/files/${f.id}`, undefined, editor)).status, 404);
  assert.equal((await upload("x.txt", "x", { key: reader })).status, 403);
  const r = await a.request(`/v1/files/${f.id}/content`);
  assert.equal(await r.text(), "Some notes.\n");
  assert.deepEqual((await call("DELETE", `/v1/files/${f.id}`)).body, { id: f.id, object: "file", deleted: true });
  assert.equal((await call("GET", `/v1/files/${f.id}`)).status, 404);
  assert.equal((await call("DELETE", `/v1/files/${second.id}`, undefined, editor)).status, 200);
  assert.deepEqual(readdirSync(join(a.home, "tenants/main/files")), []);
});

test("uploads that are wrong or too much leave nothing", { timeout: 180_000 }, async () => {
  const form = (...parts) => a.request("/v1/files", { method: "POST", body: `--b\r\n${parts.join("\r\n--b\r\n")}\r\n--b--\r\n`, headers: { "content-type": "multipart/form-data; boundary=b" } });
  const file = (name, text = "x") => `content-disposition: form-data; name="file"; filename="${name}"\r\n\r\n${text}`;
  assert.equal((await form('content-disposition: form-data; name="purpose"\r\n\r\nassistants')).status, 400);
  assert.equal((await form(file(".hidden"))).status, 400);
  assert.equal((await form(file("a.txt"), file("b.txt"))).status, 400);
  assert.equal((await (await form(file("../../etc/passwd"))).json()).filename, "passwd");
  assert.equal((await a.request("/v1/files", { method: "POST", body: { file: "x" } })).status, 400);
  const big = "x".repeat(1_500_000);
  const first = await upload("big.txt", big);
  assert.equal(first.status, 200);
  assert.equal((await upload("bigger.txt", big)).status, 413);
  for (const f of (await call("GET", "/v1/files")).body.data) assert.equal((await call("DELETE", `/v1/files/${f.id}`)).status, 200);
  assert.deepEqual(readdirSync(join(a.home, "tenants/main/files")), []);
});

test("a store: made, filled, searched with filters, emptied", { timeout: 180_000 }, async () => {
  const one = (await upload("boiler.md", "# Boiler\n\nThe boiler is inspected by the plumber in October.\n")).body;
  const two = (await upload("roof.md", "# Roof\n\nThe roof is inspected by the roofer in April.\n")).body;
  const { body: vs } = await call("POST", "/v1/vector_stores", { name: "House/Garden", metadata: { team: "facility" }, expires_after: { anchor: "last_active_at", days: 7 }, file_ids: [one.id] });
  assert.equal(vs.object, "vector_store");
  assert.equal(vs.name, "House/Garden");
  assert.equal(vs.id, storeOf("House-Garden"));
  assert.deepEqual(vs.metadata, { team: "facility" });
  assert.equal(vs.expires_after.days, 7);
  assert.equal(vs.file_counts.total, 1);
  const attached = await call("POST", `/v1/vector_stores/${vs.id}/files`, { file_id: two.id, attributes: { part: "roof", year: 2024, urgent: true } });
  assert.equal(attached.status, 200);
  assert.deepEqual([attached.body.id, attached.body.object, attached.body.vector_store_id], [two.id, "vector_store.file", vs.id]);
  assert.equal((await ready(vs.id, one.id)).status, "completed");
  const done = await ready(vs.id, two.id);
  assert.deepEqual([done.status, done.last_error, done.attributes, done.carrel.path], ["completed", null, { part: "roof", year: 2024, urgent: true }, "House-Garden/roof.md"]);
  const changed = await call("POST", `/v1/vector_stores/${vs.id}/files/${one.id}`, { attributes: { part: "boiler", year: 2020 } });
  assert.deepEqual(changed.body.attributes, { part: "boiler", year: 2020 });
  assert.ok(existsSync(join(a.watch, "House-Garden/roof.md")));

  const search = async (more) => (await call("POST", `/v1/vector_stores/${vs.id}/search`, { query: "Who inspects it?", ...more })).body;
  const all = await search({});
  assert.equal(all.object, "vector_store.search_results.page");
  assert.deepEqual(all.search_query, ["Who inspects it?"]);
  const roof = all.data.find((x) => x.file_id === two.id);
  assert.equal(roof.filename, "roof.md");
  assert.match(roof.content[0].text, /roofer in April/);
  assert.equal(roof.attributes.year, 2024);
  assert.match(roof.attributes.hash, /^[0-9a-f]{64}$/);
  assert.equal(roof.carrel.document.id, done.carrel.document);
  const names = async (filters) => (await search({ filters })).data.map((x) => x.filename).sort();
  assert.deepEqual(await names({ type: "eq", key: "part", value: "roof" }), ["roof.md"]);
  assert.deepEqual(await names({ type: "ne", key: "part", value: "roof" }), ["boiler.md"]);
  assert.deepEqual(await names({ type: "gte", key: "year", value: 2020 }), ["boiler.md", "roof.md"]);
  assert.deepEqual(await names({ type: "lt", key: "year", value: 2024 }), ["boiler.md"]);
  assert.deepEqual(await names({ type: "in", key: "part", value: ["roof", "cellar"] }), ["roof.md"]);
  assert.deepEqual(await names({ type: "nin", key: "part", value: ["roof"] }), ["boiler.md"]);
  assert.deepEqual(await names({ type: "and", filters: [{ type: "eq", key: "urgent", value: true }, { type: "gt", key: "year", value: 2000 }] }), ["roof.md"]);
  assert.deepEqual(await names({ type: "or", filters: [{ type: "eq", key: "filename", value: "boiler.md" }, { type: "eq", key: "part", value: "roof" }] }), ["boiler.md", "roof.md"]);
  assert.deepEqual(await names({ type: "eq", key: "year", value: "2024" }), [], "a number is no string");
  const several = await search({ query: ["boiler plumber", "roof roofer"], max_num_results: 2, ranking_options: { ranker: "auto", score_threshold: 0 }, rewrite_query: true });
  assert.deepEqual(several.data.map((x) => x.filename).sort(), ["boiler.md", "roof.md"]);
  for (const bad of [{ filters: { type: "like", key: "a", value: "b" } }, { query: [] }, { max_num_results: 51 }, { filters: { type: "and", filters: [] } }]) {
    assert.equal((await call("POST", `/v1/vector_stores/${vs.id}/search`, { query: "x", ...bad })).status, 400, JSON.stringify(bad));
  }
  const asked = async (filters) => (await call("POST", "/v1/responses", { model: "carrel", input: "Who inspects it, the roofer or the plumber?", tools: [{ type: "file_search", vector_store_ids: [vs.id], filters }], include: ["file_search_call.results"] }));
  const narrowed = (await asked({ type: "eq", key: "part", value: "roof" })).body;
  assert.deepEqual(narrowed.output[0].results.map((x) => x.filename), ["roof.md"]);
  assert.deepEqual((await asked({ type: "eq", key: "part", value: "moon" })).body.output[0].results, []);
  assert.equal((await asked({ type: "like", key: "part", value: "moon" })).status, 400);
  assert.ok((await asked({})).body.output[0].results.length > 1, "n8n sends {} where no filter is meant");
  const content = (await call("GET", `/v1/vector_stores/${vs.id}/files/${two.id}/content`)).body;
  assert.match(content.data[0].text, /roofer in April/);

  const again = await call("POST", `/v1/vector_stores/${vs.id}/files`, { file_id: two.id });
  assert.equal(again.body.carrel.document, done.carrel.document, "the same file again is the same document");
  const copy = (await upload("roof.md", "# Roof\n\nThe roof is inspected by the roofer in April.\n")).body;
  assert.equal((await call("POST", `/v1/vector_stores/${vs.id}/files`, { file_id: copy.id })).body.carrel.document, done.carrel.document, "and the same content of the same name");
  const other = (await upload("roof.md", "# Roof\n\nThe other roof is made of tiles.\n")).body;
  assert.equal((await call("POST", `/v1/vector_stores/${vs.id}/files`, { file_id: other.id })).body.carrel.path, "House-Garden/roof (2).md");
  await ready(vs.id, other.id);

  assert.deepEqual((await call("DELETE", `/v1/vector_stores/${vs.id}/files/${other.id}`)).body, { id: other.id, object: "vector_store.file.deleted", deleted: true });
  assert.equal((await call("GET", `/v1/vector_stores/${vs.id}/files/${other.id}`)).status, 404);
  assert.equal((await call("GET", `/v1/files/${other.id}`)).status, 200, "the uploaded file stays");
  assert.equal((await call("DELETE", `/v1/files/${one.id}`)).status, 200);
  assert.ok(!existsSync(join(a.watch, "House-Garden/boiler.md")), "a file that is deleted leaves its stores");
  assert.deepEqual((await call("DELETE", `/v1/vector_stores/${vs.id}`)).body, { id: vs.id, object: "vector_store.deleted", deleted: true });
  assert.equal((await call("GET", `/v1/vector_stores/${vs.id}`)).status, 404);
  assert.ok(!existsSync(join(a.watch, "House-Garden/roof.md")));
});

test("documents of the watched folder are files of a store", { timeout: 180_000 }, async () => {
  const vs = storeOf("kitchen");
  const store = (await call("GET", `/v1/vector_stores/${vs}`)).body;
  assert.deepEqual([store.name, store.status, store.file_counts.completed], ["kitchen", "completed", 2]);
  assert.ok(store.usage_bytes > 100);
  const list = (await call("GET", `/v1/vector_stores/${vs}/files`)).body;
  assert.deepEqual(list.data.map((x) => x.carrel.path).sort(), ["kitchen/coffee.md", "kitchen/tea.md"]);
  const pages = [];
  for (let after = ""; ;) {
    const p = (await call("GET", `/v1/vector_stores/${vs}/files?limit=1&order=asc&filter=completed${after}`)).body;
    pages.push(...p.data.map((x) => x.id));
    if (!p.has_more) break;
    after = `&after=${p.last_id}`;
  }
  assert.deepEqual(pages.sort(), list.data.map((x) => x.id).sort());
  assert.deepEqual((await call("GET", `/v1/vector_stores/${vs}/files?filter=failed`)).body.data, []);
  const coffee = list.data.find((x) => x.carrel.path.endsWith("coffee.md"));
  await call("POST", `/v1/vector_stores/${vs}/files/${coffee.id}`, { attributes: { floor: 2 } });
  const found = (await call("POST", `/v1/vector_stores/${vs}/search`, { query: "machine", filters: { type: "eq", key: "floor", value: 2 } }, reader)).body;
  assert.deepEqual(found.data.map((x) => x.file_id), [coffee.id]);
  assert.match(await (await a.request(`/v1/files/${coffee.id}/content`, { key: reader })).text(), /espresso/);
  assert.equal((await call("GET", `/v1/files/${coffee.id}`, undefined, reader)).body.filename, "coffee.md");
  assert.equal((await call("DELETE", `/v1/vector_stores/${vs}`)).status, 409, "what came by the folder is not deleted with a store");
  assert.equal((await call("DELETE", `/v1/vector_stores/${vs}/files/${coffee.id}`, undefined, reader)).status, 403);
  assert.equal((await call("POST", "/v1/vector_stores", { name: "kitchen" })).body.id, storeOf("kitchen (2)"), "a new store is empty");
  assert.ok((await call("GET", "/v1/vector_stores?limit=100")).body.data.some((x) => x.id === vs));
  const seen = (await call("GET", "/v1/vector_stores", undefined, reader)).body.data.map((x) => x.name);
  assert.deepEqual(seen, ["kitchen"], "an empty store is its maker's");
  assert.equal((await call("GET", "/v1/vector_stores/vs_zz")).status, 404);
  assert.equal((await call("POST", `/v1/vector_stores/${storeOf("nowhere")}/search`, { query: "x" })).status, 404);
});

test("an editor attaches a batch; one that cannot be is said, and cancelling what is over changes nothing", { timeout: 180_000 }, async () => {
  const files = [];
  for (let i = 0; i < 3; i++) files.push((await upload(`batch ${i}.txt`, `Number ${i} of the batch is about otters.\n`, { key: editor })).body.id);
  const vs = (await call("POST", "/v1/vector_stores", { name: "batches" }, editor)).body;
  const { status, body: b } = await call("POST", `/v1/vector_stores/${vs.id}/file_batches`, { file_ids: [...files, "file-nothere"], attributes: { lot: "a" } }, editor);
  assert.equal(status, 200);
  assert.match(b.id, /^vsfb_/);
  assert.equal(b.file_counts.total, 4);
  const end = await until("the batch is read", async () => {
    const x = (await call("GET", `/v1/vector_stores/${vs.id}/file_batches/${b.id}`, undefined, editor)).body;
    return x.status !== "in_progress" && x;
  });
  assert.deepEqual([end.status, end.file_counts], ["completed", { in_progress: 0, completed: 3, failed: 1, cancelled: 0, total: 4 }]);
  const failed = (await call("GET", `/v1/vector_stores/${vs.id}/file_batches/${b.id}/files?filter=failed`, undefined, editor)).body.data;
  assert.deepEqual(failed.map((x) => [x.id, x.last_error.code]), [["file-nothere", "invalid_file"]]);
  const own = (await call("GET", `/v1/vector_stores/${vs.id}/files`, undefined, editor)).body.data;
  assert.deepEqual(own.map((x) => x.attributes), [{ lot: "a" }, { lot: "a" }, { lot: "a" }]);
  assert.equal((await call("POST", `/v1/vector_stores/${vs.id}/file_batches/${b.id}/cancel`, {}, editor)).body.status, "completed");
  assert.equal((await call("GET", `/v1/vector_stores/${vs.id}/file_batches/${b.id}`, undefined, reader)).status, 404);
});

test("what is erased leaves the uploaded files too", { timeout: 180_000 }, async () => {
  const f = (await upload("letter.txt", "A letter of Quentin Unerhoert to the house.\n")).body;
  const bare = (await upload("draft.txt", "Draft: Quentin Unerhoert writes again.\n")).body;
  const kept = (await upload("kept.txt", "Nobody in particular.\n")).body;
  const vs = (await call("POST", "/v1/vector_stores", { name: "letters", file_ids: [f.id] })).body;
  await ready(vs.id, f.id);
  await carrel("erase", "--subject", "Quentin Unerhoert", "--yes");
  assert.deepEqual((await call("GET", "/v1/files")).body.data.map((x) => x.id).filter((x) => [f.id, bare.id, kept.id].includes(x)), [kept.id]);
  assert.ok(!readdirSync(join(a.home, "tenants/main/files")).some((x) => x === f.id || x === bare.id));
});

test("a backup holds what was uploaded and is no document yet", { timeout: 180_000 }, async () => {
  const b = await startAppliance();
  const form = new FormData();
  form.append("purpose", "assistants");
  form.append("file", new Blob(["Kept in a backup.\n"]), "kept.txt");
  const f = await (await b.request("/v1/files", { method: "POST", body: form })).json();
  const vault = join(b.home, "../vault"), to = join(b.home, "../restored");
  await exec(join(binDir, "carrel"), ["backup", vault, "--home", b.home]);
  await exec(join(binDir, "carrel"), ["restore", vault, "--home", to]);
  const { key } = b;
  await b.stop({ keep: true });
  const c = await startAppliance({ home: to, config: null });
  c.key ??= key;
  assert.equal(await (await c.request(`/v1/files/${f.id}/content`)).text(), "Kept in a backup.\n");
  await c.stop();
});

test("another's file is no file: neither attached nor in a batch is anything told of it, and its row stays", { timeout: 180_000 }, async () => {
  const second = (await a.post("/api/keys", { name: "second editor", role: "editor" })).key;
  const vs = (await call("POST", "/v1/vector_stores", { name: "both" }, editor)).body;
  const file = (await upload("otter.txt", "The otter sleeps in the reeds.\n", { key: editor })).body.id;
  const batch = async (ids, key) => (await call("POST", `/v1/vector_stores/${vs.id}/file_batches`, { file_ids: ids, attributes: { lot: "b" } }, key)).body;
  const first = (await call("POST", `/v1/vector_stores/${vs.id}/file_batches`, { file_ids: [file], attributes: { lot: "a" } }, editor)).body;
  const { carrel: { document } } = await ready(vs.id, file, editor);
  const path = (b) => `/v1/vector_stores/${vs.id}/file_batches/${b.id}`;
  const nothing = "file-0123456789abcdefghjkmnpqrs";
  const mine = await batch([file, nothing, document], second);
  assert.deepEqual([mine.status, mine.file_counts.failed, mine.file_counts.total], ["failed", 3, 3], JSON.stringify(mine));
  const told = (await call("GET", `${path(mine)}/files`, undefined, second)).body.data;
  assert.deepEqual(told.map((f) => f.id).sort(), [file, nothing, document].sort());
  const without = (f) => JSON.stringify(f).replaceAll(f.id, "");
  assert.deepEqual(new Set(told.map((f) => without({ ...f, created_at: 0 }))).size, 1, "nothing tells one that is there from one that is not");
  for (const id of [file, document, nothing]) {
    const { status, body } = await call("POST", `/v1/vector_stores/${vs.id}/files`, { file_id: id }, second);
    assert.deepEqual([status, body.error?.code], [404, "not_found"]);
  }
  assert.equal((await call("GET", path(mine), undefined, editor)).status, 404);
  assert.equal((await call("GET", path(first), undefined, second)).status, 404);
  assert.deepEqual((await call("POST", `${path(mine)}/cancel`, {}, second)).body.status, "failed");
  const row = (await call("GET", `/v1/vector_stores/${vs.id}/files/${file}`, undefined, editor)).body;
  assert.deepEqual([row.status, row.attributes], ["completed", { lot: "a" }]);
  assert.deepEqual((await call("GET", path(first), undefined, editor)).body.file_counts.completed, 1);
  const run = await batch([file], a.key);
  assert.deepEqual([run.status, run.file_counts.completed], ["completed", 1], "an administrator's batch may hold anybody's");
  assert.equal((await call("DELETE", `/v1/vector_stores/${vs.id}`, undefined, editor)).status, 200);
});

test("a batch that names a document of the folder does not hide it", { timeout: 180_000 }, async () => {
  const vs = storeOf("kitchen");
  const tea = (await call("GET", `/v1/vector_stores/${vs}/files`)).body.data.find((x) => x.carrel.path.endsWith("tea.md"));
  const b = (await call("POST", `/v1/vector_stores/${vs}/file_batches`, { file_ids: [tea.id] }, editor)).body;
  assert.equal(b.file_counts.failed, 1);
  for (const key of [a.key, reader, editor]) {
    assert.equal((await call("GET", `/v1/vector_stores/${vs}/files/${tea.id}`, undefined, key)).body.status, "completed");
  }
});
