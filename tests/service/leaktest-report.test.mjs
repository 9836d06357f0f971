// What carrel leaktest says of its own run, where the appliance is large, busy or breaks off: against an appliance
// that is played here and does on purpose what a real one seldom does.
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { binDir, temporaryHome, within } from "./appliance.mjs";

const exec = promisify(execFile);
const KEY = "played";
let home, lock, server;
let play; // of the test that runs: tenants, rules, and what goes wrong
let keys, documents, serial;

function begin(how) {
  play = { tenants: ["main"], groups: [], chat: 200, leaks: false, erasures: 200, ...how };
  keys = new Map([[KEY, { admin: true, tenant: "main", name: "admin", groups: play.groups }]]);
  documents = [];
  serial = 0;
}

/** What the played appliance answers: [status, JSON]. */
function answer(method, path, key, body) {
  const caller = keys.get(key);
  const [route, query] = path.split("?");
  if (!caller) return [401, { error: { message: "no" } }];
  const own = documents.filter((d) => d.tenant === caller.tenant);
  const words = (s) => documents.filter((d) => (play.leaks || d.tenant === caller.tenant) && s.includes(d.asked)).map((d) => d.text);
  if (route === "/api/search") return [200, { hits: words(body) }];
  if (route === "/v1/chat/completions") {
    return play.chat === 200 ? [200, { carrel: { answer_id: `a${++serial}` }, text: caller.admin ? [] : words(body) }] : [play.chat, { error: { message: "down" } }];
  }
  if (!caller.admin) return [404, { error: { message: "there is no such thing" } }];
  if (route === "/api/tenants") return [200, { tenants: play.tenants }];
  if (route === "/api/keys" && method === "GET") return [200, { keys: [...keys].map(([id, k]) => ({ id, ...k })) }];
  if (route === "/api/keys") {
    const id = `k${++serial}`;
    keys.set(id, JSON.parse(body));
    return [200, { id, key: id }];
  }
  if (route.startsWith("/api/keys/")) return [200, { revoked: keys.delete(route.slice(10)) }];
  if (route === "/api/documents" && method === "POST") {
    const [asked, told] = body.match(/\bq[a-p]{16}\b/g);
    documents.push({ id: `d${++serial}`, tenant: caller.tenant, path: query.replace("path=", ""), asked, told, text: body, state: "ready" });
    return [201, { documents: documents.slice(-1) }];
  }
  if (route === "/api/documents") return [200, { documents: own }];
  if (route.startsWith("/api/documents/")) return [200, own.find((d) => d.id === route.slice(15)) ?? {}];
  if (route === "/api/erasures" && play.erasures !== 200) return [play.erasures, { error: { message: "held up" } }];
  if (route === "/api/erasures") {
    const gone = JSON.parse(body).documents;
    documents = documents.filter((d) => !gone.includes(d.id));
    return [200, { id: "e" }];
  }
  return [200, { state: "done" }];
}

async function leaktest(...args) {
  const run = exec(join(binDir, "carrel"), ["leaktest", "--json", ...args, "--home", home], { maxBuffer: 1 << 24, env: { ...process.env, CARREL_KEY: KEY } });
  try {
    const { stdout } = await within(300_000, "the leak test", run);
    return { code: 0, report: JSON.parse(stdout), text: "" };
  } catch (e) {
    assert.ok(e.stdout !== undefined, String(e));
    assert.equal(e.signal, null, e.stderr);
    return { code: e.code, report: JSON.parse(e.stdout), text: e.stderr };
  }
}

before(async () => {
  home = temporaryHome();
  mkdirSync(join(home, "run"), { recursive: true });
  server = createServer((request, reply) => {
    const pieces = [];
    request.on("data", (d) => pieces.push(d));
    request.on("end", () => {
      const key = (request.headers.authorization ?? "").replace("Bearer ", "");
      const [code, json] = answer(request.method, request.url, key, Buffer.concat(pieces).toString());
      reply.writeHead(code, { "Content-Type": "application/json" }).end(JSON.stringify(json));
    });
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  writeFileSync(join(home, "run/ready.json"), JSON.stringify({ url: `http://127.0.0.1:${server.address().port}` }));
  lock = spawn("flock", [join(home, "run/lock"), "sh", "-c", "echo held; exec cat"], { stdio: ["pipe", "pipe", "inherit"] });
  await within(60_000, "the lock", new Promise((done) => lock.stdout.once("data", done)));
});
after(() => {
  lock?.stdin.end();
  server?.close();
  server?.closeAllConnections();
  rmSync(dirname(home), { recursive: true, force: true });
});

test("every tenant has its administrator, however many groups there are", { timeout: 400_000 }, async () => {
  const tenants = Array.from({ length: 18 }, (_, i) => `t${i}`);
  begin({ tenants, groups: Array.from({ length: 20 }, (_, i) => `g${i}`) });
  const { code, report, text } = await leaktest();
  assert.equal(code, 0, text);
  assert.equal(report.canaries, 16);
  assert.deepEqual(documents, []);
  assert.equal(keys.size, 1);
  const said = report.notes.join("\n");
  assert.match(said, /only the first 16 of 18 tenants/);
  assert.match(said, /not every group was tried/);
});

test("rules that there is no room for are said", { timeout: 400_000 }, async () => {
  begin({});
  const rules = join(home, "rules.yaml");
  writeFileSync(rules, "access:\n" + Array.from({ length: 70 }, (_, i) => `  - path: f${i}/**\n    readers: [g]\n`).join(""));
  const { report } = await leaktest("--rules", rules);
  assert.equal(report.canaries, 64);
  assert.match(report.notes.join("\n"), /^7 places of rules were not tried/m);
});

test("doors that gave no answer are not counted as tried", { timeout: 400_000 }, async () => {
  begin({ chat: 503, tenants: ["main", "branch"] });
  const { code, report, text } = await leaktest();
  assert.equal(code, 0, text);
  assert.equal(report.paths.chat.probes, 2, "the keyless are refused in time");
  assert.equal(report.paths.chat.untried, 4);
  assert.ok(report.untried >= 8);
  assert.equal(report.paths.answer, undefined);
  const said = report.notes.join("\n");
  assert.match(said, /chat was not tried each time: the appliance answered 503/);
  assert.match(said, /nobody was given an answer \(503\)/);
});

test("what leaks is told though cleaning up fails", { timeout: 400_000 }, async () => {
  begin({ leaks: true, erasures: 500, tenants: ["main", "branch"] });
  const { code, report, text } = await leaktest();
  assert.equal(code, 1);
  assert.equal(report.ok, false);
  assert.ok(report.paths.search.leaks > 0);
  assert.ok(report.found.length > 0);
  assert.match(report.failed, /held up/);
  assert.match(text, /held up/);
});
