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

test("every operation says what it is for, who may, what comes back and what goes wrong", { timeout: 180_000 }, () => {
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

test("no reference leads nowhere, no schema is for nothing", { timeout: 180_000 }, () => {
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

/** Every schema of a value, with the way to it. */
function* schemas(v, at = "") {
  if (Array.isArray(v)) for (let i = 0; i < v.length; i++) yield* schemas(v[i], `${at}[${i}]`);
  else if (v && typeof v === "object") {
    yield [at, v];
    for (const [k, x] of Object.entries(v)) if (k !== "example") yield* schemas(x, `${at}.${k}`);
  }
}

// What has no fields of its own making: others' JSON, and a tool's arguments.
const bareMay = [
  ".paths./openapi.json.get.responses.200.content.application/json.schema.properties.", // itself
  ".components.schemas.Nothing",
  ".components.schemas.AuditText", // what the auditors' reader knows by the record's type
  ".components.schemas.ToolCall.properties.function.properties.arguments",
  ".components.schemas.OllamaCall",
  ".components.schemas.MessageToolUse.properties.input",
  ".components.schemas.MessageInputBlock.properties.input",
  ".components.schemas.Response.properties.metadata",
  ".components.schemas.ResponseRequest.properties.metadata",
];

test("objects say which fields they have: answers have no others, and few say nothing", { timeout: 180_000 }, () => {
  const bare = [];
  for (const [at, s] of schemas({ paths: doc.paths, components: doc.components })) {
    const empty = [].concat(s.type).includes("object") && Object.keys(s.properties ?? {}).length === 0 && (s.additionalProperties === undefined || s.additionalProperties === true || Object.keys(s.additionalProperties).length === 0);
    if (empty && !bareMay.some((x) => at.startsWith(x))) bare.push(at);
  }
  assert.deepEqual(bare, []);
  // from answers on, through names; what is echoed of a request is as open as that is
  const echoed = new Set(["ToolCall", "ResponseText", "TextFormat", "ResponseTool", "ResponseToolChoice", "ResponseInput", "ContentPart", "JsonSchema", "AttributeFilter", "Filter", "StoreExpiry"]);
  const open = [];
  const seen = new Set();
  const look = (where, v) => {
    for (const [at, s] of schemas(v, where)) {
      const name = s.$ref?.replace("#/components/schemas/", "");
      if (name && !seen.has(name) && !echoed.has(name)) {
        seen.add(name);
        look(name, doc.components.schemas[name]);
      }
      if (s.properties && s.additionalProperties === undefined) open.push(at);
    }
  };
  for (const [path, item] of Object.entries(doc.paths)) for (const [verb, op] of Object.entries(item)) look(`${verb} ${path}`, op.responses);
  assert.deepEqual(open, []);
});

test("every route says what goes wrong, with its codes; every example is as described", { timeout: 180_000 }, () => {
  for (const [path, item] of Object.entries(doc.paths)) {
    for (const [verb, op] of Object.entries(item)) {
      const where = `${verb} ${path}`;
      const wanted = ["400", "429", ...(op.security.length > 0 ? ["401", "402", "403"] : []), ...(path.includes("{") ? ["404"] : []), ...(op.requestBody ? ["413", "415"] : [])];
      for (const status of wanted) assert.ok(op.responses[status]?.["x-codes"].length > 0, `${where}: ${status}`);
      for (const part of [op.requestBody, ...Object.values(op.responses)]) {
        const json = part?.content?.["application/json"];
        if (json && "example" in json) assert.deepEqual(problems(doc, json.schema, json.example), [], where);
      }
    }
  }
});

test("who may call it, as the doors have it: without a key all but the open ones are refused", { timeout: 180_000 }, async () => {
  for (const [path, item] of Object.entries(doc.paths)) {
    for (const [verb, op] of Object.entries(item)) {
      const r = await a.request(path.replace(/\{[^}]+\}/g, "x"), { key: null, method: verb.toUpperCase(), body: verb === "get" || verb === "delete" ? undefined : {} });
      await r.text();
      assert.equal(r.status === 401, op.security.length > 0, `${verb} ${path}: ${r.status}`);
    }
  }
});

test("the comparison of the other tests can fail", { timeout: 180_000 }, async () => {
  const schema = (path, verb, status) => doc.paths[path][verb].responses[status].content["application/json"].schema;
  const list = await a.get("/api/conversations");
  assert.deepEqual(problems(doc, schema("/api/conversations", "get", "200"), list), []);
  assert.match(problems(doc, schema("/api/conversations", "get", "200"), { ...list, next: 7 }).join(), /\.next: integer where string or null/);
  assert.match(problems(doc, schema("/api/conversations", "get", "200"), {}).join(), /no "keep_days"/);
  assert.match(problems(doc, { $ref: "#/components/schemas/ChatCompletion" }, { choices: [{ finish_reason: "why" }] }).join(), /why|no "id"/);
  assert.equal(operation(doc, "GET", "/api/conversations/export").pattern, "/api/conversations/export");
  assert.equal(operation(doc, "GET", "/api/documents/x/pages/2.png").pattern, "/api/documents/{id}/pages/{n}.png");
  // through fetch: an answer that is described otherwise fails whoever asked
  const lies = {
    "/api/version": [200, '{"version":"1"}'],
    "/api/health": [200, '{"status":7}'],
    "/api/facets": [202, "{}"],
    "/api/tenants": [200, '{"tenants":[],"secrets":[]}'],
    "/api/keys/x": [404, '{"error":{"message":"","type":"","param":null,"code":"made_up"}}'],
    "/api/usage": [418, "{}"],
    "/api/feedback": [200, '{"verdict":"up"}'],
  };
  const liar = createServer((q, r) => {
    r.setHeader("content-type", q.url === "/v1/chat/completions" ? "text/event-stream" : "application/json");
    if (q.url === "/openapi.json") r.end(JSON.stringify(doc));
    else if (q.url === "/v1/chat/completions") r.end('data: {"choices":[{"index":"first"}]}\n\ndata: [DONE]\n\n');
    else r.writeHead(lies[q.url][0]).end(lies[q.url][1]);
  });
  await new Promise((done) => liar.listen(0, "127.0.0.1", done));
  const url = `http://127.0.0.1:${liar.address().port}`;
  compare(url);
  try {
    assert.equal((await fetch(`${url}/api/version`)).status, 200);
    await assert.rejects(fetch(`${url}/api/health`), /GET \/api\/health is not as .*\.status: integer where string/s);
    await assert.rejects(fetch(`${url}/api/facets`), /status 202 is not described/);
    await assert.rejects(fetch(`${url}/api/tenants`), /"secrets" is not described/);
    await assert.rejects(fetch(`${url}/api/keys/x`, { method: "DELETE" }), /the code made_up is none of .*not_found/);
    await assert.rejects(fetch(`${url}/api/usage`), /status 418 is not described/);
    await assert.rejects(fetch(`${url}/api/feedback`, { method: "POST", body: '{"answer":7,"verdict":"up"}' }), /request that was accepted/);
    const stream = await fetch(`${url}/v1/chat/completions`, { method: "POST", body: '{"model":"carrel","messages":[]}' });
    await assert.rejects(stream.text(), /an event/);
  } finally {
    liar.close();
  }
});
