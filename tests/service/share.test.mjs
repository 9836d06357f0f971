// Rights taken over from the share: who may read a file there, and go through the folders above it, finds it here.
import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import { mkdirSync, renameSync, statSync, writeFileSync } from "node:fs";
import { after, before, test as plainTest } from "node:test";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { mkdtempSync, rmSync } from "node:fs";
import { promisify } from "node:util";
import { binDir, startAppliance, until } from "./appliance.mjs";

const exec = promisify(execFile);
const HR = 4000001, BOARD = 4000002;
const keys = {};
let a, lacking = "";

const test = (name, fn) => plainTest(name, { timeout: 300_000 }, async (t) => (lacking === "" ? fn(t) : t.skip(lacking)));
const carrel = async (...args) => (await exec(join(binDir, "carrel"), [...args, "--home", a.home])).stdout.trim();
/** Sets the whole list: these, and Carrel's own user, who must read what he is to tell of. */
const acl = (path, group, other, ...more) => {
  const entries = [`u::rwX`, `g::${group}`, `o::${other}`, `u:${statSync(a.home).uid}:rX`, ...more];
  execFileSync("setfacl", ["-b", ...entries.flatMap((w) => ["-m", w]), join(a.watch, path)]);
};
const found = async (who) => {
  const r = await a.request("/api/search", { key: keys[who], method: "POST", body: { query: "falcon nests", fold: false, top_k: 50 } });
  return (await r.json()).passages.map((p) => p.document.path).sort();
};
const finds = async (who, list) => {
  let now;
  await until(`${who} finds ${list}`, async () => JSON.stringify((now = await found(who))) === JSON.stringify(list)).catch((e) => {
    throw new Error(`${e.message}; last: ${now}`);
  });
};
const extractions = async () => Number(/extractions_total\S* (\d+)/.exec(await (await a.request("/metrics")).text())?.[1] ?? NaN);
function rules(text) {
  writeFileSync(join(a.home, ".access.tmp"), text);
  renameSync(join(a.home, ".access.tmp"), join(a.home, "access.yaml"));
}
const GROUPS = `groups:
  - {name: hr, gid: ${HR}}
  - {name: board, gid: ${BOARD}}
  - {name: hr, sid: S-1-5-21-1-2-3-1105}
`;

before(async () => {
  const dir = mkdtempSync(join(tmpdir(), "carrel-acl-"));
  try {
    execFileSync("setfacl", ["-m", `g:${HR}:r`, dir], { stdio: "pipe" });
  } catch (e) {
    lacking = `no access lists here: ${String(e.stderr ?? e.message).trim()}`;
  }
  rmSync(dir, { recursive: true });
  if (lacking !== "") return;
  a = await startAppliance();
  rules(`access:
  - path: share/**
    rights: share
  - path: both/**
    readers: [board]
    rights: share
${GROUPS}`);
  for (const name of ["none", "hr", "board"]) keys[name] = await carrel("key", "create", name, ...(name === "none" ? [] : ["--groups", name]));
  for (const [folder, ...files] of [["share", "open.md", "hr.md", "closed.md"], ["both", "two.md"]]) {
    mkdirSync(join(a.watch, folder));
    acl(folder, "rX", "rX");
    for (const f of files) {
      const path = `${folder}/.${f}`; // its rights are there before its name is
      writeFileSync(join(a.watch, path), `# ${f}\n\nThe falcon nests on the tower, says ${folder}/${f}.\n`);
      if (f === "open.md") acl(path, "r", "r");
      if (f === "closed.md") acl(path, "-", "-");
      if (f === "hr.md") acl(path, "-", "-", `g:${HR}:r`);
      if (f === "two.md") acl(path, "-", "-", `g:${HR}:r`, `g:${BOARD}:r`);
      renameSync(join(a.watch, path), join(a.watch, folder, f));
    }
  }
  await a.settled({ n: 4 });
});
after(async () => a?.stop());

test("each finds what the share lets him read, of what the rules let him", async () => {
  await finds("none", ["share/open.md"]);
  await finds("hr", ["share/hr.md", "share/open.md"]);
  await finds("board", ["both/two.md", "share/open.md"]);
  const two = (await a.documents()).find((d) => d.path === "both/two.md");
  assert.deepEqual(two.readers, ["board"], "the share narrows what the rule gives, and no more");
});

test("a change of rights counts without reading anything again", async () => {
  const before = await extractions();
  acl("share/closed.md", "-", "-", `g:${BOARD}:r`);
  await finds("board", ["both/two.md", "share/closed.md", "share/open.md"]);
  acl("share/closed.md", "-", "-", `g:${BOARD}:-`);
  await finds("board", ["both/two.md", "share/open.md"]);
  acl("share/open.md", "r", "-");
  await finds("none", []);
  acl("share/open.md", "r", "r");
  await finds("none", ["share/open.md"]);
  assert.ok(before >= 4, `${before} were read`);
  assert.equal(await extractions(), before, "nothing is read again");
});

test("a folder closes what is below it", async () => {
  acl("share", "-", "-");
  await finds("none", []);
  await finds("hr", []);
  acl("share", "-", "-", `g:${HR}:rx`);
  await finds("hr", ["share/hr.md", "share/open.md"]); // open.md is everybody's who gets so far
  acl("share", "rX", "rX");
  await finds("none", ["share/open.md"]);
});

test("what Carrel cannot look into is closed, and said", async (t) => {
  if (process.getuid() !== 0 || statSync(a.home).uid === 0) return t.skip("needs files that Carrel's user may not read");
  execFileSync("setfacl", ["-b", join(a.watch, "share")]);
  execFileSync("chmod", ["700", join(a.watch, "share")]);
  await finds("none", []);
  await until("status says it", async () => /nobody reads it/.test(await carrel("status")));
  acl("share", "rX", "rX");
  await finds("none", ["share/open.md"]);
});

test("whom nobody knows, nobody is", async () => {
  await finds("hr", ["share/hr.md", "share/open.md"]);
  rules(`access:
  - path: share/**
    rights: share
  - path: both/**
    readers: [nobody]
groups:
  - {name: board, gid: ${BOARD}}
`);
  await finds("hr", ["share/open.md"]);
});

test("rules that change while files come in: nobody gets in by the old ones, and nothing falls over", async () => {
  const N = 120;
  const text = (n) => `access:
  - path: share/**
    rights: share
  - path: both/**
    readers: [board]
    rights: share
${GROUPS}  - {name: other${n % 7}, gid: 4100000}
`;
  mkdirSync(join(a.watch, "share/many"));
  acl("share/many", "rX", "rX");
  let n = 0;
  const churn = setInterval(() => rules(text(n++)), 3);
  try {
    for (let i = 0; i < N; i++) {
      const path = `share/many/.${i}.md`;
      writeFileSync(join(a.watch, path), `# ${i}\n\nThe merlin of number ${i} nests ${i * 7919} metres up.\n`);
      acl(path, "-", "-", `g:${HR}:r`);
      renameSync(join(a.watch, path), join(a.watch, `share/many/${i}.md`));
      if (i % 10 === 0) await new Promise((r) => setTimeout(r, 50));
    }
    await until("some are ready", async () => (await a.documents()).filter((d) => d.path.startsWith("share/many/") && d.state === "ready").length >= N / 10, { timeout: 120_000 });
  } finally {
    clearInterval(churn);
  }
  rules(text(0));
  await until("all are ready, for hr alone", async () => {
    const docs = (await a.documents()).filter((d) => d.path.startsWith("share/many/"));
    return docs.length === N && docs.every((d) => d.state === "ready" && JSON.stringify(d.readers) === '["hr"]');
  }, { timeout: 120_000 });
  assert.doesNotMatch(a.output, /AddressSanitizer/);
});
