// Workflows against n8n's own node descriptions, by n8n's own checks: node check_workflows.cjs N8N-FOLDER FILE...
// Prints each issue, and how many.
const { join } = require("node:path");
const { readFileSync } = require("node:fs");

const [cache, ...files] = process.argv.slice(2);
const modules = join(cache, "node_modules");
const { NodeHelpers } = require(join(modules, "n8n-workflow"));
const known = ["n8n-nodes-base", "@n8n/n8n-nodes-langchain"].flatMap((pack) =>
  JSON.parse(readFileSync(join(modules, pack, "dist/types/nodes.json"), "utf8")).map((d) => ({ ...d, type: `${pack}.${d.name}` })),
);
module.paths.push(modules); // ours asks for n8n-workflow
process.env.NODE_PATH = modules;
require("node:module")._initPaths();
for (const [folder, name] of [["Carrel", "Carrel"], ["CarrelTrigger", "CarrelTrigger"]]) {
  const { description } = new (require(join(__dirname, `../../serve/n8n/dist/nodes/${folder}/${name}.node.js`))[name])();
  known.push({ ...description, type: `n8n-nodes-carrel.${description.name}` });
}

const issues = [];
for (const path of files) {
  const w = JSON.parse(readFileSync(path, "utf8"));
  const say = (text) => issues.push(`${path}: ${text}`);
  for (const node of w.nodes) {
    const d = known.find((k) => k.type === node.type && [k.version].flat().includes(node.typeVersion));
    if (!d) {
      say(`${node.name}: n8n has no ${node.type} of version ${node.typeVersion}`);
      continue;
    }
    const full = NodeHelpers.getNodeParameters(d.properties, node.parameters, true, false, node, d);
    for (const name of Object.keys(node.parameters)) if (!(name in full)) say(`${node.name}: no parameter ${name}`);
    const wrong = NodeHelpers.getNodeParametersIssues(d.properties, { ...node, parameters: full }, d);
    for (const [name, texts] of Object.entries(wrong?.parameters ?? {})) say(`${node.name}: ${name}: ${texts.join(", ")}`);
    const may = new Set((d.credentials ?? []).map((c) => c.name).concat(full.nodeCredentialType ?? []));
    for (const name of Object.keys(node.credentials ?? {})) if (!may.has(name)) say(`${node.name}: no credential ${name}`);
    for (const c of d.credentials ?? []) {
      const shown = NodeHelpers.displayParameter(full, c, node, d);
      if (c.required && shown && !node.credentials?.[c.name]) say(`${node.name}: its credential ${c.name} is missing`);
    }
  }
  const names = new Set(w.nodes.map((n) => n.name));
  for (const [from, outputs] of Object.entries(w.connections)) {
    if (!names.has(from)) say(`a connection from ${from}, which is not there`);
    for (const to of Object.values(outputs).flat(2)) if (!names.has(to.node)) say(`a connection to ${to.node}, which is not there`);
  }
}
for (const i of issues) console.log(i);
console.log(`${issues.length} issues`);
