// Every format, damaged and malicious, through the real extractor: each ends in time, read or refused with a
// reason for people; none crashes, and none runs out of its time. Then the same kinds dropped into a running
// appliance, with what a folder can hold besides: it goes on answering, and reads what is sound.
//
// CARREL_FAULT_SEED=n repeats the bits that are turned round.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, symlinkSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { startAppliance, until } from "../service/appliance.mjs";
import { extract, scratch, twoAtATime } from "./hostile_run.mjs";
import { bombs, formats, sample, writeSamples } from "./hostile_samples.mjs";

const seed = Number(process.env.CARREL_FAULT_SEED ?? 1) >>> 0;
const FLIPS = 12; // for each format
const work = scratch();

/** A small generator (xorshift), so that a run can be repeated. */
function random(from) {
  let x = (from * 2654435761 + 12345) >>> 0 || 1;
  return (n) => {
    x ^= x << 13;
    x >>>= 0;
    x ^= x >>> 17;
    x ^= x << 5;
    x >>>= 0;
    return x % n;
  };
}

async function survives(what, format, data) {
  const path = work.keep(data);
  const r = await extract(path, format);
  work.drop(path);
  assert.equal(r.bad, undefined, `${what} (seed ${seed}): ${r.bad}`);
  return r;
}

before(() => writeSamples(work.dir));
after(() => work.remove());

test("the samples are sound: each is read", { timeout: 180_000 }, async () => {
  await twoAtATime(formats(), async ([name]) => {
    const r = await survives(name, name, sample(name, work.dir));
    assert.equal(r.failure, "", `${name}: ${r.failure}`);
  });
});

test("cut at every sixteenth", { timeout: 240_000 }, async () => {
  const cases = formats().flatMap(([name]) => {
    const whole = sample(name, work.dir);
    return Array.from({ length: 16 }, (_, i) => [name, i, whole.subarray(0, Math.floor((whole.length * i) / 16))]);
  });
  await twoAtATime(cases, ([name, i, data]) => survives(`${name} cut at ${i}/16`, name, data));
});

test("bits turned round", { timeout: 240_000 }, async () => {
  const cases = formats().flatMap(([name], k) => {
    const whole = sample(name, work.dir);
    const next = random(seed * 1000 + k);
    return Array.from({ length: FLIPS }, (_, i) => {
      const data = Buffer.from(whole);
      /* one at first, then many; half of them near the beginning, where formats say what they are */
      for (let n = 1 << (i % 7); n > 0; n--) data[next(i % 2 ? data.length : Math.min(600, data.length))] ^= 1 << next(8);
      return [name, i, data];
    });
  });
  await twoAtATime(cases, ([name, i, data]) => survives(`${name}, damage ${i}`, name, data));
});

// As many at once as ingest reads on two cores.
describe("bombs", { concurrency: 2 }, () => {
  for (const [what, format, make] of bombs) {
    test(`${format}: ${what}`, { timeout: 180_000 }, async (t) => {
      const r = await survives(`${format}: ${what}`, format, make());
      t.diagnostic(`${r.ms} ms: ${r.failure || "read"}`);
    });
  }

  test("csv: ten million rows", { timeout: 180_000 }, async (t) => {
    const path = join(work.dir, "rows.csv");
    const fd = openSync(path, "w");
    writeSync(fd, "number,name\n");
    for (let i = 0; i < 100; i++) {
      let rows = "";
      for (let k = 0; k < 100_000; k++) rows += `${i * 100_000 + k},f\n`;
      writeSync(fd, rows);
    }
    closeSync(fd);
    const r = await extract(path, "csv");
    work.drop(path);
    assert.equal(r.bad, undefined, r.bad);
    assert.match(r.failure, /more than 64 MB/);
    t.diagnostic(`${r.ms} ms: ${r.failure}`);
  });
});

test("an appliance with all of it in its folder stays up and reads what is sound", { timeout: 240_000 }, async () => {
  const a = await startAppliance({ config: "http:\n  requests_per_minute: 0\nextract:\n  wall_s: 20\n" });
  try {
    const next = random(seed);
    for (const [name, ending] of formats()) {
      const whole = sample(name, work.dir);
      const bent = Buffer.from(whole);
      for (let n = 0; n < 20; n++) bent[next(bent.length)] ^= 1 << next(8);
      a.drop(`bad/cut-${name}${ending}`, whole.subarray(0, whole.length >> 1));
      a.drop(`bad/bent-${name}${ending}`, bent);
    }
    for (const [i, [, format, make]] of bombs.entries()) {
      if (i % 6 === 0) a.drop(`bad/bomb-${i}${formats().find(([name]) => name === format)[1]}`, make());
    }
    const folder = Buffer.from(`${a.watch}/bad/`);
    writeFileSync(Buffer.concat([folder, Buffer.from([0xff, 0xfe, 0x20, 0x0a, 0x1b, 0x5b, 0x41]), Buffer.from(".txt")]), "The name is no text.\n");
    writeFileSync(Buffer.concat([folder, Buffer.from("' ; rm -rf $HOME | `x` %s%n \\ \".md")]), "# Odd\n\nThe name is a trap.\n");
    symlinkSync("/etc/passwd", join(a.watch, "bad/passwd.txt"));
    symlinkSync("loop.txt", join(a.watch, "bad/loop.txt"));
    symlinkSync("..", join(a.watch, "bad/above"));
    execFileSync("mkfifo", [join(a.watch, "bad/pipe.txt")]);
    if (process.getuid() === 0) execFileSync("mknod", [join(a.watch, "bad/zero.txt"), "c", "1", "5"]);
    mkdirSync(join(a.watch, "bad/folder.pdf"));
    a.drop("good.md", "# Sound\n\nThe zeppelin lands beside the lighthouse.\n");

    const waiting = ["queued", "waiting", "processing", "extracting", "indexing"];
    const all = await until("nothing is waiting", async () => {
      const list = (await a.documents()).filter((d) => !d.path.startsWith("carrel-"));
      return list.length > 60 && list.every((d) => d.state === "ready" || d.state === "failed" || d.state === "excluded") && list;
    }, { timeout: 200_000, every: 500 });
    for (const d of all) {
      assert.ok(!waiting.includes(d.state), d.path);
      if (d.state === "failed") assert.match(d.error, /^\S.{8,}/, `${d.path}: ${d.error}`);
      assert.doesNotMatch(d.error ?? "", /took longer/, d.path);
    }
    const names = all.map((d) => d.path);
    for (const none of ["passwd.txt", "loop.txt", "pipe.txt", "zero.txt", "above"]) assert.ok(!names.includes(`bad/${none}`), none);
    assert.ok((await a.search("zeppelin lighthouse")).some((p) => p.text.includes("zeppelin")));
    assert.ok(!existsSync("/tmp/carrel-escaped.txt"));
  } finally {
    await a.stop();
  }
});
