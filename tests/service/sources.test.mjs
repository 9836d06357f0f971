// carrel ingest: files, folders and standard input through the API, refusals told one by one.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { after, before, test } from "node:test";
import { join } from "node:path";
import { binDir, startAppliance, within } from "./appliance.mjs";

let a;
let dir;

async function carrel(args, input = "") {
  const child = spawn(join(binDir, "carrel"), [...args, "--home", a.home], { stdio: ["pipe", "pipe", "pipe"] });
  let out = "";
  let err = "";
  child.stdout.on("data", (d) => (out += d));
  child.stderr.on("data", (d) => (err += d));
  child.stdin.on("error", () => {});
  child.stdin.end(input);
  const code = await within(170_000, `carrel ${args.join(" ")}`, new Promise((r) => child.on("close", r)));
  return { code, out, err };
}

before(async () => {
  a = await startAppliance();
  dir = mkdtempSync(join(tmpdir(), "carrel-sources-"));
  mkdirSync(join(dir, "tree/deep er/.hidden"), { recursive: true });
  writeFileSync(join(dir, "tree/a.md"), "# A\n\nThe falcon nests here.");
  writeFileSync(join(dir, "tree/deep er/b & ü.md"), "# B\n\nThe falcon nests there.");
  writeFileSync(join(dir, "tree/deep er/.hidden/c.md"), "# C\n\nNot for anybody.");
  writeFileSync(join(dir, "tree/.d.md"), "# D\n\nNot for anybody.");
  symlinkSync("/etc/hostname", join(dir, "tree/link.md"));
  writeFileSync(join(dir, "odd.xyz"), Buffer.from([0, 1, 2, 3, 255]));
});
after(async () => {
  rmSync(dir, { recursive: true, force: true });
  await a?.stop();
});

test("a folder goes as it lies, without what is hidden and links", { timeout: 180_000 }, async () => {
  const r = await carrel(["ingest", join(dir, "tree"), "--to", "papers", "--watch", "--json"]);
  assert.equal(r.code, 0, r.err);
  const { documents, refused } = JSON.parse(r.out);
  assert.deepEqual(documents.map((d) => [d.path, d.state]).sort(), [["papers/tree/a.md", "ready"], ["papers/tree/deep er/b & ü.md", "ready"]]);
  assert.deepEqual(refused, []);
});

test("standard input under a name; a name that is there is refused unless --replace", { timeout: 180_000 }, async () => {
  const text = "# Piped\n\nThe falcon came through a pipe." + " Again and again.".repeat(20_000);
  assert.equal((await carrel(["ingest", "-", "--as", "notes/piped.md", "--watch"], text)).code, 0);
  const again = await carrel(["ingest", "-", "--as", "notes/piped.md"], "# Piped\n\nOther.");
  assert.equal(again.code, 1);
  assert.match(again.err, /notes\/piped\.md: .*already there/);
  const over = await carrel(["ingest", "-", "--as", "notes/piped.md", "--replace", "--watch"], "# Piped\n\nAnother falcon.");
  assert.equal(over.code, 0, over.err);
  assert.equal((await carrel(["ingest", "-"], "x")).code, 2);
});

test("each that cannot be taken or read is told, the others go", { timeout: 180_000 }, async () => {
  const r = await carrel(["ingest", join(dir, "odd.xyz"), join(dir, "nothing.md"), join(dir, "tree/a.md"), "--watch", "--json"]);
  assert.equal(r.code, 1);
  const { documents, refused } = JSON.parse(r.out);
  assert.deepEqual(documents.map((d) => [d.path, d.state]), [["odd.xyz", "failed"], ["a.md", "ready"]]);
  assert.equal(refused.length, 1);
  assert.match(refused[0].error, /No such file/);
});

test("what is no file and what has no name in UTF-8 is told, and fails", { timeout: 180_000 }, async () => {
  execFileSync("mkfifo", [join(dir, "pipe.md")]);
  const odd = join(dir, "names");
  mkdirSync(odd);
  writeFileSync(Buffer.concat([Buffer.from(join(odd, "caf")), Buffer.from([0xe9]), Buffer.from(".md")]), "# Latin 1");
  const r = await carrel(["ingest", join(dir, "pipe.md"), odd, "--json"]);
  assert.equal(r.code, 1, r.err);
  const { documents, refused } = JSON.parse(r.out);
  assert.deepEqual(documents, []);
  assert.deepEqual(refused.map((x) => x.path), ["pipe.md", "names/caf\\xe9.md"]);
});
