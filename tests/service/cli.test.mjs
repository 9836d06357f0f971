// The command line over the whole appliance: status, docs, search, ask, doctor, verify; help, exit codes, and the
// pages made from the settings' table.

import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { binDir, startAppliance, temporaryHome } from "./appliance.mjs";
import { makePdf } from "./pdf.mjs";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
const commands = [...execFileSync(join(binDir, "carrel"), ["--help"], { encoding: "utf8" }).matchAll(/^  ([a-z]+) /gm)].map((m) => m[1]);
let a;

function run(args, { home = a.home, env = {} } = {}) {
  return new Promise((done) => {
    const e = { ...process.env, CARREL_HOME: home, CARREL_PORT: "", CARREL_KEY: "", NO_COLOR: "1", ...env };
    execFile(join(binDir, "carrel"), args, { env: e, maxBuffer: 1 << 24 }, (error, stdout, stderr) =>
      done({ code: error ? error.code : 0, stdout, stderr }));
  });
}

before(async () => {
  a = await startAppliance();
  a.drop("handbook.pdf", makePdf([["Welcome to the observatory."], ["Every employee is entitled to twenty-eight days of paid annual leave."]]));
  a.drop("kitchen/coffee.md", "# Coffee\n\nThe espresso machine is descaled on the first Monday of every month.\n");
});

after(async () => {
  const end = await a?.stop();
  assert.equal(end.code, 0, a.output.slice(-4000));
  assert.doesNotMatch(a.output, /AddressSanitizer|LeakSanitizer|runtime error/, a.output.slice(-6000));
});

test("docs waits until all is read and lists it", { timeout: 180_000 }, async () => {
  await a.settled({ n: 2 });
  const r = await run(["docs", "--watch"]);
  assert.equal(r.code, 0, r.stderr);
  assert.match(r.stdout, /ready +\d+ +2 .*handbook\.pdf/);
  assert.match(r.stdout, /2 ready, 0 waiting, 0 failed/);
  const list = JSON.parse((await run(["docs", "--json"])).stdout).documents;
  assert.deepEqual(list.map((d) => d.path).sort(), ["handbook.pdf", "kitchen/coffee.md"]);
});

test("search names the place", async () => {
  const r = await run(["search", "paid annual leave"]);
  assert.equal(r.code, 0, r.stderr);
  assert.match(r.stdout, /1\. handbook\.pdf p\.2/);
  const one = JSON.parse((await run(["search", "espresso machine", "--top-k", "1", "--json"])).stdout).passages;
  assert.equal(one.length, 1);
  assert.equal(one[0].document.path, "kitchen/coffee.md");
  const none = await run(["search", "xylophone"]);
  assert.equal(none.code, 4);
  assert.match(none.stdout, /nothing found/);
});

test("ask streams an answer with its citations", async () => {
  const r = await run(["ask", "How many days of paid annual leave does an employee get?"]);
  assert.equal(r.code, 0, r.stderr);
  assert.match(r.stdout, /twenty-eight days of paid annual leave/);
  assert.match(r.stdout, /\n\[1\] handbook\.pdf p\.2\n/);
  const j = JSON.parse((await run(["ask", "--json", "When is the espresso machine descaled?"])).stdout);
  assert.match(j.choices[0].message.content, /first Monday/);
  assert.equal(j.citations[0].document.path, "kitchen/coffee.md");
  const none = await run(["ask", "Which xylophone did Zanzibar choose?"]);
  assert.equal(none.code, 4, none.stdout);
});

test("status, doctor and verify", async () => {
  const s = await run(["status"]);
  assert.equal(s.code, 0, s.stdout + s.stderr);
  for (const name of ["vectorstore", "embed", "retrieve", "generate", "ingest", "serve"]) assert.match(s.stdout, new RegExp(`${name} +ready +\\d+`));
  const d = await run(["doctor"]);
  assert.equal(d.code, 0, d.stdout);
  assert.match(d.stdout, /all is well/);
  chmodSync(a.keyFile, 0o644);
  assert.match((await run(["doctor"])).stdout, /admin\.key is open to other users[^]*-> chmod o= /);
  chmodSync(a.keyFile, 0o600);
  mkdirSync(join(dirname(a.watch), "stranger"));
  const e = await run(["doctor"]);
  assert.equal(e.code, 1);
  assert.match(e.stdout, /stranger belongs to no tenant[^]*-> move its files into/);
  const v = await run(["verify", "--json"]);
  assert.equal(v.code, 0, v.stdout + v.stderr);
  assert.deepEqual(JSON.parse(v.stdout), { documents: 2, chunks: JSON.parse(v.stdout).chunks, keyed_tenants: 0, clear_segments: 0, problems: 0, problem: [] });
});

test("a wrong key is told as such", async () => {
  const r = await run(["docs"], { env: { CARREL_KEY: "crl-nobody" } });
  assert.equal(r.code, 1);
  assert.match(r.stderr, /carrel: .*\(401\)/);
});

/** What zsh completes after the command: its line, with the lists that it names. */
function inZsh(zsh, command) {
  const line = zsh.split("\n").find((l) => /^ +[a-z|]+\) _arguments/.test(l) && l.trim().split(")")[0].split("|").includes(command)) ?? "";
  return line.replace(/"?\$\{?([a-z]+)(\[@\]\}"?)?/g, (_, list) => zsh.match(new RegExp(`^${list}=\\(([^]*?)\\)$`, "m"))?.[1] ?? "");
}

test("help, and what is not understood", async () => {
  const all = await run(["--help"]);
  assert.equal(all.code, 0);
  const page = readFileSync(join(root, "cli/carrel.1"), "utf8");
  const bash = readFileSync(join(root, "conf/completion/carrel.bash"), "utf8");
  const zsh = readFileSync(join(root, "conf/completion/_carrel"), "utf8");
  for (const c of commands) {
    const h = await run([c, "--help"]);
    assert.equal(h.code, 0);
    assert.match(h.stdout, new RegExp(`^usage: carrel ${c}`));
    assert.ok(all.stdout.includes(`  ${c} `), c);
    assert.match(page, new RegExp(`^\\.B ${c}\\b`, "m"), `${c} in the man page`);
    assert.ok(zsh.includes(`'${c}:`), `${c} in zsh's completion`);
    for (const [, option] of h.stdout.matchAll(/(--[a-z-]+)/g)) {
      if (h.stdout.includes(`  ${option} `) && c !== "config") {
        assert.ok(bash.includes(option), `${option} in bash's completion`);
        assert.ok(page.includes(option.replaceAll("-", "\\-")), `${option} in the man page`);
        assert.ok(inZsh(zsh, c).includes(option), `${c} ${option} in zsh's completion`);
      }
    }
  }
  for (const [, c, words] of bash.matchAll(/^ +([a-z|]+)\) options='([^']*)'/gm)) {
    for (const word of words.split(" ").filter((w) => !w.startsWith("-"))) {
      assert.match(inZsh(zsh, c.split("|")[0]), new RegExp(`[( ]${word}[) ]`), `${c} ${word} in zsh's completion`);
    }
  }
  for (const args of [[], ["fly"], ["search"], ["search", "a", "b"], ["up", "--port", "99999"], ["docs", "--colour"], ["config", "mend"]]) {
    assert.equal((await run(args)).code, 2, args.join(" "));
  }
  const away = temporaryHome();
  for (const args of [["status"], ["stop"], ["docs"], ["search", "x"], ["ask", "x"], ["verify"]]) {
    const r = await run(args, { home: away });
    assert.equal(r.code, 3, args.join(" "));
    assert.match(r.stderr, /no appliance is running .*carrel up/);
  }
});

test("what no command understands is said in one line: which word, how it is written, where help is", { timeout: 180_000 }, async () => {
  assert.ok(commands.length > 25, `${commands}`);
  const away = temporaryHome();
  for (const c of commands) {
    for (const words of [["no\nsuch", ...Array.from({ length: 16 }, (_, i) => `w${i}`)], ["--no-such"], ["-Z"], ["--home"]].map(async (words) => {
      const r = await run([c, ...words], { home: away });
      const what = `carrel ${c} ${words.join(" ").slice(0, 30)}: ${r.code} ${r.stderr}`;
      assert.equal(r.code === 2 || (c === "ingest" && r.code === 3), true, what);
      assert.equal(r.stdout, "", what);
      assert.match(r.stderr, /^carrel[^\n]*\n$/, what);
      if (words[0][0] === "-") assert.ok(r.stderr.includes(`carrel ${c}: ${words[0]}`) && r.stderr.includes(`carrel ${c} --help`), what);
    }));
  }
});

test("the pages made from the settings' table are up to date", async () => {
  assert.equal((await run(["config", "reference"])).stdout, readFileSync(join(root, "docs/config.md"), "utf8"), "carrel config reference > docs/config.md");
  assert.equal((await run(["config", "default"])).stdout, readFileSync(join(root, "conf/carrel.yaml"), "utf8"), "carrel config default > conf/carrel.yaml");
  const r = await run(["config", "check"]);
  assert.equal(r.code, 0, r.stderr);
});
