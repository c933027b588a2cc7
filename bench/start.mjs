// @ts-check
/**
 * How long it takes until a model's kernels are there: the first time (cold: plan, generate, compile) and later (warm: out of
 * the cache), for random models of 1.1B. `Q4_K+Q6_K` has the second type where llama.cpp's mixtures have it; `act-order`
 * is GPTQ with columns in an order of their own, `qwen3moe` a mixture of experts. Every start is a process of its own,
 * with a cache of its own (`npm run build` first). Prints a table of medians.
 *
 *     npm run bench:start -- --models Q4_0,Q4_K+Q6_K --rounds 3
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { chooseBackend } from "../dist/engine/choose.js";
import { compileModel } from "../dist/engine/load-model.js";
import { opener } from "../dist/engine/open-backend.js";
import { tuningOf } from "../dist/engine/plan-matrices.js";
import { packKernels } from "../dist/engine/weights.js";
import { findCompilers } from "../dist/host/compilers.js";
import { describeMachine } from "../dist/host/describe-machine.js";
import { loadPlans, savePlans } from "../dist/host/plans.js";
import { list, parsedOrExit, wholeNumber } from "./arguments.mjs";
import { ROOT } from "./children.mjs";
import { runChild } from "./compare/child.mjs";
import { interruptSignal } from "./interrupt.mjs";
import { namedModel } from "./start/models.mjs";
import { median } from "./statistics.mjs";

const MODELS =
  "Q4_0,Q8_0,Q2_K,Q3_K,Q4_K,Q5_K,Q6_K,IQ4_XS,IQ2_XXS,IQ3_S,TQ1_0,MXFP4,3bit-g128,act-order,Q4_K+Q6_K,qwen3moe";
const USAGE = `usage: npm run bench:start -- [options]
  --models LIST   tensor types, mixtures of two, act-order, qwen3moe (default: ${MODELS})
  --rounds N      starts of each (default: 3)`;

/**
 * The start of a model in this process.
 *
 * @param {string} name
 * @returns {Promise<{ kernels: number, plan: number, build: number }>} milliseconds
 */
async function start(name) {
  const model = namedModel(name);
  const [machine, compilers] = await Promise.all([describeMachine(), findCompilers()]);
  const choice = chooseBackend(machine, compilers);
  const started = performance.now();
  const program = compileModel(model, machine, choice.isa, choice.kind, {}, loadPlans(machine));
  const planned = performance.now();
  const { isa, threads, matrices } = program;
  await savePlans(machine, tuningOf(matrices, isa, threads));
  const kernels = [...program.kernels.values(), ...packKernels(matrices.values(), isa)];
  const saved = performance.now();
  const backend = await opener(choice)({ isa, threads, kernels, capacity: 2 ** 20 });
  const built = performance.now();
  await backend.dispose();
  return { kernels: kernels.length, plan: planned - started, build: built - saved };
}

/**
 * A cold start and a warm one, each in a process of its own.
 *
 * @param {string} name
 * @param {AbortSignal} signal
 * @returns {Promise<{ cold: Awaited<ReturnType<typeof start>>, warm: Awaited<ReturnType<typeof start>> }>}
 */
async function startTwice(name, signal) {
  const folder = await mkdtemp(join(tmpdir(), "qigen-start-"));
  const child = async () => {
    const command = ["node", "bench/start.mjs", "--once", name];
    const { stdout } = await runChild(command, { cwd: ROOT, signal, env: { QIGEN_CACHE: folder } });
    return JSON.parse(stdout);
  };
  try {
    return { cold: await child(), warm: await child() };
  } finally {
    await rm(folder, { recursive: true });
  }
}

const { values, names, rounds } = parsedOrExit(USAGE, () => {
  const { values } = parseArgs({
    options: {
      models: { type: "string", default: MODELS },
      rounds: { type: "string", default: "3" },
      once: { type: "string" },
    },
  });
  return { values, names: list(values.models), rounds: wholeNumber("rounds", values.rounds, 1) };
});

if (values.once !== undefined) {
  console.log(JSON.stringify(await start(values.once)));
} else {
  const signal = interruptSignal();
  console.log(
    "| model | kernels | plan | generate and compile | cold | warm |\n| --- | --: | --: | --: | --: | --: |",
  );
  for (const name of names) {
    /** @type {Awaited<ReturnType<typeof startTwice>>[]} */
    const starts = [];
    for (let round = 0; round < rounds; round++) starts.push(await startTwice(name, signal));
    const seconds = (/** @type {(start: typeof starts[0]) => number} */ of) =>
      `${(median(starts.map(of)) / 1000).toFixed(2)} s`;
    const cells = [
      name,
      starts[0]?.cold.kernels,
      seconds(({ cold }) => cold.plan),
      seconds(({ cold }) => cold.build),
      seconds(({ cold }) => cold.plan + cold.build),
      `${median(starts.map(({ warm }) => warm.plan + warm.build)).toFixed(0)} ms`,
    ];
    console.log(`| ${cells.join(" | ")} |`);
  }
}
