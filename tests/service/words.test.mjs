// Words of questions: misspelled ones are taken for those the asker may read, and a follow-up finds the passage that
// only an earlier turn names.

import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { startAppliance, until } from "./appliance.mjs";

let a;

const lease = (name, months, rent) => `# Lease of ${name}\n\n## Rent\n\nThe rent for ${name} is ${rent} crowns a month, due on the first.\n\n` +
  `## End\n\nEither party may end this lease. The notice period is ${months} months. Termination takes effect at the end of a quarter.\n`;

before(async () => {
  a = await startAppliance();
  a.drop("leases/heron.md", lease("Heron Marina", "three", "900"));
  a.drop("leases/kingfisher.md", lease("Kingfisher Depot", "nine", "400"));
  a.drop("leases/plover.md", lease("Plover Yard", "five", "650"));
  a.drop("canteen.md", "# Canteen\n\nThe canteen opens at noon and the kitchen closes at three.\n");
  await a.settled({ n: 4 });
});

after(async () => {
  const end = await a?.stop();
  assert.equal(end.code, 0, a.output.slice(-4000));
  assert.doesNotMatch(a.output, /AddressSanitizer|LeakSanitizer|runtime error/, a.output.slice(-6000));
});

const search = (query, more = {}) => a.post("/api/search", { query, ...more });

test("a misspelled word is looked for as its neighbours, whatever its stem and its first letter", async () => {
  for (const [typed, meant] of [["terminatoin", "termination"], ["xermination", "termination"], ["kingfishr", "kingfisher"], ["cantene", "canteen"]]) {
    const r = await search(typed);
    assert.ok(r.passages.length > 0, typed);
    assert.deepEqual(r.similar, [{ word: typed, tried: [meant] }]);
    assert.ok(r.passages.every((p) => p.text.toLowerCase().includes(meant) || p.document.title.toLowerCase().includes(meant)), typed);
  }
  for (const typed of ["termination", "AB-1235", "qqqqqq", "cna"]) {
    assert.equal((await search(typed)).similar ?? undefined, undefined, typed);
  }
});

test("a suggestion goes with the last document that has the word", async () => {
  a.drop("one.md", "# One\n\nThe zephyrometer stands in the yard.\n");
  await until("it is found", async () => (await search("zephyrometre")).similar?.[0].tried[0] === "zephyrometer");
  rmSync(join(a.watch, "one.md"));
  await until("it is gone", async () => (await search("zephyrometer")).passages.length === 0);
  const r = await search("zephyrometre");
  assert.equal(r.similar ?? undefined, undefined);
  assert.deepEqual(r.passages, []);
});

test("chat: the earlier turn names what the follow-up asks about", async () => {
  for (const [name, file, months] of [["Heron Marina", "heron", "three"], ["Kingfisher Depot", "kingfisher", "nine"], ["Plover Yard", "plover", "five"]]) {
    const messages = [
      { role: "user", content: `What is the rent for ${name}?` },
      { role: "assistant", content: "It is due on the first of each month." },
      { role: "user", content: "And the notice period?" },
    ];
    const answer = await a.post("/v1/chat/completions", { model: "carrel", messages });
    assert.equal(answer.citations[0].document.path, `leases/${file}.md`, name);
    assert.match(answer.choices[0].message.content, new RegExp(`notice period is ${months} months`));
  }
});
