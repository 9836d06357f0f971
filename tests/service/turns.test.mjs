// Large and small documents are read by turns: memos dropped behind large files are found while those are being read,
// and the large ones are read all the same.
import assert from "node:assert/strict";
import { test } from "node:test";
import { startAppliance, until } from "./appliance.mjs";

const words = "report falcon ledger invoice meadow quarter harbour signal".split(" ");
function table(rows, seed) {
  const lines = ["id,name,amount,remark"];
  for (let i = 0; i < rows; i++) lines.push(`${i},${words[(i + seed) % 8]} ${words[(i * 7 + seed) % 8]},${(i * 31) % 997},row ${i} of ${seed}`);
  return lines.join("\n");
}

test("a hundred memos do not wait for giant tables", { timeout: 240_000 }, async () => {
  const a = await startAppliance({ config: "ingest:\n  workers: 2\nencoder:\n  first_fit_chunks: 1000000\n" });
  try {
    for (let i = 0; i < 4; i++) a.drop(`large/table${i}.csv`, table(60_000, i)); // 2 MB, seconds each
    await until("a large one is being read", async () => (await a.documents()).some((d) => d.path.startsWith("large/") && d.state === "working"));
    for (let i = 0; i < 100; i++) a.drop(`memos/memo${i}.md`, `# Memo ${i}\n\nThe kestrel is in room ${i}.`);
    const list = await until(
      "the memos are ready",
      async () => {
        const all = await a.documents();
        return all.filter((d) => d.path.startsWith("memos/") && d.state === "ready").length === 100 && all;
      },
      { timeout: 120_000 },
    );
    const waiting = list.filter((d) => d.path.startsWith("large/") && d.state !== "ready");
    assert.ok(waiting.length >= 1, "some large one is still waiting or being read when the last memo is ready");
    assert.equal((await a.search("kestrel", { k: 5 })).length > 0, true);
    const end = await a.settled({ n: 104, timeout: 180_000 });
    assert.equal(end.filter((d) => d.state === "ready").length, 104); // and they are read as well
  } finally {
    await a.stop();
  }
});
