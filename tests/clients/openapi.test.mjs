// /openapi.json as others' tools have it: it is valid under the schema of OpenAPI 3.1 itself, a client's types can be made from it,
// and a program written with them compiles, and does not when it is wrong about a field.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { startAppliance } from "../service/appliance.mjs";

const tools = ["@seriousme/openapi-schema-validator", "openapi-typescript", "typescript"];
const [{ Validator }, { default: openapiTS, astToString }] = await Promise.all(tools.map((x) => import(x))).catch((e) => {
  console.log(`SKIP: the tools cannot be loaded (cd tests/clients && npm ci; node 20): ${e.message}`);
  process.exit(77);
});
const require = createRequire(import.meta.url);
const dir = mkdtempSync(join(tmpdir(), "carrel-openapi-"));
let a, text;

before(async () => {
  a = await startAppliance();
  text = await (await a.request("/openapi.json", { key: null })).text();
});
after(async () => {
  await a?.stop();
  rmSync(dir, { recursive: true, force: true });
});

test("it is valid under OpenAPI's own schema, and a mistake would be found", { timeout: 180_000 }, async () => {
  const good = await new Validator().validate(JSON.parse(text));
  assert.deepEqual(good.errors ?? [], []);
  assert.equal(good.valid, true);
  const wrong = JSON.parse(text);
  wrong.paths["/api/search"].post.responses["200"].description = 7;
  assert.equal((await new Validator().validate(wrong)).valid, false);
});

/** The compiler's words about a program beside the generated types. */
function compile(name, source) {
  writeFileSync(join(dir, name), source);
  const r = spawnSync(process.execPath, [require.resolve("typescript/bin/tsc"), "--noEmit", "--strict", "--skipLibCheck", "--target", "es2022", "--module", "esnext", "--moduleResolution", "bundler", "--exactOptionalPropertyTypes", join(dir, name)], { encoding: "utf8" });
  return r.status === 0 ? "" : r.stdout + r.stderr;
}

test("a typed client made from it compiles, and catches what is wrong", { timeout: 180_000 }, async () => {
  writeFileSync(join(dir, "carrel.ts"), astToString(await openapiTS(JSON.parse(text))));
  const head = 'import type { components, paths } from "./carrel";\n';
  const good = `${head}
type Answer = components["schemas"]["ChatCompletion"];
type Report = paths["/api/usage"]["get"]["responses"]["200"]["content"]["application/json"];
type Ask = paths["/v1/chat/completions"]["post"]["requestBody"]["content"]["application/json"];
export const ask: Ask = { model: "carrel", messages: [{ role: "user", content: "How many days of leave?" }] };
export function pages(a: Answer): (number | null)[] {
  return a.citations.map((c) => c.page);
}
export function shares(r: Report): string[] {
  return r.teams.map((t) => \`\${t.team}: \${(t.share * 100).toFixed(1)} %, \${t.prompt_tokens + t.completion_tokens} tokens\`);
}
export function verdict(v: paths["/api/audit/verify"]["get"]["responses"]["200"]["content"]["application/json"]): "whole" | "older" | "broken" {
  return v.verdict;
}
export function failed(j: components["schemas"]["Job"]): boolean {
  return j.status === "failed" && (j.http_status ?? 0) >= 400;
}
`;
  assert.equal(compile("good.ts", good), "");
  assert.match(compile("field.ts", `${head}export const n = (a: components["schemas"]["ChatCompletion"]) => a.citations[0]?.pagge;\n`), /pagge/);
  assert.match(compile("kind.ts", `${head}export const f: components["schemas"]["LimitSubject"]["kind"] = "house";\n`), /house/);
});
