// A listing of links on a web server as a source: what is new, changed and gone is followed; nothing else is dialled, half
// listings delete nothing, and servers that misbehave are told about and cost no document.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { join } from "node:path";
import { promisify } from "node:util";
import { binDir, holding, startAppliance, until } from "./appliance.mjs";
import { Remote } from "./remote.mjs";

const exec = promisify(execFile);
let a, web, other, lists;
const carrel = (...args) => exec(join(binDir, "carrel"), [...args, "--home", a.home]).then((r) => ({ code: 0, ...r }), (e) => e);
const source = async (name = "wiki") => (await a.get("/api/sources")).sources.find((s) => s.name === name);
const all = async () => (await a.documents()).map((d) => `${d.path} ${d.state}`).sort();
const paths = async () => (await all()).filter((p) => !p.startsWith("list/"));
/** Looked at from now on, and done. */
async function polled(name = "wiki") {
  const { polls } = await a.post("/api/sources", { poll: name });
  return until(`${name} is looked at`, async () => {
    const s = await source(name);
    return s.polls >= polls && !["listing", "fetching"].includes(s.state) && s;
  });
}
async function comesTo(list) {
  let now;
  try {
    await until("documents", async () => JSON.stringify((now = await paths())) === JSON.stringify([...list].sort()));
  } catch {
    assert.deepEqual(now, [...list].sort());
  }
}

before(async () => {
  web = await new Remote("http-index").start();
  other = await new Remote("http-index").start();
  web.put("a.md", "# Heron\n\nThe heron stands in the reeds.");
  web.put("deep/b c.md", "# Crane\n\nThe crane flies south.");
  web.put("drafts/no.md", "# Draft\n\nNot ready.");
  web.put(".carrel.yaml", "readers: [nobody]\n");
  lists = await new Remote("http-index").start();
  lists.put("far/one.md", "# Bell\n\nThe bell is cast in bronze.");
  lists.put("far/two.md", "# Rope\n\nThe rope is hemp.");
  lists.hooks = [(q, r, name) => name === "/docs/list" && (r.writeHead(200, { "content-type": "text/plain; charset=utf-8" }).end(`# what there is\n${lists.url}/docs/far/one.md\n${other.url}/docs/no.md\n/docs/../etc/no.md\n/docs/far/two.md\n`), true)];
  a = await startAppliance({
    config: `http:\n  requests_per_minute: 0\ningest:\n  settle_ms: 50\nsources:\n  - name: wiki\n    url: ${web.url}/docs/\n    interval: 1h\n    idle_timeout: 1s\n    exclude: [drafts/]\n    max_file_bytes: 64KiB\n    label: internal\n    allow_private_address: true\n  - name: list\n    url: ${lists.url}/docs/list\n    interval: 1s\n    allow_private_address: true\n  - name: shut\n    url: ${web.url.replace("127.0.0.1", "localhost")}/docs/\n`,
  });
});
after(async () => {
  await a?.stop();
  await web?.stop();
  await other?.stop();
  await lists?.stop();
});

test("what is listed is fetched, read, found and labelled", { timeout: 180_000 }, async () => {
  await comesTo(["wiki/a.md ready", "wiki/deep/b c.md ready"]);
  assert.equal((await a.search("crane south"))[0].document.path, "wiki/deep/b c.md");
  assert.equal((await a.documents()).find((d) => d.path === "wiki/a.md").label, "internal");
  const s = await polled();
  assert.deepEqual([s.files, s.failed, s.error, s.state], [2, 0, null, "waiting"]);
  const said = await carrel("sources");
  assert.match(said.stdout, /wiki {2}http-index {2}waiting .*\n {2}2 files/);
  assert.equal(web.log.filter((l) => l.url.includes("..") || l.url.includes("?")).length, 0);
});

test("a private address is not dialled unless the configuration says so, and is told about", { timeout: 180_000 }, async () => {
  const s = await polled("shut");
  assert.match(s.error, /cannot be reached/);
  assert.equal((await carrel("sources")).code, 1);
  assert.match((await carrel("status")).stdout, /source shut/);
});

test("a list of addresses, looked at again every interval", { timeout: 180_000 }, async () => {
  await until("both are there", async () => (await all()).filter((p) => p.startsWith("list/")).join() === "list/far/one.md ready,list/far/two.md ready");
  assert.equal((await a.search("bronze bell"))[0].document.path, "list/far/one.md");
  lists.put("far/two.md", "# Rope\n\nThe rope is nylon.");
  await until("the change is found by itself", async () => (await a.search("nylon")).length > 0);
  assert.equal(other.log.length, 0);
});

test("what has not changed is not fetched again; what has is; what has gone goes", { timeout: 180_000 }, async () => {
  const full = web.count("GET", 200, ".md");
  await polled();
  assert.equal(web.count("GET", 200, ".md"), full);
  assert.ok(web.count("GET", 304, "a.md") > 0);
  const id = (await a.documents()).find((d) => d.path === "wiki/a.md").id;
  web.put("a.md", "# Heron\n\nThe heron has left for the estuary.");
  web.put("new.md", "# Kiln\n\nThe kiln is cold.");
  web.files.delete("deep/b c.md");
  await polled();
  await comesTo(["wiki/a.md ready", "wiki/new.md ready"]);
  await until("the new text", async () => (await a.search("estuary")).length > 0);
  assert.equal((await a.documents()).find((d) => d.path === "wiki/a.md").id, id);
  assert.ok(!existsSync(join(a.home, "watch/main/wiki/deep")));
});

test("a listing that fails or breaks off deletes nothing", { timeout: 180_000 }, async () => {
  const before = await paths();
  const ways = {
    "HTTP 500": (q, r) => void r.writeHead(500).end("down"),
    "cannot be reached": (q, r) => void (r.writeHead(200, { "content-type": "text/html", "content-length": 5000 }), r.write("<html><a href='a.md'>a</a>"), setTimeout(() => r.destroy(), 50)),
    "no page of links": (q, r) => void r.writeHead(200, { "content-type": "text/html" }).end(""),
    "stands still": (q, r) => void (r.writeHead(200, { "content-type": "text/html" }), r.write("<html>")),
    "sends on to": (q, r) => void r.writeHead(302, { location: `${other.url}/docs/` }).end(),
  };
  for (const [says, way] of Object.entries(ways)) {
    web.hooks = [(q, r, name) => name === "/docs/" && (way(q, r), true)];
    const s = await polled();
    assert.match(s.error, new RegExp(says));
    assert.equal(s.state, "failing");
    assert.equal(s.files, 2);
  }
  assert.equal(other.log.length, 0);
  // an empty one counts only when the next says so too
  web.hooks = [(q, r, name) => name === "/docs/" && (r.writeHead(200, { "content-type": "text/html" }).end("<html><body>nothing</body></html>"), true)];
  assert.match((await polled()).error, /lists no file any more/);
  web.hooks = [];
  const well = await polled();
  assert.equal(well.error, null);
  await new Promise((r) => setTimeout(r, 500));
  assert.deepEqual(await paths(), before);
});

test("a page that lists few of many files counts only when the next says so too, an interval later", { timeout: 180_000 }, async () => {
  const before = await paths();
  for (let i = 0; i < 12; i++) web.put(`many/m${i}.md`, `# M${i}\n\nThe owl number ${i}.`);
  await polled();
  const all = [...before, ...Array.from({ length: 12 }, (_, i) => `wiki/many/m${i}.md ready`)];
  await comesTo(all);
  web.hooks = [(q, r, name) => name === "/docs/" && (r.writeHead(200, { "content-type": "text/html" }).end("<html><body>Back soon, see <a href='a.md'>why</a></body></html>"), true)];
  const s = await polled();
  assert.match(s.error, /lists 1 files where there were 14/);
  assert.ok(s.due - Date.now() / 1000 > 600, "not a minute later");
  web.hooks = [(q, r, name) => name === "/docs/" && (r.writeHead(500).end("down"), true)];
  await polled();
  web.hooks = [];
  assert.equal((await polled()).error, null);
  assert.deepEqual(await paths(), all.sort());
  for (let i = 0; i < 12; i++) web.files.delete(`many/m${i}.md`);
  await polled();
  await polled();
  await comesTo(before);
});

test("an empty listing that says so twice is believed", { timeout: 180_000 }, async () => {
  const files = new Map(web.files);
  web.files.clear();
  await polled();
  await polled();
  await comesTo([]);
  web.files = files;
  await polled();
  await comesTo(["wiki/a.md ready", "wiki/new.md ready"]);
});

test("files that misbehave are told, the others come", { timeout: 180_000 }, async () => {
  web.put("good.md", "# Lamp\n\nThe lamp oil is whale oil.");
  web.put("moved.md", "x");
  web.put("big.md", "y".repeat(70_000));
  web.put("etc\\..\\x.md", "# Odd\n\nA name with backslashes.");
  web.put(`${"n".repeat(230)}.md`, "# Long\n\nA name that is long.");
  web.put("tab\there.md", "# Tab\n\nA name with a tab.");
  web.hooks = [(q, r, name) => name === "/docs/moved.md" && (r.writeHead(302, { location: `${other.url}/docs/moved.md` }).end(), true)];
  const s = await polled();
  assert.equal(s.failed, 2);
  assert.match(s.file_error, /sends on to|larger than/);
  assert.equal(other.log.length, 0);
  await until("the others", async () => (await paths()).length === 6);
  const names = (await a.documents()).map((d) => d.path);
  assert.ok(names.includes("wiki/etc%5C..%5Cx.md"), names.join());
  assert.ok(names.includes("wiki/tab%09here.md"), names.join());
  assert.ok(names.some((n) => /^wiki\/n{120}%[0-9a-f]{16}\.md$/.test(n)), names.join());
  for (const n of ["moved.md", "big.md", "etc\\..\\x.md", "tab\there.md", `${"n".repeat(230)}.md`]) web.files.delete(n);
  web.hooks = [];
  assert.equal((await polled()).failed, 0);
});

test("a file that says how large it is is not fetched up to the limit each time", { timeout: 180_000 }, async () => {
  const bytes = async () => Number((await (await a.request("/metrics")).text()).match(/carrel_source_bytes_total\{source="wiki"[^}]*\} (\d+)/)[1]);
  web.put("huge.md", "# Huge\n\n" + "x".repeat(300_000));
  await polled();
  const before = await bytes();
  const s = await polled();
  assert.match(s.file_error, /larger than/);
  assert.ok((await bytes()) - before < 30_000, "only the listing");
  web.files.delete("huge.md");
  assert.equal((await polled()).failed, 0);
});

test("a server that dies in the middle of a file leaves nothing half", { timeout: 180_000 }, async () => {
  web.put("half.md", "# Half\n\n" + "The bell rings twice. ".repeat(1000));
  web.hooks = [(q, r, name) => {
    if (name !== "/docs/half.md") return false;
    r.writeHead(200, { "content-length": 22000 });
    r.write("# Half\n\nThe bell");
    setTimeout(() => r.destroy(), 50);
    return true;
  }];
  const s = await polled();
  assert.match(s.error, /cannot be reached/);
  assert.deepEqual(readdirSync(join(a.home, "watch/main/wiki")).sort(), [".carrel-source", "a.md", "good.md", "new.md"]);
  web.hooks = [(q, r, name) => name === "/docs/half.md" && (r.writeHead(503, { "retry-after": "7200" }).end(), true)];
  const again = await polled();
  assert.match(again.error, /HTTP 503/);
  assert.ok(again.due - Date.now() / 1000 > 7000, "Retry-After is kept to");
  web.hooks = [];
  await polled();
  await until("it is whole", async () => (await a.search("bell rings")).length > 0);
});

test("what was deleted or erased here is not fetched again before it changes; its name is not kept", { timeout: 180_000 }, async () => {
  web.put("secret-name.md", "# Ledger\n\nThe ledger of winter stores.");
  await polled();
  await until("it is ready", async () => (await paths()).includes("wiki/secret-name.md ready"));
  const id = async (p) => (await a.documents()).find((d) => d.path === p)?.id;
  assert.equal((await a.request(`/api/documents/${await id("wiki/good.md")}`, { method: "DELETE" })).status, 200);
  const erased = await carrel("erase", "--document", await id("wiki/secret-name.md"), "--yes");
  assert.equal(erased.code, 0, erased.stderr);
  await until("both are gone", async () => (await paths()).length === 3);
  const s = await polled();
  assert.equal(s.gone, 2);
  const full = web.count("GET", 200, "good.md");
  await polled();
  assert.equal(web.count("GET", 200, "good.md"), full);
  assert.deepEqual(holding(join(a.home, "tenants/main"), ["secret-name"]).filter((f) => f.includes("sources.db")), []);
  web.put("good.md", "# Lamp\n\nThe lamp burns gas now.");
  await polled();
  await until("the new one", async () => (await paths()).includes("wiki/good.md ready"));
  assert.ok(!(await paths()).some((p) => p.includes("secret-name")));
});

test("a folder with files of its own is left alone", { timeout: 180_000 }, async () => {
  await a.stop({ keep: true });
  const config = readFileSync(join(a.home, "carrel.yaml"), "utf8").replace(/ {2}- name: shut[\s\S]*/, `  - name: clash\n    folder: mine\n    url: ${web.url}/docs/\n    allow_private_address: true\n`);
  writeFileSync(join(a.home, "carrel.yaml"), config);
  a.drop("mine/own.md", "# Own\n\nMy own file.");
  a = await startAppliance({ home: a.home, config: null });
  const s = await polled("clash");
  assert.match(s.error, /has files of its own/);
  assert.deepEqual(readdirSync(join(a.home, "watch/main/mine")), ["own.md"]);
  // a folder that was taken away is filled again
  rmSync(join(a.home, "watch/main/wiki"), { recursive: true });
  await polled();
  await until("it is filled again", async () => existsSync(join(a.home, "watch/main/wiki/a.md")));
});

test("a listing without end is refused, hostile pages too", { timeout: 180_000 }, async () => {
  const files = await paths();
  for (const [says, body] of [
    ["larger than", Buffer.alloc(5 << 20, "<a href='x'>y</a> ")],
    ["larger than|cannot be reached", Buffer.alloc(20 << 20, "x")],
    ["tag of the listing is too long", Buffer.from(`<html><a ${"a=b ".repeat(100_000)}>`)],
  ]) {
    web.hooks = [(q, r, name) => name === "/docs/" && (r.writeHead(200, { "content-type": "text/html" }).end(body), true)];
    assert.match((await polled()).error, new RegExp(says));
  }
  web.hooks = [(q, r, name) => name.endsWith("/") && (r.writeHead(200, { "content-type": "text/html" }).end("<a href='d/'>d</a>"), true)];
  assert.match((await polled()).error, /more than \d+ folders, or deeper/);
  web.hooks = [];
  assert.equal((await polled()).error, null);
  await comesTo(files);
});
