// How fast ONNX Runtime multiplies 32-bit matrices of MiniLM's shapes: the arithmetic of its layers' products without
// anything between them. onnxruntime-node is the peer of embeddings; the model is written here, byte by byte
// (protobuf: a chain of MatMul nodes).

import { createRequire } from "node:module";
import { resolve } from "node:path";

function number(n) {
  const bytes = [];
  do {
    const low = n % 128;
    n = Math.floor(n / 128);
    bytes.push(n > 0 ? low | 128 : low);
  } while (n > 0);
  return Buffer.from(bytes);
}

const int = (field, n) => Buffer.concat([number(field << 3), number(n)]);
const bytes = (field, b) => {
  const content = Buffer.from(b);
  return Buffer.concat([number((field << 3) | 2), number(content.length), content]);
};

const FLOAT = 1;

function shape(name, dimensions) {
  const sizes = Buffer.concat(dimensions.map((n) => bytes(1, int(1, n))));
  return Buffer.concat([bytes(1, name), bytes(2, bytes(1, Buffer.concat([int(1, FLOAT), bytes(2, sizes)])))]);
}

function weights(name, rows, columns) {
  const values = Float32Array.from({ length: rows * columns }, (_, i) => Math.sin(i) * 0.03);
  return bytes(5, Buffer.concat([int(1, rows), int(1, columns), int(2, FLOAT), bytes(8, name), bytes(9, values.buffer)]));
}

// widths: columns before, between and behind the products
function chain(tokens, widths) {
  const parts = [];
  const tensors = [];
  for (let i = 0; i + 1 < widths.length; i++) {
    const out = i + 2 === widths.length ? "out" : `h${i + 1}`;
    tensors.push(weights(`w${i}`, widths[i], widths[i + 1]));
    parts.push(bytes(1, Buffer.concat([bytes(1, i === 0 ? "in" : `h${i}`), bytes(1, `w${i}`), bytes(2, out), bytes(4, "MatMul")])));
  }
  const graph = Buffer.concat([
    ...parts,
    bytes(2, "chain"),
    ...tensors,
    bytes(11, shape("in", [tokens, widths[0]])),
    bytes(12, shape("out", [tokens, widths.at(-1)])),
  ]);
  return Buffer.concat([int(1, 9), bytes(7, graph), bytes(8, Buffer.concat([bytes(1, ""), int(2, 17)]))]);
}

// Operations a second by the clock and by processor time: the best of several runs.
export async function onnxRate(modules, tokens, threads) {
  const ort = createRequire(`${resolve(modules, "..")}/`)("onnxruntime-node");
  const layer = [384, 384, 384, 384, 1536, 384];
  const widths = [384];
  for (let i = 0; i < 6; i++) widths.push(...layer);
  const session = await ort.InferenceSession.create(chain(tokens, widths), { intraOpNumThreads: threads, interOpNumThreads: 1 });
  const input = { in: new ort.Tensor("float32", new Float32Array(tokens * 384).fill(0.1), [tokens, 384]) };
  let operations = 0;
  for (let i = 0; i + 1 < widths.length; i++) operations += 2 * tokens * widths[i] * widths[i + 1];
  await session.run(input);
  const best = { wall: 0, cpu: 0, version: ort.env?.versions?.node ?? "" };
  for (let i = 0; i < 12; i++) {
    const cpu = process.cpuUsage();
    const start = performance.now();
    await session.run(input);
    const used = process.cpuUsage(cpu);
    best.wall = Math.max(best.wall, (operations / (performance.now() - start)) * 1e3);
    best.cpu = Math.max(best.cpu, (operations / (used.user + used.system)) * 1e6);
  }
  await session.release();
  return best;
}
