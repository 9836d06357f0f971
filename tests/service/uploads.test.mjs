// Files in parts: what is announced is kept to, parts go together in the order asked for, nobody else's are touched, and
// nothing is left of what was dropped, is over, or was erased meanwhile.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { startAppliance, until } from "./appliance.mjs";

let a, editor, other, reader;
before(async () => {
  a = await startAppliance({ config: "http:\n  requests_per_minute: 0\n  max_upload_bytes: 1MiB\nfiles:\n  max_total_bytes: 3MiB\n" });
  const key = async (name, role) => (await a.post("/api/keys", { name, role })).key;
  [editor, other, reader] = [await key("editor", "editor"), await key("other", "editor"), await key("reader", "reader")];
});
after(async () => a?.stop());

const call = async (path, body, key = editor) => {
  const r = await a.request(path, { method: "POST", body, key });
  return { status: r.status, body: await r.json() };
};
const announce = (text, more = {}, key = editor) => call("/v1/uploads", { filename: "long.txt", purpose: "assistants", bytes: text.length, mime_type: "text/plain", ...more }, key);
const part = (upload, text, key = editor) => {
  const form = new FormData();
  form.append("data", new Blob([text]));
  return call(`/v1/uploads/${upload}/parts`, form, key);
};
const files = () => readdirSync(join(a.home, "tenants/main/files")).sort();
const md5 = (text) => createHash("md5").update(text).digest("hex");

test("parts become one file in the order asked for; asked again it is the same file", async () => {
  const texts = ["a".repeat(900_000), "b".repeat(900_000), "The end.\n"], whole = texts.join("");
  const { status, body: u } = await announce(whole, { expires_after: { anchor: "created_at", seconds: 3600 } });
  assert.equal(status, 200, JSON.stringify(u));
  assert.deepEqual([u.object, u.status, u.bytes, u.filename, u.purpose, u.file], ["upload", "pending", whole.length, "long.txt", "assistants", null]);
  assert.equal(u.expires_at - u.created_at, 3600);
  const ids = [];
  for (const i of [2, 0, 1]) { // as they come
    const p = await part(u.id, texts[i]);
    assert.equal(p.status, 200, JSON.stringify(p.body));
    assert.deepEqual([p.body.object, p.body.upload_id], ["upload.part", u.id]);
    ids[i] = p.body.id;
  }
  assert.deepEqual(files(), [...ids].sort());
  const done = await call(`/v1/uploads/${u.id}/complete`, { part_ids: ids, md5: md5(whole).toUpperCase() });
  assert.equal(done.status, 200, JSON.stringify(done.body));
  const { file } = done.body;
  assert.deepEqual([done.body.status, file.bytes, file.filename, file.expires_at - file.created_at], ["completed", whole.length, "long.txt", 3600]);
  assert.deepEqual(files(), [file.id]);
  assert.equal(await (await a.request(`/v1/files/${file.id}/content`, { key: editor })).text(), whole);
  const again = await call(`/v1/uploads/${u.id}/complete`, { part_ids: ids, md5: md5(whole) });
  assert.deepEqual(again.body, done.body);
  assert.equal((await part(u.id, "more")).status, 409);
  const late = await a.request(`/v1/uploads/${u.id}/cancel`, { method: "POST", key: editor });
  assert.deepEqual([late.status, late.headers.get("x-should-retry")], [409, "false"], "official clients ask again otherwise");
  assert.equal((await a.request(`/v1/files/${file.id}`, { method: "DELETE", key: editor })).status, 200);
  assert.deepEqual(files(), []);
});

test("what does not fit what was announced is refused, and the upload goes on", async () => {
  for (const [more, param] of [[{ bytes: 0 }, "bytes"], [{ bytes: undefined }, "bytes"], [{ bytes: "9" }, "bytes"], [{ filename: ".hidden" }, "filename"], [{ filename: undefined }, "filename"], [{ purpose: undefined }, "purpose"], [{ expires_after: { seconds: 1 } }, "expires_after"]]) {
    const r = await announce("x", more);
    assert.deepEqual([r.status, r.body.error.param], [400, param], JSON.stringify(more));
  }
  const { body: u } = await announce("1234567890");
  const one = (await part(u.id, "12345")).body.id;
  assert.equal((await part(u.id, "123456")).status, 413, "more than is missing");
  const two = (await part(u.id, "67890")).body.id;
  const complete = (body) => call(`/v1/uploads/${u.id}/complete`, body);
  const strange = `part_${"0".repeat(26)}`;
  for (const body of [{}, { part_ids: [] }, { part_ids: [one] }, { part_ids: [one, one] }, { part_ids: [one, strange] }, { part_ids: ["../x"] }, { part_ids: [one, two], md5: md5("other") }, { part_ids: [one, two], md5: "x" }]) {
    assert.equal((await complete(body)).status, 400, JSON.stringify(body));
  }
  assert.deepEqual(files(), [one, two].sort());
  const done = await Promise.all([complete({ part_ids: [one, two] }), complete({ part_ids: [one, two] })]);
  assert.deepEqual(done.map((r) => [r.status, r.body.status]), [[200, "completed"], [200, "completed"]]);
  assert.equal(done[0].body.file.id, done[1].body.file.id);
  assert.deepEqual(files(), [done[0].body.file.id]);
  assert.equal((await a.request(`/v1/files/${files()[0]}`, { method: "DELETE", key: editor })).status, 200);
});

test("an upload is its maker's and the administrators'; the room is the tenant's", async () => {
  assert.equal((await announce("x", {}, reader)).status, 403);
  assert.equal((await announce("x", { bytes: 4 << 20 })).status, 413);
  const { body: u } = await announce("x", { bytes: 2 << 20 });
  assert.equal((await announce("x", { bytes: 2 << 20 }, other)).status, 413, "what is announced counts");
  const form = new FormData();
  form.append("purpose", "assistants");
  form.append("file", new Blob(["y".repeat(1_040_000)]), "y.txt");
  assert.equal((await call("/v1/files", form, other)).status, 200);
  assert.equal((await call("/v1/files", form, other)).status, 413);
  assert.equal((await part(u.id, "x".repeat((1 << 20) + 1))).status, 413, "http.max_upload_bytes");
  assert.equal((await part(u.id, "x", other)).status, 404);
  assert.equal((await call(`/v1/uploads/${u.id}/cancel`, undefined, other)).status, 404);
  assert.equal((await call(`/v1/uploads/${u.id}/complete`, { part_ids: [`part_${"0".repeat(26)}`] }, other)).status, 404);
  assert.equal((await part(u.id, "x")).status, 200);
  const dropped = await call(`/v1/uploads/${u.id}/cancel`, undefined, a.key);
  assert.deepEqual([dropped.status, dropped.body.status], [200, "cancelled"]);
  assert.equal((await call(`/v1/uploads/${u.id}/cancel`)).body.status, "cancelled");
  assert.ok(!files().some((f) => f.startsWith("part_")), "its parts are gone");
  const folder = join(a.home, "tenants/main/audit");
  const acts = readdirSync(folder).filter((n) => n.endsWith(".log")).map((n) => readFileSync(join(folder, n), "utf8")).join("");
  for (const act of ["create", "complete", "cancel"]) assert.match(acts, new RegExp(`"act":"upload\\.${act}"`));
});

test("an erasure takes parts that wait", async () => {
  const { body: u } = await announce("Of Rosalinde Quark.");
  const p = (await part(u.id, "Of Rosalinde Quark.")).body.id;
  assert.ok(files().includes(p));
  a.drop("quark.md", "# Quark\n\nRosalinde Quark came in May.\n");
  await a.settled({ n: 1 });
  const r = await a.post("/api/erasures", { subject: ["Rosalinde Quark"] });
  await until("it is erased", async () => (await a.get(`/api/erasures/${r.id}`)).state === "done");
  assert.ok(!files().includes(p));
  assert.equal((await call(`/v1/uploads/${u.id}/complete`, { part_ids: [p] })).status, 404);
});

test("a completion that finds no room keeps the parts: it can be asked for again", async () => {
  const rows = (sql) => execFileSync("python3", ["-c", "import sqlite3, sys\nd = sqlite3.connect(sys.argv[1], timeout=20)\nd.execute(sys.argv[2])\nd.commit()", join(a.home, "tenants/main/serve.db"), sql]);
  const u = (await announce("all of it")).body;
  const p = (await part(u.id, "all of it")).body;
  rows("INSERT INTO files WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000) SELECT 'file-full' || i, 'nobody', 'x', 'x', 0, '', 0, 9000000000000000 FROM n");
  const full = await call(`/v1/uploads/${u.id}/complete`, { part_ids: [p.id] });
  assert.equal(full.status, 413, JSON.stringify(full.body));
  rows("DELETE FROM files WHERE user = 'nobody'");
  const done = await call(`/v1/uploads/${u.id}/complete`, { part_ids: [p.id] });
  assert.equal(done.status, 200, JSON.stringify(done.body));
  assert.deepEqual(files().filter((f) => f === p.id), [], "then they go");
});
