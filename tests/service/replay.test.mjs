// Requests as the client libraries and n8n's nodes send them, recorded (client-requests.jsonl): OpenAI's of two generations,
// Ollama's, LangChain's, the Model Context Protocol's and n8n's own nodes. Each gets the shape that its sender reads.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { gunzipSync, inflateSync } from "node:zlib";
import { startAppliance, until } from "./appliance.mjs";
import { tinyHome } from "./tiny_model.mjs";

const recorded = readFileSync(fileURLToPath(new URL("client-requests.jsonl", import.meta.url)), "utf8").trim().split("\n").map((l) => JSON.parse(l));
const dir = mkdtempSync(join(tmpdir(), "carrel-replay-"));
const ids = {};
let a;

before(async () => {
  a = await startAppliance({ home: tinyHome(dir), config: "http:\n  requests_per_minute: 0\ngenerate:\n  model: tiny\n  context: 6144\n" });
  a.drop("leave.md", "# Leave\n\nWhat is leave? Leave is thirty days a year. Hello to all who stream some words.\n");
  await a.settled({ n: 1 });
  await until("the model is ready", async () => /carrel_generate_model_ready 1/.test(await (await a.request("/metrics")).text()));
});
after(async () => {
  await a?.stop();
  rmSync(dir, { recursive: true, force: true });
});

const send = (r) => new Promise((done, failed) => {
  const to = new URL(a.url);
  const fill = (s) => s.replaceAll("{store}", ids.store ?? "none").replaceAll("{file}", ids.file ?? "none");
  const body = Buffer.from(fill(r.body));
  const headers = { ...r.headers, authorization: `Bearer ${/bad key/.test(r.tag) ? "sk-bad" : a.key}` };
  if (body.length > 0) headers["content-length"] = body.length;
  const q = request({ host: to.hostname, port: to.port, method: r.method, path: fill(r.url), headers }, (res) => {
    const pieces = [];
    res.on("data", (d) => pieces.push(d)).on("end", () => {
      const raw = Buffer.concat(pieces);
      const coding = res.headers["content-encoding"];
      done({ status: res.statusCode, type: res.headers["content-type"] ?? "", text: (coding === "gzip" ? gunzipSync(raw) : coding === "deflate" ? inflateSync(raw) : raw).toString() });
    }).on("error", failed);
  });
  q.setTimeout(60_000, () => q.destroy(new Error(`no answer: ${r.tag}`)));
  q.on("error", failed).end(body);
});
const events = (text) => text.split("\n\n").filter((e) => e.trim() !== "").map((e) => e.split("\n").find((l) => l.startsWith("data: "))?.slice(6));

// What the senders read of each.
const completion = (m) => {
  assert.equal(m.object, "chat.completion");
  assert.ok(m.id && m.created > 0 && m.model && m.usage.total_tokens >= 0);
  const [c] = m.choices;
  assert.ok(["stop", "length", "tool_calls"].includes(c.finish_reason));
  assert.equal(c.message.role, "assistant");
  assert.ok(typeof c.message.content === "string" || c.message.tool_calls.every((t) => t.id && JSON.parse(t.function.arguments)));
};
const chunks = (text, usage) => {
  const list = events(text);
  assert.equal(list.pop(), "[DONE]");
  const all = list.map((e) => JSON.parse(e));
  assert.ok(all.every((c) => c.object === "chat.completion.chunk" && c.id === all[0].id && Array.isArray(c.choices)));
  assert.equal(all.flatMap((c) => c.choices).filter((c) => c.finish_reason).length, 1);
  assert.equal(all.some((c) => c.usage && c.choices.length === 0), usage);
};
const response = (m) => {
  assert.equal(m.object, "response");
  assert.ok(/^resp_/.test(m.id) && m.created_at > 0 && ["completed", "incomplete"].includes(m.status));
  assert.ok(m.output.every((o) => o.type && o.id));
  assert.ok(m.output.some((o) => o.type === "message" || o.type === "function_call"));
  assert.ok(m.usage.total_tokens >= 0 && m.usage.input_tokens_details && m.usage.output_tokens_details);
};
const shapes = {
  "GET /v1/models": (m) => assert.ok(m.object === "list" && m.data.some((x) => x.id === "carrel") && m.data.some((x) => x.id.includes("embed"))),
  "POST /v1/embeddings": (m, sent) => {
    const wanted = [].concat(sent.input).length;
    assert.deepEqual(m.data.map((d) => d.index), [...Array(wanted).keys()]);
    assert.ok(m.data.every((d) => (sent.encoding_format === "base64" ? Buffer.from(d.embedding, "base64").length % 4 === 0 : d.embedding.every(Number.isFinite)) && d.embedding.length > 0));
    assert.ok(m.usage.prompt_tokens >= 0);
  },
  "POST /v1/files": (m) => assert.ok(m.object === "file" && (ids.file = m.id) && m.bytes > 0 && m.filename && m.purpose === "assistants"),
  "POST /v1/vector_stores": (m) => assert.ok(m.object === "vector_store" && (ids.store = m.id) && m.file_counts.total === 0 && m.status === "completed"),
  "POST /v1/vector_stores/{store}/files": (m) => assert.ok(m.object === "vector_store.file" && m.id === ids.file && ["in_progress", "completed"].includes(m.status)),
  "GET /v1/vector_stores/{store}/files/{file}": (m) => assert.ok(m.object === "vector_store.file" && m.id === ids.file && ["in_progress", "completed"].includes(m.status)),
  "POST /v1/vector_stores/{store}/search": (m) => assert.deepEqual([m.object, m.search_query, m.data, m.has_more], ["vector_store.search_results.page", ["what"], [], false]),
  "GET /api/tags": (m) => assert.ok(m.models.every((x) => x.name && x.model && x.details)),
  "GET /api/version": (m) => assert.match(m.version, /^\d/),
  "POST /api/show": (m) => assert.ok(m.details && Array.isArray(m.capabilities)),
  "POST /api/embed": (m, sent) => assert.equal(m.embeddings.length, sent.input.length),
  "POST /mcp": (m, sent) => {
    assert.deepEqual([m.jsonrpc, m.id], ["2.0", sent.id]);
    if (sent.method === "initialize") assert.equal(m.result.protocolVersion, sent.params.protocolVersion);
    if (sent.method === "tools/list") assert.ok(m.result.tools.every((t) => t.name && t.inputSchema.type === "object"));
    if (sent.method === "tools/call") assert.ok(m.result.content[0].type === "text" && m.result.isError === false);
  },
};

for (const [i, recording] of recorded.entries()) {
  test(`${i + 1}. ${recording.tag}: ${recording.method} ${recording.url}`, { timeout: 180_000 }, async () => {
    let r = recording;
    const sent = r.body.startsWith("{") ? JSON.parse(r.body) : {};
    if ((sent.tools || sent.response_format) && /^\/v1\/(chat|resp)/.test(r.url)) { // functions and forms need a model
      sent.model = "tiny";
      r = { ...r, body: JSON.stringify(sent) };
    }
    const got = await send(r);
    const said = `${r.body.slice(0, 300)} -> ${got.status} ${got.text.slice(0, 600)}`;
    const json = () => JSON.parse(got.text);
    if (/bad key/.test(r.tag)) {
      assert.equal(got.status, 401);
      assert.ok(json().error.message && json().error.code === "invalid_api_key");
    } else if (sent.model === "nope") {
      assert.equal(got.status, 404);
      assert.equal(typeof json().error, "string");
    } else if (r.method === "GET" && r.url === "/mcp") {
      assert.equal(got.status, 405);
    } else if (r.url === "/mcp" && sent.id === undefined) {
      assert.equal(got.status, 202);
    } else {
      assert.equal(got.status, 200, said);
      if (r.url === "/v1/chat/completions") {
        sent.stream ? chunks(got.text, sent.stream_options?.include_usage === true) : completion(json());
      } else if (r.url === "/v1/responses" && sent.stream) {
        const all = events(got.text).map((e) => JSON.parse(e));
        assert.equal(all[0].type, "response.created");
        response(all.at(-1).response);
      } else if (r.url === "/v1/responses") {
        response(json());
      } else if (r.url === "/api/chat") {
        const lines = got.text.trim().split("\n").map((l) => JSON.parse(l));
        assert.ok(lines.every((l) => l.message.role === "assistant" && l.model && l.created_at));
        assert.ok(lines.at(-1).done && lines.at(-1).done_reason);
      } else {
        const shape = shapes[`${r.method} ${r.url}`];
        assert.ok(shape, `nobody says what ${r.method} ${r.url} should look like`);
        shape(json(), sent);
      }
    }
  });
}
