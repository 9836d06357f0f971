// Vectors out of a running appliance as a FAISS index, and back in.

import { test } from "node:test";
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { binDir, startAppliance, until } from "./appliance.mjs";

const words = "lantern harbour granite meadow copper violin orchard timber saddle marble candle ferry".split(" ");

test("an encoder's vectors go out as a FAISS index and come in again", async () => {
  const a = await startAppliance({ config: "http:\n  requests_per_minute: 0\nencoder:\n  first_fit_chunks: 230\n" });
  const dir = mkdtempSync(join(tmpdir(), "carrel-vectors-"));
  const carrel = (...args) => spawnSync(join(binDir, "carrel"), [...args, "--home", a.home], { encoding: "utf8" });
  const file = join(dir, "out.faiss");
  try {
    let r = carrel("vectors", "export", file);
    assert.equal(r.status, 4, `there is no encoder yet: ${r.stderr}`);
    assert.match(r.stderr, /encoder/);
    assert.ok(!existsSync(file));
    for (let i = 0; i < 230; i++) {
      a.drop(`d${i}.md`, `# Note ${i}\n\nThe ${words[i % 12]} stands by the ${words[(i * 7 + 3) % 12]} since ${1900 + (i % 90)}.\n`);
    }
    await a.settled({ n: 230 });
    await a.fitted(230);
    await until("vectors are there", async () => carrel("vectors", "export", file).status === 0, { every: 300 });
    r = carrel("vectors", "export", file);
    assert.equal(r.status, 0, r.stderr);
    const [, n, d, encoder] = r.stdout.match(/^(\d+) vectors of (\d+) dimensions of (\S+) in /);
    assert.ok(Number(n) === 230, r.stdout);
    const bytes = readFileSync(file);
    assert.equal(bytes.toString("latin1", 0, 4), "IxFI");
    assert.equal(bytes.readInt32LE(4), Number(d));
    assert.equal(Number(bytes.readBigInt64LE(8)), Number(n));
    assert.equal(bytes.length, 45 + Number(n) * Number(d) * 4);
    let square = 0;
    for (let i = 0; i < Number(d); i++) square += bytes.readFloatLE(45 + 4 * i) ** 2;
    assert.ok(Math.abs(square - 1) < 0.01, "of unit length");
    const keys = readFileSync(`${file}.ids`, "utf8").trim().split("\n");
    assert.equal(keys.length, Number(n));
    assert.equal(new Set(keys).size, Number(n));
    r = carrel("vectors", "import", file, encoder);
    assert.equal(r.status, 0, r.stderr);
    assert.match(r.stdout, new RegExp(`^0 of ${n} vectors stored`), "each chunk has one");
    assert.equal(carrel("vectors", "import", file, "no-such-encoder").status, 4);
    assert.equal(carrel("vectors", "import", join(dir, "nothing"), encoder).status, 4);
    assert.equal(carrel("vectors", "exprot", file).status, 2);
    const python = spawnSync("python3", ["-c", "import faiss"], { encoding: "utf8" });
    if (python.status === 0) { // where FAISS's own reader is installed
      const out = execFileSync("python3", ["-c", "import faiss,sys; i=faiss.read_index(sys.argv[1]); print(i.ntotal, i.d)", file], { encoding: "utf8" });
      assert.equal(out.trim(), `${n} ${d}`);
    }
  } finally {
    await a.stop();
    rmSync(dir, { recursive: true, force: true });
  }
});
