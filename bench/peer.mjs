/**
 * Times llama.cpp (node-llama-cpp's prebuilt binary for CPUs, from `peers/`) as `qigen bench --json` times this engine:
 * a prompt of random tokens, and tokens one by one, both after `depth` positions of context; one warm-up; medians.
 *
 *     node bench/peer.mjs model.gguf [--threads 2] [--prompt-tokens 512] [--gen-tokens 64] [--depth 0] [--repeat 3]
 */
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { spread } from "./statistics.mjs";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    threads: { type: "string", default: `${availableParallelism()}` },
    "prompt-tokens": { type: "string", default: "512" },
    "gen-tokens": { type: "string", default: "64" },
    depth: { type: "string", default: "0" },
    repeat: { type: "string", default: "3" },
  },
});
const [modelPath] = positionals;
const threads = Number(values.threads);
const promptTokens = Number(values["prompt-tokens"]);
const genTokens = Number(values["gen-tokens"]);
const depth = Number(values.depth);
const repeat = Number(values.repeat);
const counts = [threads, promptTokens, genTokens, repeat, depth + 1];
if (modelPath === undefined || !counts.every((n) => Number.isInteger(n) && n >= 1)) {
  console.error(
    "usage: node bench/peer.mjs <model> [--threads n] [--prompt-tokens n] [--gen-tokens n] [--depth n] [--repeat n]",
  );
  process.exit(2);
}

const { getLlama, getModuleVersion } = await import(
  "../peers/node_modules/node-llama-cpp/dist/index.js"
).catch(() => {
  console.error("llama.cpp is not installed: npm ci --prefix peers --ignore-scripts");
  process.exit(1);
});

/** Logits of the next token, and the likeliest one: the least that can be asked for. */
const NEXT = { generateNext: { token: true, options: { temperature: 0, topK: 1 } } };
/** A full context would be shifted, which takes time. */
const SPARE_POSITIONS = 64;
/** llama.cpp's own unit of prefill. */
const BATCH = 512;
/** Tokens of decode that warm up. */
const WARM_UP = 8;

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
  contextSize: depth + Math.max(promptTokens, genTokens) + SPARE_POSITIONS,
  batchSize: BATCH,
  threads: { ideal: threads, min: threads },
});
const loadSeconds = (performance.now() - started) / 1000;
const sequence = context.getSequence();
const vocabularySize = Number(
  model.fileInfo.tensorInfo.find(({ name }) => name === "token_embd.weight").dimensions[1],
);

if (depth > 0) await prefill(depth);
await timed(() => prefill(promptTokens));
await timed(() => decode(Math.min(genTokens, WARM_UP)));
const [prefillSeconds, decodeSeconds] = [[], []];
for (let i = 0; i < repeat; i++) {
  prefillSeconds.push(await timed(() => prefill(promptTokens)));
  decodeSeconds.push(await timed(() => decode(genTokens)));
}
const report = {
  model: modelPath,
  peer: "llama.cpp",
  version: await getModuleVersion(),
  release: llama.llamaCppRelease.release,
  system: llama.systemInfo,
  threads: context.currentThreads,
  depth,
  repeat,
  loadSeconds,
  prefill: testOf(promptTokens, prefillSeconds),
  decode: testOf(genTokens, decodeSeconds),
};
console.log(JSON.stringify(report, null, 2));
await context.dispose();
await model.dispose();
await llama.dispose();

/** Seconds that a test takes after the context's first `depth` positions. */
async function timed(test) {
  const end = sequence.nextTokenIndex;
  if (end > depth) await sequence.eraseContextTokenRanges([{ start: depth, end }]);
  const start = performance.now();
  await test();
  return (performance.now() - start) / 1000;
}

async function prefill(count) {
  const tokens = Array.from({ length: count }, randomToken);
  await sequence.controlledEvaluate([...tokens.slice(0, -1), [tokens.at(-1), NEXT]]);
}

async function decode(count) {
  for (let i = 0; i < count; i++) await sequence.controlledEvaluate([[randomToken(), NEXT]]);
}

/** Not one of the first few, which end or start texts. */
function randomToken() {
  return 3 + Math.floor(Math.random() * (vocabularySize - 3));
}

function testOf(tokens, seconds) {
  return { tokens, seconds, tokensPerSecond: spread(seconds.map((time) => tokens / time)) };
}
