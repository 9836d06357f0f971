// The description of the API: whole, as OpenAPI 3.1 has it, the same as what is served; and the comparison of the other tests with
// it can fail.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { startAppliance } from "./appliance.mjs";
import { compare, operation, problems } from "./openapi.mjs";

let a, doc;
before(async () => {
  a = await startAppliance();
  doc = await (await a.request("/openapi.json", { key: null })).json();
});
after(async () => a?.stop());

test("every operation says what it is for, who may, what comes back and what goes wrong", { timeout: 30_000 }, () => {
  assert.equal(doc.openapi, "3.1.0");
  const ids = new Set();
  for (const [path, item] of Object.entries(doc.paths)) {
    for (const [verb, op] of Object.entries(item)) {
      const where = `${verb} ${path}`;
      assert.ok(!op["x-undescribed"], `${where}: not described in serve/openapi/`);
      assert.ok(op.summary?.length > 3 && op.tags?.length === 1, where);
      assert.ok(Object.keys(op.responses).some((s) => /^[23]/.test(s)), `${where}: no answer`);
      assert.ok(op.responses.default.content["application/json"].schema.$ref.includes("Error"), where);
      assert.ok(!ids.has(op.operationId), op.operationId);
      ids.add(op.operationId);
      assert.deepEqual(op.parameters.filter((p) => p.in === "path").map((p) => `{${p.name}}`), path.match(/\{[^}]+\}/g) ?? [], where);
    }
  }
  assert.ok(ids.size > 70, `${ids.size}`);
});

test("no reference leads nowhere, no schema is for nothing", { timeout: 30_000 }, () => {
  const used = new Set();
  const walk = (v) => {
    if (Array.isArray(v)) v.forEach(walk);
    else if (v && typeof v === "object") {
      if (typeof v.$ref === "string") used.add(v.$ref.replace("#/components/schemas/", ""));
      Object.values(v).forEach(walk);
    }
  };
  walk(doc);
  for (const name of used) assert.ok(doc.components.schemas[name], name);
  for (const name of Object.keys(doc.components.schemas)) if (!name.startsWith("Error")) assert.ok(used.has(name), `${name} is described and never used`);
});

test("who may call it, as the doors have it: without a key all but the open ones are refused", { timeout: 60_000 }, async () => {
  for (const [path, item] of Object.entries(doc.paths)) {
    for (const [verb, op] of Object.entries(item)) {
      const r = await a.request(path.replace(/\{[^}]+\}/g, "x"), { key: null, method: verb.toUpperCase(), body: verb === "get" || verb === "delete" ? undefined : {} });
      await r.text();
      assert.equal(r.status === 401, op.security.length > 0, `${verb} ${path}: ${r.status}`);
    }
  }
});

test("the comparison of the other tests can fail", { timeout: 30_000 }, async () => {
  const schema = (path, verb, status) => doc.paths[path][verb].responses[status].content["application/json"].schema;
  const list = await a.get("/api/conversations");
  assert.deepEqual(problems(doc, schema("/api/conversations", "get", "200"), list), []);
  assert.match(problems(doc, schema("/api/conversations", "get", "200"), { ...list, next: 7 }).join(), /\.next: integer where string or null/);
  assert.match(problems(doc, schema("/api/conversations", "get", "200"), {}).join(), /no "keep_days"/);
  assert.match(problems(doc, { $ref: "#/components/schemas/ChatCompletion" }, { choices: [{ finish_reason: "why" }] }).join(), /why|no "id"/);
  assert.equal(operation(doc, "GET", "/api/conversations/export").pattern, "/api/conversations/export");
  assert.equal(operation(doc, "GET", "/api/documents/x/pages/2.png").pattern, "/api/documents/{id}/pages/{n}.png");
  // through fetch: an answer that is described otherwise fails whoever asked
  const liar = createServer((q, r) => {
    r.setHeader("content-type", q.url === "/v1/chat/completions" ? "text/event-stream" : "application/json");
    if (q.url === "/openapi.json") r.end(JSON.stringify(doc));
    else if (q.url === "/v1/chat/completions") r.end('data: {"choices":[{"index":"first"}]}\n\ndata: [DONE]\n\n');
    else r.writeHead(q.url === "/api/facets" ? 202 : 200).end('{"status":7,"version":"1"}');
  });
  await new Promise((done) => liar.listen(0, "127.0.0.1", done));
  const url = `http://127.0.0.1:${liar.address().port}`;
  compare(url);
  try {
    assert.equal((await fetch(`${url}/api/version`)).status, 200);
    await assert.rejects(fetch(`${url}/api/health`), /GET \/api\/health is not as .*\.status: integer where string/s);
    await assert.rejects(fetch(`${url}/api/facets`), /status 202 is not described/);
    await assert.rejects(fetch(`${url}/api/feedback`, { method: "POST", body: '{"answer":7,"verdict":"up"}' }), /request that was accepted/);
    const stream = await fetch(`${url}/v1/chat/completions`, { method: "POST", body: '{"model":"carrel","messages":[]}' });
    await assert.rejects(stream.text(), /an event/);
  } finally {
    liar.close();
  }
});
