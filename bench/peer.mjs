/**
 * Times llama.cpp (node-llama-cpp's prebuilt binary for CPUs, from `peers/`) as `qigen bench --json` times this engine:
 * a prompt of random tokens, then tokens one by one after it; one warm-up; medians.
 *
 *     node bench/peer.mjs model.gguf [--threads 2] [--prompt-tokens 512] [--gen-tokens 64] [--repeat 3]
 */
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    threads: { type: "string", default: `${availableParallelism()}` },
    "prompt-tokens": { type: "string", default: "512" },
    "gen-tokens": { type: "string", default: "64" },
    repeat: { type: "string", default: "3" },
  },
});
const [modelPath] = positionals;
const threads = Number(values.threads);
const promptTokens = Number(values["prompt-tokens"]);
const genTokens = Number(values["gen-tokens"]);
const repeat = Number(values.repeat);
if (modelPath === undefined || ![threads, promptTokens, genTokens, repeat].every((n) => n >= 1)) {
  console.error(
    "usage: node bench/peer.mjs <model> [--threads n] [--prompt-tokens n] [--gen-tokens n] [--repeat n]",
  );
  process.exit(2);
}

const { getLlama } = await import("../peers/node_modules/node-llama-cpp/dist/index.js").catch(() => {
  console.error("llama.cpp is not installed: npm ci --prefix peers --ignore-scripts");
  process.exit(1);
});

/** Logits of the next token, and the likeliest one: the least that can be asked for. */
const NEXT = { generateNext: { token: true, options: { temperature: 0, topK: 1 } } };

const llama = await getLlama({
  gpu: false,
  build: "never",
  skipDownload: true,
  progressLogs: false,
  logLevel: "error",
  maxThreads: threads,
});
const started = performance.now();
const model = await llama.loadModel({ modelPath, gpuLayers: 0 });
const context = await model.createContext({
  // A full context would be shifted, which takes time.
  contextSize: promptTokens + genTokens + 64,
  batchSize: Math.min(512, promptTokens),
  threads: { ideal: threads, min: threads },
});
const loadSeconds = (performance.now() - started) / 1000;
const sequence = context.getSequence();
const vocabularySize = model.fileInfo.tensorInfo.find(({ name }) => name === "token_embd.weight")
  .dimensions[1];

await run(promptTokens, Math.min(genTokens, 8));
const runs = [];
for (let i = 0; i < repeat; i++) runs.push(await run(promptTokens, genTokens));
const report = {
  model: modelPath,
  peer: "llama.cpp",
  release: llama.llamaCppRelease.release,
  system: llama.systemInfo,
  threads: context.currentThreads,
  promptTokens,
  genTokens,
  repeat,
  loadSeconds,
  firstTokenSeconds: spread(runs.map(({ prefillSeconds }) => prefillSeconds)),
  prefillTokensPerSecond: spread(runs.map(({ prefillSeconds }) => promptTokens / prefillSeconds)),
  decodeTokensPerSecond: spread(runs.map(({ decodeSeconds }) => genTokens / decodeSeconds)),
};
console.log(JSON.stringify(report, null, 2));
await context.dispose();
await model.dispose();
await llama.dispose();

async function run(prompt, generated) {
  await sequence.clearHistory();
  const tokens = Array.from({ length: prompt }, randomToken);
  const start = performance.now();
  await sequence.controlledEvaluate([...tokens.slice(0, -1), [tokens.at(-1), NEXT]]);
  const prefilled = performance.now();
  for (let i = 0; i < generated; i++) await sequence.controlledEvaluate([[randomToken(), NEXT]]);
  const end = performance.now();
  return { prefillSeconds: (prefilled - start) / 1000, decodeSeconds: (end - prefilled) / 1000 };
}

/** Not one of the first few, which end or start texts. */
function randomToken() {
  return 3 + Math.floor(Math.random() * (Number(vocabularySize) - 3));
}

function spread(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  const median = (sorted[Math.floor(middle)] + sorted[Math.ceil(middle)]) / 2;
  return { median, min: sorted[0], max: sorted.at(-1) };
}
