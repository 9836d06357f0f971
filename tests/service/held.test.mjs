// A key held to collections finds, lists, reads and counts nothing of any other, whichever way it asks; who may put
// documents in and take them out; carrel user and carrel key. A whole appliance.
//
//   CARREL_BIN=build/asan/bin node --test tests/service/held.test.mjs

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { binDir, startAppliance, until } from "./appliance.mjs";

let a;
let docs;
before(async () => {
  a = await startAppliance();
  a.drop("contracts/lease.md", "# Lease\n\nThe lease of the northern warehouse ends in the month of October. Its rent is paid quarterly.\n");
  a.drop("salaries/table.md", "# Salaries\n\nThe lease of the director's company car costs more than his secretary earns.\n");
  a.drop("open.md", "# Canteen\n\nThe canteen opens at eleven. Nobody needs a lease to eat.\n");
  docs = Object.fromEntries((await a.settled({ n: 3 })).map((d) => [d.path, d]));
});
after(async () => {
  const end = await a?.stop();
  assert.equal(end.code, 0, a.output.slice(-4000));
  assert.doesNotMatch(a.output, /AddressSanitizer|LeakSanitizer|runtime error/, a.output.slice(-6000));
});

const as = (key) => (path, body, method = body === undefined ? "GET" : "POST") => a.request(path, { key, body, method });
const held = async (more = {}) => (await a.post("/api/keys", { name: "held", collections: ["contracts"], ...more })).key;

test("held to a collection: search, explain, lists, facets, documents, models", async () => {
  for (const role of ["reader", "admin"]) {
    const ask = as(await held({ role }));
    const found = await (await ask("/api/search", { query: "lease" })).json();
    assert.deepEqual([...new Set(found.passages.map((p) => p.document.path))], ["contracts/lease.md"], role);
    for (const collections of [["salaries"], ["default"], ["contracts", "salaries"]]) {
      const narrowed = await (await ask("/api/search", { query: "lease", collections })).json();
      assert.ok(narrowed.passages.every((p) => p.document.path === "contracts/lease.md"), `${role} ${collections}`);
    }
    const why = await ask("/api/explain", { query: "lease", document: docs["salaries/table.md"].id });
    assert.doesNotMatch(await why.text(), /secretary|salaries/);
    const list = await (await ask("/api/documents")).json();
    assert.deepEqual(list.documents.map((d) => d.path), ["contracts/lease.md"]);
    const facets = await (await ask("/api/facets")).json();
    assert.deepEqual(facets.collections.map((c) => c.value), ["contracts"]);
    assert.equal((await (await ask("/api/progress")).json()).ready, 1);
    for (const path of ["salaries/table.md", "open.md"]) {
      const id = docs[path].id;
      for (const way of ["", "/text", "/original", "/versions", "/pages/1.png"]) assert.equal((await ask(`/api/documents/${id}${way}`)).status, 404, `${role} ${path}${way}`);
    }
    assert.equal((await ask(`/api/documents/${docs["contracts/lease.md"].id}/text`)).status, 200);
    assert.doesNotMatch(await (await ask("/v1/models")).text(), /salaries/);
  }
});

test("held to a collection: answers and agents", async () => {
  const ask = as(await held());
  for (const [path, body] of [
    ["/v1/chat/completions", { model: "carrel", messages: [{ role: "user", content: "What does the lease of the company car cost?" }] }],
    ["/v1/chat/completions", { model: "carrel:salaries", messages: [{ role: "user", content: "What does the lease of the company car cost?" }] }],
    ["/v1/responses", { model: "carrel", input: "What does the lease of the company car cost?", include: ["file_search_call.results"] }],
    ["/v1/messages", { model: "carrel", max_tokens: 100, messages: [{ role: "user", content: "What does the lease of the company car cost?" }] }],
  ]) {
    const r = await ask(path, body);
    assert.doesNotMatch(await r.text(), /secretary|salaries\/table|canteen opens/i, path);
  }
  const headers = { accept: "application/json, text/event-stream", "mcp-protocol-version": "2025-06-18" };
  const key = await held();
  const tool = async (name, args) => (await a.request("/mcp", { key, method: "POST", headers, body: { jsonrpc: "2.0", id: 1, method: "tools/call", params: { name, arguments: args } } })).text();
  assert.match(await tool("search", { query: "lease" }), /northern warehouse/);
  assert.doesNotMatch(await tool("search", { query: "lease" }), /secretary|canteen/);
  assert.doesNotMatch(await tool("list_collections", {}), /salaries|default/);
  const others = (await a.search("secretary"))[0];
  assert.doesNotMatch(await tool("read_passage", { passage: others.passage ?? others.id }), /secretary/);
});

test("agents do what their key's scopes are for", async () => {
  const key = (await a.post("/api/keys", { name: "searches", role: "service", scopes: ["search"] })).key;
  const headers = { accept: "application/json, text/event-stream", "mcp-protocol-version": "2025-06-18" };
  const tool = async (name, args) => (await a.request("/mcp", { key, method: "POST", headers, body: { jsonrpc: "2.0", id: 1, method: "tools/call", params: { name, arguments: args } } })).text();
  assert.match(await tool("search", { query: "lease" }), /northern warehouse/);
  assert.match(await tool("ask", { question: "When does the lease end?" }), /scope ask/);
  assert.match(await tool("list_collections", {}), /scope read/);
});

test("held to a collection: vector stores, and what its owner asked", async () => {
  const ask = as(await held({ role: "service" }));
  const all = (await a.get("/v1/vector_stores")).data;
  const salaries = all.find((v) => v.name === "salaries").id;
  assert.deepEqual((await (await ask("/v1/vector_stores")).json()).data.map((v) => v.name), ["contracts"]);
  for (const way of ["", "/files", "/search"]) {
    const r = await ask(`/v1/vector_stores/${salaries}${way}`, way === "/search" ? { query: "lease" } : undefined);
    assert.equal(r.status, 404, way);
  }
  assert.equal((await ask("/v1/vector_stores", { name: "mine" })).status, 403);
  await a.post("/api/users", { name: "owner", role: "reader", password: "quiet river stones" });
  const whole = (await a.post("/api/keys", { name: "whole", owner: "owner" })).key;
  const part = (await a.post("/api/keys", { name: "part", owner: "owner", collections: ["contracts"] })).key;
  const kept = await (await as(whole)("/v1/responses", { model: "carrel", input: "What does the lease of the company car cost?" })).json();
  assert.equal((await as(whole)(`/v1/responses/${kept.id}`)).status, 200);
  assert.equal((await as(part)(`/v1/responses/${kept.id}`)).status, 404, "the owner asked that, of all documents");
});

test("held to a collection: what is put in", async () => {
  const key = await held({ role: "editor" });
  const put = (query) => a.request(`/api/documents?${query}`, { key, method: "POST", body: "# New\n\nSomething about the lease.\n", headers: { "content-type": "application/octet-stream" } });
  assert.equal((await put("path=contracts/new.md")).status, 201);
  assert.equal((await put("collection=contracts&path=two.md")).status, 201);
  for (const query of ["path=salaries/x.md", "path=x.md", "collection=salaries&path=x.md", "collection=salaries&path=../contracts/x.md"]) {
    const r = await put(query);
    assert.ok([400, 403].includes(r.status), `${query}: ${r.status} ${await r.text()}`);
  }
  assert.equal((await a.request(`/api/documents/${docs["salaries/table.md"].id}`, { key: await held({ role: "service" }), method: "DELETE" })).status, 403);
});

test("an editor takes out what he reads, and nothing that is hidden from him", async () => {
  const editor = (await a.post("/api/keys", { name: "editor", role: "editor" })).key;
  const made = await a.request("/api/documents?path=notes/passing.md", { key: editor, method: "POST", body: "# Passing\n\nA passing note.\n", headers: { "content-type": "application/octet-stream" } });
  const { documents } = await made.json();
  const id = documents[0].id;
  await until("it is there", async () => (await a.request(`/api/documents/${id}`, { key: editor })).status === 200);
  const reader = (await a.post("/api/keys", { name: "reader" })).key;
  assert.equal((await a.request(`/api/documents/${id}`, { key: reader, method: "DELETE" })).status, 403);
  assert.equal((await a.request(`/api/documents/${id}`, { key: editor, method: "DELETE" })).status, 200);
});

function carrel(...args) {
  return new Promise((done) => {
    const env = { ...process.env, CARREL_HOME: a.home, CARREL_PORT: "", CARREL_KEY: "", NO_COLOR: "1" };
    execFile(join(binDir, "carrel"), args, { env }, (error, stdout, stderr) => done({ code: error ? error.code : 0, stdout, stderr }));
  });
}

test("carrel user and carrel key", async () => {
  const made = await carrel("user", "add", "anna", "--role", "editor", "--groups", "hr,board");
  assert.equal(made.code, 0, made.stderr);
  const signIn = (password) => a.request("/api/session", { key: null, method: "POST", body: { name: "anna", password } });
  const first = await signIn(made.stdout.trim());
  assert.equal(first.status, 201);
  assert.equal((await first.json()).must_change_password, true);
  assert.match((await carrel("user", "list")).stdout, /editor +new password +anna +hr,board/);
  assert.equal((await carrel("user", "add", "anna")).code, 1);
  assert.match((await carrel("user", "role", "anna", "manager")).stdout, /anna: manager/);
  assert.equal((await carrel("user", "role", "anna", "king")).code, 1);
  const again = await carrel("user", "password", "anna");
  assert.equal((await signIn(made.stdout.trim())).status, 401);
  assert.equal((await signIn(again.stdout.trim())).status, 201);
  assert.match((await carrel("user", "disable", "anna")).stdout, /disabled/);
  assert.equal((await signIn(again.stdout.trim())).status, 401);
  assert.equal((await carrel("user", "enable", "anna")).code, 0);
  assert.equal((await carrel("user", "totp-reset", "anna")).code, 0);
  const key = await carrel("key", "create", "script", "--owner", "anna", "--scopes", "search,read", "--collections", "contracts", "--addresses", "127.0.0.0/8", "--days", "30", "--json");
  assert.equal(key.code, 0, key.stderr);
  const k = JSON.parse(key.stdout);
  assert.deepEqual([k.role, k.owner, k.scopes, k.collections, k.addresses], ["manager", "anna", ["search", "read"], ["contracts"], ["127.0.0.0/8"]]);
  assert.ok(Math.abs(k.expires - Date.now() / 1000 - 30 * 86400) < 120);
  assert.equal((await a.request("/api/search", { key: k.key, method: "POST", body: { query: "lease" } })).status, 200);
  assert.match((await carrel("key", "list")).stdout, /manager +\d{4}-\d\d-\d\d \d\d:\d\d +\d{4}-\d\d-\d\d +script/);
  assert.match((await carrel("user", "remove", "anna")).stdout, /removed/);
  assert.equal((await a.request("/api/search", { key: k.key, method: "POST", body: { query: "lease" } })).status, 401);
  assert.equal((await carrel("user", "remove", "anna")).code, 4);
  assert.equal((await carrel("user", "sing", "anna")).code, 2);
  assert.equal((await carrel("key", "create", "x", "--days", "never")).code, 2);
});
