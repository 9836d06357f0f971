// The page builds with Debian 12's node: version 18, taken from the npm registry beside the system's.

import { test } from "node:test";
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const web = resolve(dirname(fileURLToPath(import.meta.url)), "../../serve/web");

test("TypeScript and Vite run on node 18", { timeout: 180_000, skip: existsSync(join(web, "node_modules")) ? false : "the page's packages are not installed: ./carrel up does it" }, (t) => {
  const dir = mkdtempSync(join(tmpdir(), "carrel-node18-"));
  try {
    try {
      execFileSync("npm", ["install", "--silent", "--no-audit", "--no-fund", "--prefix", dir, "node@18"], { stdio: "ignore", timeout: 120_000 });
    } catch {
      return t.skip("node@18 cannot be had from the npm registry here");
    }
    const node = join(dir, "node_modules/.bin/node");
    const run = (...args) => execFileSync(node, args, { cwd: join(dir, "web"), encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
    for (const name of ["index.html", "package.json", "tsconfig.json", "vite.config.ts", "src", "public"]) cpSync(join(web, name), join(dir, "web", name), { recursive: true });
    symlinkSync(join(web, "node_modules"), join(dir, "web/node_modules"));
    assert.match(run("--version"), /^v18\./);
    run("node_modules/typescript/bin/tsc", "--noEmit");
    run("node_modules/vite/bin/vite.js", "build");
    const built = readdirSync(join(dir, "web/dist/assets"));
    assert.ok(existsSync(join(dir, "web/dist/index.html")));
    assert.ok(built.some((f) => f.endsWith(".js")) && built.some((f) => f.endsWith(".css")));
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});
