// carrel leaktest: finds nothing where the rules hold, finds what leaks when they do not, and leaves nothing behind.
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { join } from "node:path";
import { promisify } from "node:util";
import { binDir, startAppliance, until } from "./appliance.mjs";

const exec = promisify(execFile);
let a;

const leaktest = (...args) => leaktestOf(a, ...args);
async function leaktestOf(a, ...args) {
  try {
    const { stdout } = await exec(join(binDir, "carrel"), ["leaktest", "--json", ...args, "--home", a.home], { maxBuffer: 1 << 24 });
    return { code: 0, report: JSON.parse(stdout) };
  } catch (e) {
    let report = null;
    try { report = JSON.parse(e.stdout); } catch { /* it did not get so far */ }
    return { code: e.code, report, text: `${e.stdout}${e.stderr}` };
  }
}
const left = async () => [
  ...(await a.documents()).filter((d) => d.path.includes("carrel-leaktest")).map((d) => d.path),
  ...(await a.get("/api/keys")).keys.filter((k) => k.name.includes("leaktest")).map((k) => k.name),
];

before(async () => {
  a = await startAppliance();
  writeFileSync(join(a.home, "access.yaml"), "access:\n  - path: hr/**\n    readers: [hr]\n  - path: closed/*/x/*\n    readers: [nobody]\n");
  a.drop("open/note.md", "# Note\n\nSomething that everybody may read.");
  await a.settled();
});
after(async () => {
  await a?.stop();
});

test("nothing leaks, and nothing planted stays behind", { timeout: 180_000 }, async () => {
  const { code, report, text } = await leaktest();
  assert.equal(code, 0, text ?? "");
  assert.equal(report.ok, true);
  assert.equal(report.canaries, 3);
  for (const path of ["search", "chat", "chat, streaming", "explain", "document", "text", "original", "versions", "documents", "facets", "answer"]) {
    assert.ok(report.paths[path].probes > 0, path);
    assert.equal(report.paths[path].leaks, 0, path);
  }
  assert.deepEqual(await left(), []);
  assert.equal((await a.documents()).length, 1);
});

test("what is open and should not be is found", { timeout: 180_000 }, async () => {
  const stricter = join(a.home, "stricter.yaml");
  writeFileSync(stricter, "access:\n  - path: open/**\n    readers: [board]\n");
  const { code, report } = await leaktest("--rules", stricter);
  assert.equal(code, 1);
  assert.ok(report.leaks > 0);
  for (const path of ["search", "chat", "document", "text", "documents", "responses", "responses, streaming", "messages", "ollama chat", "ollama generate", "mcp search", "mcp ask"]) assert.ok(report.paths[path].leaks > 0, path);
  assert.ok(report.found.some((line) => line.includes("open/carrel-leaktest-")), report.found.join("\n"));
  assert.deepEqual(await left(), []);
});

test("what a killed run left is removed by the next", { timeout: 180_000 }, async () => {
  const child = spawn(join(binDir, "carrel"), ["leaktest", "--home", a.home], { stdio: "ignore" });
  const ended = new Promise((done) => child.once("exit", done));
  await until("something is planted", async () => (await left()).some((x) => x.endsWith(".md")), { every: 10 });
  child.kill("SIGKILL");
  await ended;
  assert.ok((await left()).length > 0);
  const { code, report, text } = await leaktest();
  assert.equal(code, 0, text ?? "");
  assert.ok(report.notes.some((n) => n.includes("broken off")), report.notes.join());
  assert.deepEqual(await left(), []);
});

test("without rules it tries what there is, and says what it cannot", { timeout: 180_000 }, async () => {
  const b = await startAppliance();
  try {
    await b.post("/api/keys", { name: "clerk", groups: ["archive"] });
    const one = await leaktestOf(b);
    assert.equal(one.code, 0, one.text ?? "");
    assert.equal(one.report.canaries, 1);
    assert.ok(one.report.paths.search.probes > 0 && one.report.paths.document.probes > 0, "without a key");
    assert.ok(one.report.paths.answer.probes >= 3, "other people's answers");
    const said = one.report.notes.join("\n");
    assert.match(said, /one tenant/);
    assert.match(said, /no rule in access\.yaml names readers/);
    assert.match(said, /no rule names the group archive/);
    await b.post("/api/tenants", { tenant: "branch" });
    await until("the branch takes documents", async () => (await leaktestOf(b)).code === 0, { every: 500 });
    const two = await leaktestOf(b);
    assert.equal(two.code, 0, two.text ?? "");
    assert.equal(two.report.canaries, 2);
    assert.ok(two.report.paths.search.probes > 2 * one.report.paths.search.probes, "between tenants");
    assert.doesNotMatch(two.report.notes.join("\n"), /one tenant/);
    assert.deepEqual((await b.get("/api/keys")).keys.filter((k) => k.name.includes("leaktest")), []);
  } finally {
    await b.stop();
  }
});
