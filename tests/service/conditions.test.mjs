// Writes with a condition: If-Match, If-None-Match, If-Unmodified-Since hold for what GET of the address shows, or nothing is
// done; of many who write at once over the same state, one does.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { startAppliance, until } from "./appliance.mjs";

let a;
before(async () => {
  a = await startAppliance();
  for (const name of ["one", "two", "three"]) a.drop(`${name}.md`, `# ${name}\n\nThe herons arrive in March, says note ${name}.\n`);
  await a.settled({ n: 3 });
});
after(async () => {
  const end = await a?.stop();
  assert.equal(end.code, 0);
  assert.doesNotMatch(a.output, /AddressSanitizer|LeakSanitizer|runtime error/, a.output.slice(-6000));
});
const call = async (method, path, headers = {}, body, key = a.key) => {
  const r = await a.request(path, { method, headers, body, key });
  const text = await r.text();
  return { status: r.status, etag: r.headers.get("etag"), modified: r.headers.get("last-modified"), text, json: text ? JSON.parse(text) : null };
};
const refused = (r) => assert.deepEqual([r.status, r.json.error.code], [412, "precondition_failed"], r.text);
const store = async () => {
  const made = await call("POST", "/v1/vector_stores", {}, { name: "birds" });
  assert.equal(made.status, 200, made.text);
  const path = `/v1/vector_stores/${made.json.id}`;
  return { path, ...(await call("GET", path)) };
};

test("a store is changed and deleted only as it was seen", async () => {
  const s = await store();
  assert.match(s.etag, /^"[0-9a-f]{32}"$/, "a strong tag: If-Match knows no other");
  const changed = await call("POST", s.path, { "if-match": s.etag }, { name: "herons" });
  assert.equal(changed.status, 200, changed.text);
  refused(await call("POST", s.path, { "if-match": s.etag }, { name: "storks" }));
  refused(await call("DELETE", s.path, { "if-match": s.etag }));
  const now = await call("GET", s.path);
  assert.equal(now.json.name, "herons");
  assert.notEqual(now.etag, s.etag);
  refused(await call("DELETE", s.path, { "if-match": `W/${now.etag}` })); // weak: RFC 9110 13.1.1
  refused(await call("DELETE", s.path, { "if-match": '"other"' }));
  refused(await call("DELETE", s.path, { "if-none-match": "*" }));
  refused(await call("DELETE", s.path, { "if-none-match": `W/${now.etag}` }));
  assert.equal((await call("GET", s.path)).status, 200);
  assert.equal((await call("DELETE", s.path, { "if-match": `"other", ${now.etag}` })).status, 200);
  assert.equal((await call("GET", s.path)).status, 404);
  const { status } = await call("DELETE", s.path, { "if-match": now.etag });
  assert.equal(status, 404, "without the condition it would be 404 too: RFC 9110 13.2.1");
});

test("a document is deleted only as it was seen", async () => {
  const [doc, other] = await a.documents();
  const path = `/api/documents/${doc.id}`;
  const seen = await call("GET", path);
  assert.ok(Date.parse(seen.modified) / 1000 === seen.json.changed, `${seen.modified} ${seen.json.changed}`);
  refused(await call("DELETE", path, { "if-match": '"x"' }));
  refused(await call("DELETE", path, { "if-unmodified-since": "Sun, 06 Nov 1994 08:49:37 GMT" }));
  refused(await call("DELETE", path, { "if-unmodified-since": "Sun, 06 Nov 1994 08:49:37 GMT", "if-none-match": '"x"' }));
  assert.equal((await call("GET", path)).status, 200);
  assert.equal((await call("DELETE", path, { "if-unmodified-since": seen.modified })).status, 200);
  const second = await call("GET", `/api/documents/${other.id}`);
  // If-Match counts, the date beside it does not: 13.2.2
  assert.equal((await call("DELETE", `/api/documents/${other.id}`, { "if-match": second.etag, "if-unmodified-since": "Sun, 06 Nov 1994 08:49:37 GMT" })).status, 200);
});

test("where there is no ETag a condition holds for nothing", async () => {
  const key = (await call("POST", "/api/keys", {}, { name: "short", groups: [] })).json;
  refused(await call("DELETE", `/api/keys/${key.id}`, { "if-match": '"x"' }));
  refused(await call("POST", "/api/search", { "if-match": '"x"' }, { query: "herons" }));
  const form = new FormData();
  form.append("file", new Blob(["new"]), "new.txt");
  refused(await call("POST", "/api/documents", { "if-none-match": "*" }, form)); // it names its files too late
  form.append("path", "other.txt");
  refused(await call("POST", "/api/documents?path=none.txt", { "if-none-match": "*" }, form)); // and its fields count more than ?path=
  assert.ok(!(await a.documents()).some((d) => /^(new|none|other)\.txt$/.test(d.path)));
  assert.equal((await call("DELETE", `/api/keys/${key.id}`)).status, 200);
});

const ready = (path, text) => until(`${path} is read`, async () => {
  const d = (await a.documents()).find((x) => x.path === path);
  return d?.state === "ready" && (text === undefined || (await (await a.request(`/api/documents/${d.id}/original`)).text()) === text) && d;
});
const at = (path) => `/api/documents?path=${path}&replace=true`;
const onDisk = (path) => readFileSync(join(a.watch, path), "utf8");

test("an upload replaces a document only as it was seen", async () => {
  const put = (headers, body, path = "draft.md", key = a.key) => call("POST", at(path), headers, body, key);
  refused(await put({ "if-match": "*" }, "# None\n\nThere is nothing to replace.\n"));
  assert.equal((await put({ "if-none-match": "*" }, "# One\n\nThe heron is grey.\n")).status, 201, "where none stands one is made");
  refused(await put({ "if-none-match": "*" }, "# Two\n\nThe heron is blue.\n"));
  const doc = await ready("draft.md");
  const seen = await call("GET", `/api/documents/${doc.id}`);
  refused(await put({ "if-match": '"x"' }, "x"));
  refused(await put({ "if-match": `W/${seen.etag}` }, "x"));
  refused(await put({ "if-none-match": seen.etag }, "x"));
  refused(await put({ "if-unmodified-since": "Sun, 06 Nov 1994 08:49:37 GMT" }, "x"));
  const two = "# Two\n\nThe heron is blue.\n";
  const done = await put({ "if-match": seen.etag }, two);
  assert.equal(done.status, 201, done.text);
  refused(await put({ "if-match": seen.etag }, "# Three\n\nThe heron is red.\n"));
  assert.equal(onDisk("draft.md"), two);
  await ready("draft.md", two);
  const file = (await a.request(`/api/documents/${doc.id}/original`)).headers.get("etag");
  const large = `# Four\n\n${"The heron stands in the reeds. ".repeat(100_000)}\n`; // a body that waits while it is looked
  assert.equal((await put({ "if-match": file }, large)).status, 201, "the tag of its bytes is one too");
  assert.equal(onDisk("draft.md"), large);
  // the collection is part of where it goes; another's condition is not about this one
  const notes = await call("POST", "/api/documents?collection=notes&path=draft.md", { "if-none-match": "*" }, two);
  assert.equal(notes.status, 201, notes.text);
  refused(await call("POST", "/api/documents?path=notes/draft.md&replace=true", { "if-none-match": "*" }, two));
});

test("of many who replace the same document as they saw it, one does", async () => {
  assert.equal((await call("POST", at("race.md"), {}, "# Race\n\nThe heron waits.\n")).status, 201);
  const doc = await ready("race.md");
  const { etag } = await call("GET", `/api/documents/${doc.id}`);
  const texts = Array.from({ length: 12 }, (_, i) => `# Race\n\nThe heron of number ${i} came first.\n`);
  const all = await Promise.all(texts.map((t) => call("POST", at("race.md"), { "if-match": etag }, t)));
  assert.deepEqual(all.map((r) => r.status).sort(), [201, ...Array(11).fill(412)], JSON.stringify(all.map((r) => r.text)));
  assert.equal(onDisk("race.md"), texts[all.findIndex((r) => r.status === 201)]);
});

test("an upload's condition tells nobody of what he may not read", async () => {
  const editor = (await call("POST", "/api/keys", {}, { name: "only one's own", role: "editor", groups: [] })).json.key;
  assert.equal((await call("POST", at("mine.md"), {}, "# Mine\n\nThe heron is mine.\n", editor)).status, 201);
  const doc = await ready("mine.md");
  const seen = await call("GET", `/api/documents/${doc.id}`, {}, undefined, editor);
  assert.equal(seen.status, 200, seen.text);
  refused(await call("POST", at("mine.md"), { "if-match": '"x"' }, "x", editor));
  assert.equal((await call("POST", at("mine.md"), { "if-match": seen.etag }, "# Mine\n\nThe heron is still mine.\n", editor)).status, 201);
  const blind = (await call("POST", "/api/keys", {}, { name: "puts only", groups: [], role: "editor", scopes: ["ingest"] })).json.key;
  for (const path of ["mine.md", "nothing.md"]) assert.equal((await call("POST", at(path), { "if-match": "*" }, "x", blind)).status, 403, path);
});

test("who may not read it learns nothing by a condition", async () => {
  const s = await store();
  const key = (await call("POST", "/api/keys", {}, { name: "ingests", groups: [], role: "editor", scopes: ["manage"] })).json.key;
  const r = await call("DELETE", s.path, { "if-match": s.etag }, undefined, key);
  assert.equal(r.status, 403, r.text);
  assert.equal((await call("GET", s.path)).status, 200);
});

test("of many who change the same state at once, one does; others wait for no condition of theirs", async () => {
  const s = await store();
  const all = await Promise.all([
    ...Array.from({ length: 20 }, (_, i) => call("POST", s.path, { "if-match": s.etag }, { name: `n${i}` })),
    ...Array.from({ length: 5 }, () => call("GET", s.path)),
  ]);
  assert.equal(all.slice(0, 20).filter((r) => r.status === 200).length, 1, JSON.stringify(all.map((r) => r.status)));
  assert.equal(all.slice(0, 20).filter((r) => r.status === 412).length, 19);
  const won = all.slice(0, 20).findIndex((r) => r.status === 200);
  assert.equal((await call("GET", s.path)).json.name, `n${won}`);
});

test("clients that leave while they wait hold nobody up", async () => {
  const s = await store();
  const leaving = Array.from({ length: 30 }, (_, i) => {
    const gone = new AbortController();
    setTimeout(() => gone.abort(), i % 10);
    return a.request(s.path, { method: "POST", headers: { "if-match": i % 3 ? s.etag : "*" }, body: { name: `n${i}` }, signal: gone.signal }).catch(() => null);
  });
  await Promise.all(leaving);
  const now = await call("GET", s.path);
  assert.equal((await call("DELETE", s.path, { "if-match": now.etag })).status, 200);
  assert.match(await (await a.request("/metrics")).text(), /carrel_serve_http_requests_in_flight 1\n/);
});
