// Every address of the route table that names a thing, with the things of another tenant; names that would become lines of
// headers; NUL and numbers beyond all bounds in every field. Byte for byte, from a socket.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createServer } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { binDir, startAppliance, until } from "./appliance.mjs";

const routes = JSON.parse(execFileSync(join(binDir, "carrel-serve"), ["--routes"], { encoding: "utf8" }));
const got = []; // what the webhooks' receiver was sent
let a, hook, ours, south, theirs, things; // south's administrator; main's may look after all tenants' users and keys

/** One request, as bytes; the whole answer, as bytes. */
const bytes = (text) =>
  new Promise((done, fail) => {
    const s = connect(Number(new URL(a.url).port), "127.0.0.1");
    let all = "";
    s.setTimeout(60_000, () => s.destroy());
    s.on("data", (d) => (all += d.toString("latin1")));
    s.on("close", () => done(all));
    s.on("error", fail);
    s.write(Buffer.from(text, "utf8"));
  });
const whole = (chunked) => {
  let text = "";
  for (let at = 0, n; (n = parseInt(chunked.slice(at), 16)) > 0; at += n + 2) {
    at = chunked.indexOf("\r\n", at) + 2;
    text += chunked.slice(at, at + n);
  }
  return text;
};
const send = async (method, path, { key = ours, body, headers = {} } = {}) => {
  const json = body === undefined ? "" : typeof body === "string" ? body : JSON.stringify(body);
  const lines = { Host: "localhost", Authorization: `Bearer ${key}`, Connection: "close", ...(body === undefined ? {} : { "Content-Type": "application/json" }), "Content-Length": Buffer.byteLength(json), ...headers };
  const all = await bytes(`${method} ${path} HTTP/1.1\r\n${Object.entries(lines).map(([k, v]) => `${k}: ${v}\r\n`).join("")}\r\n${json}`);
  const at = all.indexOf("\r\n\r\n");
  const head = all.slice(0, at).split("\r\n");
  let text = all.slice(at + 4);
  if (head.some((l) => /^transfer-encoding: chunked/i.test(l))) text = whole(text);
  return { status: Number(head[0].split(" ")[1]), head, text: Buffer.from(text, "latin1").toString("utf8") };
};
const json = async (method, path, more) => {
  const r = await send(method, path, more);
  assert.ok(r.status < 300, `${method} ${path}: ${r.status} ${r.text}`);
  return JSON.parse(r.text);
};
const upload = (path, text, key) => send("POST", `/api/documents?path=${encodeURIComponent(path)}`, { key, body: text, headers: { "Content-Type": "application/octet-stream" } });

/** One of everything that has an address of its own. */
async function everything(key, word) {
  await until("it is taken", async () => {
    const up = await upload(`${word}/note.md`, `# ${word}\n\nThe ${word} is kept in the north cupboard.\n`, key);
    assert.ok(up.status === 201 || (up.status === 503 && /set up: try again/.test(up.text)), `of a tenant that was made a moment ago: ${up.status} ${up.text}`);
    return up.status === 201;
  });
  const document = await until("it is read", async () => (await json("GET", "/api/documents", { key })).documents.find((d) => d.path.endsWith("note.md") && d.state === "ready"));
  const ask = { model: "carrel", messages: [{ role: "user", content: `Where is the ${word} kept?` }], conversation: "new" };
  const answer = await json("POST", "/v1/chat/completions", { key, body: ask });
  const response = await json("POST", "/v1/responses", { key, body: { model: "carrel", input: `Where is the ${word} kept?` } });
  const job = await json("POST", "/api/jobs", { key, body: { chat: { model: "carrel", messages: ask.messages } } });
  const share = await json("POST", `/api/conversations/${answer.carrel.conversation}/shares`, { key, body: { days: 3 } });
  const boundary = "xxboundaryxx";
  const file = await json("POST", "/v1/files", { key, body: `--${boundary}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nassistants\r\n--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="${word}.txt"\r\n\r\nA letter about the ${word}.\r\n--${boundary}--\r\n`, headers: { "Content-Type": `multipart/form-data; boundary=${boundary}` } });
  const store = await json("POST", "/v1/vector_stores", { key, body: { name: `${word} store` } });
  const batch = await json("POST", `/v1/vector_stores/${store.id}/file_batches`, { key, body: { file_ids: [file.id] } });
  const webhook = await json("POST", "/api/webhooks", { key, body: { url: `${hook.url}/${word}`, events: ["document.ingested"], name: word } });
  const user = await json("POST", "/api/users", { key, body: { name: `person-${word}`, role: "reader" } });
  const made = await json("POST", "/api/keys", { key, body: { name: `key-${word}`, role: "reader" } });
  const hold = await json("POST", "/api/holds", { key, body: { collection: `${word}-held`, reason: word } });
  const sent = await json("POST", "/v1/uploads", { key, body: { purpose: "assistants", filename: `${word}.txt`, bytes: 5, mime_type: "text/plain" } });
  assert.equal((await upload(`${word}/old.md`, `# Old\n\nThe old ${word} was sold.\n`, key)).status, 201);
  const old = await until("the old one is read", async () => (await json("GET", "/api/documents", { key })).documents.find((d) => d.path.endsWith("old.md") && d.state === "ready"));
  const erasure = await json("POST", "/api/erasures", { key, body: { documents: [old.id] } });
  await until("it is erased", async () => (await json("GET", `/api/erasures/${erasure.id}`, { key })).state === "done");
  return { erasure: erasure.id, upload: sent.id, document: document.id, answer: answer.carrel.answer_id, conversation: answer.carrel.conversation, response: response.id, job: job.id, share: share.id, token: share.token, file: file.id, store: store.id, batch: batch.id, webhook: webhook.id, user: user.id, key: made.id, hold: hold.id };
}

before(async () => {
  hook = createServer((q, r) => {
    let body = "";
    q.on("data", (d) => (body += d)).on("end", () => {
      got.push({ rawHeaders: q.rawHeaders, url: q.url, body });
      r.writeHead(204).end();
    });
  });
  await new Promise((done) => hook.listen(0, "127.0.0.1", done));
  hook.url = `http://127.0.0.1:${hook.address().port}`;
  a = await startAppliance({ config: `http:\n  requests_per_minute: 0\nwebhooks:\n  allow_private: ["${hook.url}"]\n` });
  for (const tenant of ["north", "south"]) await a.post("/api/tenants", { tenant });
  south = (await a.post("/api/keys", { name: "south", tenant: "south", admin: true })).key;
  theirs = (await a.post("/api/keys", { name: "north", tenant: "north", admin: true })).key;
  ours = a.key;
  things = await everything(theirs, "sextant");
});
after(async () => {
  await a?.stop();
  hook?.closeAllConnections();
  hook?.close();
});

/** Which of the things an address is about. */
const thing = (pattern, name) => {
  if (name === "file") return things.file;
  if (name === "batch") return things.batch;
  if (name === "token") return things.token;
  if (name === "share") return things.share;
  if (name === "n") return "1";
  const kind = { documents: "document", uploads: "upload", files: "file", vector_stores: "store", responses: "response", jobs: "job", answers: "answer", conversations: "conversation", users: "user", webhooks: "webhook", keys: "key", holds: "hold", erasures: "erasure" };
  return things[kind[pattern.split("/")[2]]];
};

test("what another tenant has is not there, at every address that names a thing, by every verb", { timeout: 180_000 }, async (t) => {
  const unknown = []; // kinds of things that `everything` does not make
  await until("south is set up", async () => (await send("GET", "/api/documents", { key: south })).status === 200);
  let n = 0;
  const before = JSON.stringify(await json("GET", "/api/documents", { key: theirs }));
  for (const r of routes.filter((x) => x.pattern.includes("{") && !/models|encoders|quarantine/.test(x.pattern))) {
    const path = r.pattern.replace(/\{(\w+)\}/g, (_, name) => thing(r.pattern, name) ?? (unknown.push(r.pattern), "0000000000000000000000000x"));
    const body = r.verb === "GET" || r.verb === "DELETE" ? undefined : { name: "x", title: "x", query: "sextant", role: "reader", disabled: true, days: 1, file_id: things.file, file_ids: [things.file], attributes: {}, url: `${hook.url}/stolen`, events: ["document.ingested"], enabled: false, part_ids: ["part_00000000000000000000000000"], items: [{ type: "message", role: "user", content: "mine" }] };
    const theirsNow = await send(r.verb, path, { key: south, body });
    n++;
    // no form: said before anything is looked for; somebody who has left has conversations, and is no user any more
    const status = r.pattern.endsWith("/parts") ? 400 : r.pattern === "/api/users/{id}/conversations" ? 200 : 404;
    if (status === 200) assert.equal(theirsNow.text, '{"deleted":0}');
    assert.equal(theirsNow.status, status, `${r.verb} ${path}: ${theirsNow.status} ${theirsNow.text.slice(0, 200)}`);
    assert.doesNotMatch(theirsNow.text, /sextant|cupboard/, `${r.verb} ${path}`);
    const nobodys = await send(r.verb, r.pattern.replace(/\{n\}/, "1").replace(/\{\w+\}/g, "0000000000000000000000000x"), { key: south, body });
    assert.equal(nobodys.status, status, `${r.verb} ${r.pattern}: nobody's: ${nobodys.status} ${nobodys.text.slice(0, 200)}`);
  }
  assert.ok(n > 40, `${n}`);
  if (unknown.length > 0) t.diagnostic(`tried with what nobody has only: ${unknown}`);
  assert.ok(unknown.length < 10, `${unknown}`);
  assert.equal(JSON.stringify(await json("GET", "/api/documents", { key: theirs })), before, "nothing of theirs has changed");
  for (const path of [`/api/conversations/${things.conversation}`, `/v1/files/${things.file}`, `/v1/vector_stores/${things.store}`, `/api/webhooks/${things.webhook}`, `/v1/responses/${things.response}`, `/api/jobs/${things.job}`]) {
    assert.equal((await send("GET", path, { key: theirs })).status, 200, path);
  }
  // a collection's name is a model's for everybody: theirs is told apart from nobody's by nothing
  const [known, made_up] = [await send("GET", "/v1/models/carrel:sextant", { key: south }), await send("GET", "/v1/models/carrel:octants", { key: south })];
  assert.equal(known.text, made_up.text.replace("octants", "sextant"));
  assert.doesNotMatch((await send("GET", "/v1/models", { key: south })).text, /sextant/);
  // nor as a part of what is one's own
  for (const [method, path, body] of [
    ["POST", "/v1/vector_stores", { name: "mine", file_ids: [things.file] }],
    ["POST", "/v1/chat/completions", { model: "carrel", messages: [{ role: "user", content: "Where is it?" }], conversation: things.conversation }],
    ["POST", "/v1/responses", { model: "carrel", input: "Where is it?", previous_response_id: things.response }],
    ["POST", "/api/jobs", { ingest: { documents: [things.document] } }],
    ["POST", "/api/feedback", { answer: things.answer, verdict: "up" }],
    ["POST", "/api/holds", { document: things.document, reason: "x" }],
    ["POST", "/api/erasures", { documents: [things.document] }],
    ["POST", "/api/keys", { name: "owned", owner: things.user }],
    ["POST", "/api/search", { query: "sextant", documents: [things.document] }],
  ]) {
    const r = await send(method, path, { key: south, body });
    assert.doesNotMatch(r.text, /cupboard/, `${method} ${path}`);
    assert.ok([400, 403, 404, 409, 200, 201, 202].includes(r.status), `${method} ${path}: ${r.status} ${r.text}`);
    if (r.status < 300) assert.doesNotMatch(r.text, /sextant/, `${method} ${path}: ${r.text}`);
  }
});

test("names that were taken become no line of a header, wherever they come back", { timeout: 180_000 }, async () => {
  const evil = 'a"; filename="b.html\r\nX-Evil: 1\r\n\r\n<script>é\u202e';
  const taken = [];
  a.drop(`${evil.replaceAll("/", "_")}.md`, "# Evil\n\nA name of several lines.\n");
  await until("it is read", async () => (await json("GET", "/api/documents")).documents.find((d) => /Evil/.test(d.path) && d.state === "ready"));
  for (const d of (await json("GET", "/api/documents")).documents) taken.push(`/api/documents/${d.id}/original`, `/v1/files/file-${d.id}/content`, `/v1/files/${d.id}/content`);
  const boundary = "xxboundaryxx";
  for (const name of ['a\\"b.txt', "a%0d%0aX-Evil: 1.txt", "é\u202e.txt", "a\tb.txt", "..\\..\\x.txt"]) {
    const r = await send("POST", "/v1/files", { body: `--${boundary}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nassistants\r\n--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="${name}"\r\n\r\nx y z\r\n--${boundary}--\r\n`, headers: { "Content-Type": `multipart/form-data; boundary=${boundary}` } });
    assert.ok(r.status < 500, `${name}: ${r.status} ${r.text}`);
    if (r.status < 300) taken.push(`/v1/files/${JSON.parse(r.text).id}/content`);
  }
  const c = await json("POST", "/v1/chat/completions", { body: { model: "carrel", messages: [{ role: "user", content: evil }], conversation: "new" } });
  const renamed = await send("PATCH", `/api/conversations/${c.carrel.conversation}`, { body: { title: evil } });
  assert.ok(renamed.status < 500, renamed.text);
  for (const format of ["json", "markdown"]) taken.push(`/api/conversations/${c.carrel.conversation}/export?format=${format}`, `/api/conversations/export?format=${format}`);
  await send("POST", "/v1/vector_stores", { body: { name: evil } });
  taken.push("/api/usage?format=csv", `/api/usage?format=csv&month=${encodeURIComponent("2026-11\r\nX-Evil: 1")}`, `/api/oidc/start?return=${encodeURIComponent("/\r\nX-Evil: 1")}`);
  let dispositions = 0;
  for (const path of taken) {
    const r = await send("GET", path);
    assert.ok(r.status < 500, `${path}: ${r.status} ${r.text.slice(0, 200)}`);
    for (const line of r.head.slice(1)) {
      assert.match(line, /^[A-Za-z0-9-]+: [\x20-\x7e]*$/, `${path}: ${JSON.stringify(line)}`);
      assert.doesNotMatch(line, /^x-evil/i, path);
      if (/^content-disposition/i.test(line)) {
        dispositions++;
        assert.doesNotMatch(line, /filename="[^"]*"; *filename="/, line);
        assert.match(line, /^Content-Disposition: (attachment|inline)(; filename="[^"\\]*")?(; filename\*=UTF-8''[A-Za-z0-9%!#$&+.^_`|~-]+)?$/i, line);
      }
    }
  }
  assert.ok(dispositions > 5, `${dispositions}`);
  const job = await send("POST", "/api/jobs", { body: { chat: { model: evil, messages: [{ role: "user", content: evil }] } }, headers: { "X-Request-Id": "a b" } });
  for (const line of job.head.slice(1)) assert.match(line, /^[A-Za-z0-9-]+: [\x20-\x7e]*$/, line);
  const w = await json("POST", "/api/webhooks", { body: { url: `${hook.url}/evil?x=1`, events: ["document.ingested"] } });
  assert.ok(w.id);
  a.drop(`w${evil.replaceAll("/", "_")}.md`, "# Told\n\nOthers are told of this name.\n");
  await until("they are told", () => got.some((g) => g.url.startsWith("/evil")));
  for (const g of got) {
    JSON.parse(g.body);
    for (let i = 0; i < g.rawHeaders.length; i += 2) assert.doesNotMatch(g.rawHeaders[i], /evil/i);
  }
  for (const url of ["http://127.0.0.1:1/\r\nX-Evil: 1", `${hook.url}/\u0000`, `${hook.url}@evil.example/`, `http://evil.example#${hook.url.slice(7)}`]) {
    assert.equal((await send("POST", "/api/webhooks", { body: { url, events: ["document.ingested"] } })).status, 400, JSON.stringify(url));
  }
});

test("NUL and numbers beyond all bounds, in every field that the description names", { timeout: 180_000 }, async () => {
  const doc = await (await a.request("/openapi.json", { key: null })).json();
  const shape = (s) => (s?.$ref ? shape(doc.components.schemas[s.$ref.split("/").pop()]) : s?.allOf ? { properties: Object.assign({}, ...s.allOf.map((x) => shape(x)?.properties)) } : (s ?? {}));
  let n = 0;
  for (const [path, item] of Object.entries(doc.paths)) {
    for (const [verb, op] of Object.entries(item)) {
      const schema = op.requestBody?.content["application/json"]?.schema;
      if (!schema || path === "/api/session" || path.startsWith("/api/erasures") || path === "/api/limits") continue;
      const at = path.replace(/\{[^}]+\}/g, "00000000000000000000000000");
      for (const [name, value] of Object.entries(shape(schema).properties ?? {})) {
        const v = shape(value);
        const kind = [v.type].flat()[0];
        const tries = kind === "string" ? ['"a\\u0000b"', `"${"x".repeat(300_000)}"`] : ["integer", "number"].includes(kind) ? ["1e400", "-1e400", "9223372036854775808", "-9223372036854775809", "1e308", "0.1", `${"9".repeat(400)}`] : [];
        for (const t of tries) {
          const base = path.includes("chat") || path.includes("messages") ? '"model":"carrel","messages":[{"role":"user","content":"x"}],' : path === "/v1/responses" ? '"model":"carrel","input":"x",' : path.includes("search") ? '"query":"x",' : "";
          const body = `{${base.includes(`"${name}":`) ? "" : base}${JSON.stringify(name)}:${t}}`;
          const r = await send(verb.toUpperCase(), at, { body });
          n++;
          assert.ok(r.status > 0 && r.status < 500, `${verb} ${path} ${name}=${t.slice(0, 40)}: ${r.status} ${r.text.slice(0, 200)}`);
          assert.doesNotMatch(r.text, /"a"/, `${verb} ${path} ${name}: what stands before the NUL alone`);
        }
      }
    }
  }
  assert.ok(n > 150, `${n}`);
  for (const list of ["/api/keys", "/api/users", "/api/webhooks"]) {
    const all = Object.values(await json("GET", list)).find(Array.isArray);
    assert.ok(all.every((x) => x.name !== "a"), list);
  }
  // doubled keys are one reading only: none, at any depth
  for (const body of ['{"query":"x","query":"y"}', '{"query":"x","filter":{"a":1,"a":2}}', '{"query":"x","\\u0071uery":"y"}']) {
    assert.equal((await send("POST", "/api/search", { body })).status, 400, body);
  }
  assert.equal((await send("GET", "/api/health")).status, 200);
});
