// A flood of one tenant, in short (tests/bench/flood.mjs is the long one): breaks, slow readers, pipelines, uploads that
// never end. Whatever was sent is in the audit once, nothing stays behind, and every service ends without a leak.
import assert from "node:assert/strict";
import { test } from "node:test";
import { questions, sections } from "../bench/corpus.mjs";
import { flood } from "./flood.mjs";

test("every request of a flood is in the audit once, and nothing is left", { timeout: 180_000 }, async () => {
  const list = [...sections(100)];
  // a sanitizer keeps what was freed: its memory says nothing, its words at the end do
  const r = await flood({ seconds: 8, turn: 1, rest: 2, flooders: 6, list, asked: questions(list, 100), memory: false });
  assert.deepEqual(r.wrong, [], `${JSON.stringify({ counts: r.counts, audit: r.audit })}\n${r.output.slice(-2000)}`);
  const { main, flood: other } = r.audit;
  assert.ok(main.sent > 20 && main.sent === main.answered && main.brokenBefore === 0, JSON.stringify(r.audit));
  assert.ok(other.cancelled > 10 && other.sent > 50 && other.opened === other.closed, JSON.stringify(r.audit));
  assert.ok(r.sent.filter((e) => e.tenant === "main").every((e) => e.status === 200), "the quiet tenant is always answered");
  assert.ok(r.audit.loggedAndRecorded > 50, JSON.stringify(r.audit));
});
