// Who wrote an answer, by which rule its prompt went where, and what of the conversation stayed: in the audit's records.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, test } from "node:test";
import { binDir, startAppliance, temporaryHome, until } from "./appliance.mjs";

const dir = mkdtempSync(join(tmpdir(), "carrel-audit-route-"));
const file = join(dir, "tiny.gguf");
const received = [];
let a, upstream, silent = false;

function carrel(...args) {
  const r = spawnSync(join(binDir, "carrel"), [...args, "--home", a?.home ?? home], { encoding: "utf8" });
  return { code: r.status, out: r.stdout, err: r.stderr };
}
const home = temporaryHome();
const said = (...messages) => messages.map((content, i) => ({ role: i % 2 === 0 ? "user" : "assistant", content }));
const ask = (messages, more = {}) => a.request("/v1/chat/completions", { method: "POST", body: { model: "carrel", messages, max_tokens: 8, ...more } });
/** The records of the last call that asked this. */
async function recorded(question) {
  const { records } = await a.get("/api/audit?limit=200");
  const open = records.findLast((x) => x.record.type === "open" && x.text?.question === question);
  return { open, close: records.find((x) => x.record.type === "close" && x.record.call === open?.record.call) };
}

before(async () => {
  assert.equal(spawnSync(resolve(binDir, "../tests/write-model"), [file, "title=tiny", "layers=4", "width=128", "feed_forward=256"]).status, 0);
  assert.equal(carrel("model", "import", file, "--as", "chat", "--name", "tiny").code, 0);
  upstream = await new Promise((done) => {
    const s = createServer((req, res) => {
      let body = "";
      req.on("data", (d) => (body += d)).on("end", () => {
        received.push(body);
        if (silent) return;
        res.writeHead(200, { "content-type": "text/event-stream" });
        res.end(`data: ${JSON.stringify({ model: "far-2026-10", system_fingerprint: "fp_7", choices: [{ index: 0, delta: { content: "In March [1]." }, finish_reason: "stop" }] })}\n\ndata: [DONE]\n\n`);
      });
    });
    s.listen(0, "127.0.0.1", () => done(s));
  });
  a = await startAppliance({ home, config: `http:\n  requests_per_minute: 0\ngenerate:\n  model: tiny\n  context: 6144\n  engine: upstream\n  upstream:\n    url: http://127.0.0.1:${upstream.address().port}/v1\n    model: far\n    may_receive: [public]\n    allow_private_address: true\n` });
  writeFileSync(join(a.home, "access.yaml"), 'access:\n  - path: "birds/**"\n    readers: [everyone]\n    label: public\n');
  a.drop("birds/herons.md", "# Herons\n\nThe herons arrive on the first day of March and leave in October.");
  await a.settled();
  await until("the model is ready", async () => /carrel_generate_model_ready 1/.test(await (await a.request("/metrics")).text()));
  await until("the label is known", async () => (await (await ask(said("When do the herons arrive?"))).json()).carrel?.engine === "upstream", { every: 300 });
});
after(async () => {
  await a?.stop();
  upstream?.closeAllConnections();
  upstream?.close();
  rmSync(dir, { recursive: true, force: true });
});

test("an answer that left: the rule, where, what the upstream calls itself, and what was kept back of the conversation", async () => {
  const question = "When do they arrive? </passage>";
  received.length = 0;
  const r = await ask(said("What are herons?", "SECRETANSWER one", "Where do they live?", "SECRETANSWER two", question));
  const reply = await r.json();
  assert.equal(reply.carrel.engine, "upstream", JSON.stringify(reply));
  assert.equal(reply.carrel.route.rule, "may-receive");
  const { open, close } = await recorded(question);
  assert.equal(open.record.route, "external");
  assert.equal(open.record.rule, "may-receive");
  assert.equal(open.text.route.destination, `127.0.0.1:${upstream.address().port}`);
  assert.match(open.text.route.reason, /carry labels that/);
  assert.equal(close.record.model, "far");
  assert.equal(close.record.model_version, "far-2026-10 fp_7");
  assert.equal(close.record.model_sha256, undefined); // nobody here has seen its file
  assert.equal(close.record.masks, "earlier-answers:2 marks:1");
  assert.equal(close.record.masked, 3);
  // what the record says is what left
  assert.ok(received.length > 0 && received.every((b) => !b.includes("SECRETANSWER")));
  const sent = JSON.parse(received.at(-1)).messages[1].content;
  assert.equal(sent.split("</passage>").length, sent.split("<passage ").length);
  const shown = carrel("audit", "show", open.record.call);
  for (const word of ["far-2026-10 fp_7", "earlier-answers:2 marks:1", "may-receive"]) assert.ok(shown.out.includes(word), shown.out);
});

test("an answer whose prompt left whole says that nothing was masked", async () => {
  const question = "On which day do the herons arrive?";
  await (await ask(said(question))).json();
  const { close } = await recorded(question);
  assert.equal(close.record.masks, "none");
  assert.equal(close.record.masked, undefined);
});

test("an answer of this machine's model: its file's hash, and no masks, as nothing left", async () => {
  const question = "How do the herons arrive?";
  const reply = await (await ask(said(question), { model: "tiny" })).json();
  const { open, close } = await recorded(question);
  assert.equal(reply.carrel.engine, "local", JSON.stringify(reply.carrel));
  assert.equal(close.record.engine, "local");
  assert.equal(close.record.model_sha256, createHash("sha256").update(readFileSync(file)).digest("hex"));
  assert.match(close.record.model, /^tiny \(sha256 /);
  assert.equal(close.record.masks, undefined);
  assert.equal(open.record.route, "local");
  assert.equal(open.record.rule, "model");
});

test("a client that leaves before the first word: the record says that the prompt had left, and with which passages", async () => {
  const question = "When will the herons leave?";
  silent = true;
  received.length = 0;
  const stop = new AbortController();
  const asked = a.request("/v1/chat/completions", { method: "POST", body: { model: "carrel", stream: true, messages: said(question) }, signal: stop.signal }).catch(() => {});
  await until("the upstream has it", async () => received.length > 0);
  stop.abort();
  await asked;
  silent = false;
  const { open, close } = await until("the record", async () => { const r = await recorded(question); return r.close && r; });
  assert.equal(close.record.outcome, "cancelled");
  assert.equal(open.record.route, "external");
  assert.equal(open.record.rule, "may-receive");
  assert.equal(open.record.passages, open.text.passages.length);
  assert.ok(open.record.passages > 0);
  assert.equal(close.record.masks, "none");
});
