// The Model Context Protocol's own conformance package against /mcp. It is written for a demonstration server that offers
// everything; the scenarios here are those of what Carrel offers: tools. The package sends no key, so a proxy adds it.
// Not run: scenarios of logging, completion, sampling, elicitation, resources and prompts (not offered: the server says so in its
// capabilities), and those that call the demonstration server's tools by name.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createServer, request } from "node:http";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { startAppliance } from "../service/appliance.mjs";

const program = join(dirname(fileURLToPath(import.meta.url)), "node_modules/@modelcontextprotocol/conformance/dist/index.js");
if (!existsSync(program)) {
  console.log("SKIP: the conformance package is not installed (cd tests/clients && npm ci; node 20)");
  process.exit(77);
}
let a, proxy;

before(async () => {
  a = await startAppliance();
  const to = new URL(a.url);
  proxy = createServer((q, r) => {
    const p = request({ host: to.hostname, port: to.port, method: q.method, path: q.url, headers: { ...q.headers, authorization: `Bearer ${a.key}` } }, (x) => {
      r.writeHead(x.statusCode, x.headers);
      x.pipe(r);
    });
    p.on("error", () => r.destroy());
    q.pipe(p);
  });
  await new Promise((done) => proxy.listen(0, "127.0.0.1", done));
});
after(async () => {
  proxy?.close();
  await a?.stop();
});

const run = (scenario) => new Promise((done) => {
  let output = "";
  const c = spawn(process.execPath, [program, "server", "--url", `http://127.0.0.1:${proxy.address().port}/mcp`, "--scenario", scenario], { env: { PATH: process.env.PATH, HOME: process.env.HOME } });
  c.stdout.on("data", (d) => (output += d));
  c.stderr.on("data", (d) => (output += d));
  c.on("exit", (code) => done({ code, output }));
});

for (const scenario of ["server-initialize", "ping", "tools-list", "server-sse-multiple-streams", "dns-rebinding-protection"]) {
  test(scenario, { timeout: 180_000 }, async () => {
    const { code, output } = await run(scenario);
    assert.equal(code, 0, output.slice(-3000));
    assert.doesNotMatch(output, /[1-9]\d* failed|✗/);
  });
}

test("what the specification asks of the transport besides", { timeout: 180_000 }, async () => {
  const raw = (headers, method = "POST") => a.request("/mcp", { method, body: method === "POST" ? { jsonrpc: "2.0", id: 1, method: "ping" } : undefined, headers });
  assert.equal((await raw({})).status, 200);
  assert.equal((await raw({ origin: "https://evil.example" })).status, 403);
  assert.equal((await raw({ origin: "null" })).status, 403);
  assert.equal((await raw({ origin: "http://localhost:6274" })).status, 200, "the inspector on this machine");
  assert.equal((await raw({ origin: a.url })).status, 200);
  assert.equal((await raw({}, "GET")).status, 405);
  assert.equal((await raw({}, "DELETE")).status, 405, "no sessions: there is nothing to end");
  assert.equal((await raw({ "mcp-protocol-version": "1999-01-01" })).status, 400);
  const list = async (params) => (await a.request("/mcp", { method: "POST", body: { jsonrpc: "2.0", id: 1, method: "tools/list", params } })).json();
  assert.ok((await list({})).result.tools.length > 0);
  assert.equal((await list({ cursor: "nowhere" })).error.code, -32602);
});
