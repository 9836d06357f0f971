// A home with a small model that is offered functions in Qwen 2.5's form. Its weights are seeded: what it says is noise.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join, resolve } from "node:path";
import { binDir, temporaryHome } from "./appliance.mjs";

/** The marks that Qwen 2.5's Jinja text is told by. */
const jinja = "{%- if tools %}<|im_start|>system You are Qwen <tools> {\\\"name\\\": <function-name>} <tool_call>";

/** dir: for the model's file. The home that has imported it as "tiny". */
export function tinyHome(dir) {
  const home = temporaryHome();
  const file = join(dir, "tiny.gguf");
  const w = spawnSync(resolve(binDir, "../tests/write-model"), [file, "title=tiny", "mark=<tool_call>", `template=${jinja}`], { encoding: "utf8" });
  assert.equal(w.status, 0, w.stderr);
  const r = spawnSync(join(binDir, "carrel"), ["model", "import", file, "--as", "chat", "--name", "tiny", "--home", home], { encoding: "utf8" });
  assert.equal(r.status, 0, r.stderr);
  return home;
}
