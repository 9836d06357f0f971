// docs/security.md names a test for each threat: it has to be there.
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
const text = readFileSync(join(root, "docs/security.md"), "utf8");
const named = [...text.matchAll(/`((?:service|unit|fault|e2e|fuzz|clients)\/[\w./-]+\.(?:mjs|c))(?:#([^`]+))?`/g)].map(([, file, title]) => ({ file, title }));

test("every test that is named exists, by its file and its title", () => {
  assert.ok(named.length > 50, `${named.length} are named`);
  const missing = [];
  for (const { file, title } of named) {
    const path = join(root, "tests", file);
    if (!existsSync(path)) {
      missing.push(`${file}: no such file`);
      continue;
    }
    if (title === undefined) continue;
    const source = readFileSync(path, "utf8");
    const there = file.endsWith(".c")
      ? new RegExp(`cmocka_unit_test\\w*\\(\\s*${title}\\b`).test(source)
      : source.split("\n").some((l) => /^\s*test\(/.test(l) && l.includes(title));
    if (!there) missing.push(`${file}: no test "${title}"`);
  }
  assert.deepEqual(missing, []);
});

test("every threat has a defence and a test", () => {
  const rows = text.split("## Threats")[1].split("\n## ")[0].split("\n").filter((l) => l.startsWith("|")).slice(2);
  assert.ok(rows.length > 25, `${rows.length} threats`);
  for (const row of rows) {
    const [, threat, defence, tests] = row.split("|").map((c) => c.trim());
    assert.ok(threat && defence && /`\w+\/[^`]+`/.test(tests), row);
  }
});
