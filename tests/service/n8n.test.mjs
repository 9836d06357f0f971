// Our n8n package and the example workflows against what n8n asks of them, without n8n (tests/n8n/run.mjs has one): what a
// node and a workflow must have was derived from n8n 2.41.1.
import assert from "node:assert/strict";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const dir = resolve(dirname(fileURLToPath(import.meta.url)), "../../serve/n8n");
const read = (path) => readFileSync(join(dir, path), "utf8");
const pack = JSON.parse(read("package.json"));

// Of n8n's own nodes that the examples use: the newest version that n8n 2.41.1 has, and the parameters that must be there.
const known = {
  "n8n-nodes-base.emailReadImap": [2.2, ["mailbox", "format"]],
  "n8n-nodes-base.code": [2, ["jsCode"]],
  "n8n-nodes-base.emailSend": [2.1, ["fromEmail", "toEmail", "subject", "emailFormat", "text"]],
  "n8n-nodes-base.webhook": [2.1, ["httpMethod", "path", "responseMode"]],
  "n8n-nodes-base.respondToWebhook": [1.5, ["respondWith", "responseBody"]],
  "n8n-nodes-base.if": [2.3, ["conditions"]],
  "n8n-nodes-base.scheduleTrigger": [1.3, ["rule"]],
  "n8n-nodes-base.httpRequest": [4.4, ["url", "authentication"]],
  "n8n-nodes-base.wait": [1.1, ["amount", "unit"]],
  "n8n-nodes-base.stickyNote": [1, ["content"]],
};

test("the package is one that n8n takes, and needs nothing", () => {
  assert.ok(pack.keywords.includes("n8n-community-node-package"));
  assert.match(pack.name, /^n8n-nodes-/);
  assert.equal(pack.dependencies, undefined);
  assert.equal(pack.n8n.n8nNodesApiVersion, 1);
  for (const f of [...pack.n8n.nodes, ...pack.n8n.credentials]) {
    const source = f.replace(/^dist\//, "").replace(/\.js$/, ".ts");
    const name = source.split("/").at(-1).split(".")[0];
    assert.match(read(source), new RegExp(`export class ${name} implements`), source);
  }
  for (const icon of ["carrel.svg", "carrel.dark.svg"]) assert.match(read(`icons/${icon}`), /^<svg [^>]*viewBox/);
  for (const [folder, name] of [["Carrel", "carrel"], ["CarrelTrigger", "carrelTrigger"]]) {
    const codex = JSON.parse(read(`nodes/${folder}/${folder}.node.json`));
    assert.equal(codex.node, `${pack.name}.${name}`);
    assert.match(read(`nodes/${folder}/${folder}.node.ts`), new RegExp(`name: '${name}'`));
  }
  assert.doesNotMatch(read("package-lock.json"), /"resolved": "http/);
  for (const f of ["package.json", "README.md", "credentials/CarrelApi.credentials.ts", "nodes/Carrel/Carrel.node.json", "nodes/CarrelTrigger/CarrelTrigger.node.json"]) {
    assert.doesNotMatch(read(f), /https?:\/\/(?!carrel\.example\.org|localhost|n8n\.io)/, `${f} leads to no place that is not there`);
  }
});

test("the operations that are offered are those there are", () => {
  const described = read("nodes/Carrel/descriptions.ts");
  const offered = [...described.matchAll(/operations\('(\w+)', '\w+', \[([\s\S]*?)\n\t\]\)/g)].flatMap(([, resource, list]) =>
    [...list.matchAll(/value: '(\w+)'/g)].map((m) => `${resource}.${m[1]}`),
  );
  assert.deepEqual(offered.sort(), ["answer.ask", "document.delete", "document.get", "document.getAll", "document.ingest", "document.wait", "job.cancel", "job.get", "passage.search"]);
  const events = [...read("nodes/CarrelTrigger/CarrelTrigger.node.ts").matchAll(/value: '([a-z.]+)'/g)].map((m) => m[1]);
  const told = [...readFileSync(join(dir, "../webhooks_store.c"), "utf8").matchAll(/^ {4}\{"([a-z.]+)", "/gm)].map((m) => m[1]);
  assert.deepEqual(events.sort(), told.sort());
});

for (const file of readdirSync(join(dir, "workflows")).filter((f) => f.endsWith(".json"))) {
  test(`workflows/${file}`, () => {
    const w = JSON.parse(read(`workflows/${file}`));
    const names = new Map(w.nodes.map((n) => [n.name, n]));
    const parameters = new Set([...read("nodes/Carrel/descriptions.ts").matchAll(/\bname: '(\w+)'/g)].map((m) => m[1]));
    assert.equal(names.size, w.nodes.length, "names are unique");
    assert.equal(new Set(w.nodes.map((n) => n.id)).size, w.nodes.length, "ids are unique");
    assert.equal(w.active, false);
    for (const n of w.nodes) {
      assert.ok(Array.isArray(n.position) && n.position.length === 2, n.name);
      if (n.type === "n8n-nodes-carrel.carrel") {
        assert.equal(n.typeVersion, 1);
        for (const p of Object.keys(n.parameters)) assert.ok(parameters.has(p), `${n.name}: ${p}`);
        assert.ok(n.credentials.carrelApi);
        continue;
      }
      assert.ok(known[n.type], `${n.name}: ${n.type}`);
      const [newest, required] = known[n.type];
      assert.ok(n.typeVersion <= newest, `${n.name}: version ${n.typeVersion}`);
      for (const p of required.filter((r) => r !== "authentication" || n.credentials)) assert.ok(p in n.parameters, `${n.name}: ${p}`);
      if (n.parameters.jsCode) assert.doesNotThrow(() => new Function("$input", n.parameters.jsCode), n.name);
      if (n.type.endsWith(".webhook") || n.type.endsWith(".wait")) assert.ok(n.webhookId, n.name);
    }
    const reached = new Set();
    for (const [from, { main }] of Object.entries(w.connections)) {
      assert.ok(names.has(from), from);
      for (const link of main.flat()) {
        assert.ok(names.has(link.node), link.node);
        assert.equal(link.type, "main");
        reached.add(link.node);
      }
    }
    const begins = w.nodes.filter((n) => !reached.has(n.name) && !n.type.endsWith(".stickyNote"));
    assert.equal(begins.length, 1, `one beginning, not ${begins.map((n) => n.name)}`);
    for (const [, expression] of JSON.stringify(w.nodes.map((n) => n.parameters)).matchAll(/\{\{(.*?)\}\}/g)) {
      assert.doesNotThrow(() => new Function("$json", `return (${JSON.parse(`"${expression}"`)})`), expression);
    }
  });
}

test("what the examples read of an answer is what an answer has", () => {
  const w = JSON.parse(read("workflows/ticket-answer.json"));
  const code = w.nodes.find((n) => n.name === "Sources").parameters.jsCode;
  const run = new Function("$input", code);
  const citation = { number: 1, document: { title: "leave.txt", path: "notes/leave.txt" }, page: 2 };
  const of = (json) => run({ all: () => [{ json: { answer: "Fourteen weeks [1].", id: "a", ...json } }] })[0];
  const r = of({ citations: [citation, citation], carrel: { refused: false } });
  assert.equal(of({ citations: [], carrel: { refused: true } }).json.cited, 0);
  assert.deepEqual(r.json.sources, ["[1] leave.txt, page 2"]);
  assert.ok(existsSync(join(dir, "README.md")));
});
