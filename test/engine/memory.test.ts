import { execFile } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { beforeAll, describe, expect, type TestContext, test } from "vitest";
import { randomLlama } from "../../src/models/random-llama.ts";
import { NATIVE_TARGETS, need, type TestTarget } from "../backends.ts";
import { saveGguf, temporaryFolder } from "../cli/harness.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const folder = temporaryFolder();
const model = join(folder, "random.gguf");
const cache = join(folder, "cache");
/** What a process may have beside the weights and the KV cache: Node, kernels, working memory, staging. */
const REST = 150e6;

/** Why the build cannot stand for the sources, if so. */
function staleBuild(): string | undefined {
  const sources = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" });
  for (const name of sources.filter((file) => file.endsWith(".ts"))) {
    const built = join(root, "dist", name.replace(/\.ts$/, ".js"));
    if (!existsSync(built)) return "not built: npm run build";
    if (statSync(built).mtimeMs < statSync(join(root, "src", name)).mtimeMs) {
      return `dist is older than src/${name}: npm run build`;
    }
  }
  return undefined;
}

async function needBuild(context: TestContext): Promise<void> {
  await need(NATIVE_TARGETS[0] as TestTarget, context);
  const stale = staleBuild();
  context.skip(stale !== undefined, stale);
}

/** Loads the model, writes some tokens, and prints the most memory that the process has had. */
const PROGRAM = `
import { readFileSync } from "node:fs";
const [library, model, placement] = process.argv.slice(1);
const { loadModel } = await import(library);
const loaded = await loadModel(model, { backend: "native", threads: 2, placement, contextLength: 1024 });
let text = "";
for await (const piece of loaded.generate(Array(300).fill(5), { maxTokens: 8, temperature: 0 })) text += piece;
const peak = /^VmHWM:\\s+(\\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"));
console.log(JSON.stringify({ text, peak: 1024 * Number(peak[1]), ...loaded.memory }));
await loaded.dispose();
`;

/** Times the model, once its weights have moved. */
const BENCHMARK = `
const [library, model] = process.argv.slice(1);
const { benchmarkModel } = await import(new URL("benchmark.js", library));
const result = await benchmarkModel(model, { backend: "native", promptTokens: 8, genTokens: 2, repeat: 1 });
console.log(JSON.stringify(result));
`;

interface Use {
  readonly text: string;
  readonly peak: number;
  readonly weights: number;
  readonly kvCache: number;
}

/** What a program prints, run with the built library and the model as its first arguments. */
async function resultOf(program: string, more: readonly string[], cacheDir: string): Promise<unknown> {
  const library = pathToFileURL(join(root, "dist/api/index.js")).href;
  const args = ["--input-type=module", "-e", program, library, model, ...more];
  const env = { ...process.env, QIGEN_CACHE: cacheDir };
  const { stdout } = await promisify(execFile)(process.execPath, args, { env });
  return JSON.parse(stdout);
}

async function run(placement: "auto" | "arena" | "mapped", cacheDir = cache): Promise<Use> {
  return (await resultOf(PROGRAM, [placement], cacheDir)) as Use;
}

describe.skipIf(process.platform !== "linux")("a process with a model of 90 MB", () => {
  beforeAll(async () => {
    const shape = { layers: 12, hiddenSize: 1024, intermediateSize: 2816, heads: 16, kvHeads: 8 };
    const options = { ...shape, vocabularySize: 8000, contextLength: 2048 };
    await saveGguf(model, randomLlama({ ...options, format: "Q4_0", weights: "codes" }));
  });

  test.for([
    ["arena", "in an arena"],
    ["mapped", "in a mapped file that it writes first"],
    ["mapped", "in a mapped file that is there"],
    ["auto", "in a mapped file that moves to an arena"],
  ] as const)("has the weights once: %s, %s", async ([placement], context) => {
    await needBuild(context);
    const { peak, weights, kvCache } = await run(placement);
    const fileBytes = statSync(model).size;
    expect(fileBytes).toBeGreaterThan(80e6);
    expect(weights).toBeLessThan(1.05 * fileBytes);
    expect(peak).toBeLessThan(1.15 * fileBytes + kvCache + REST);
  });

  test("twice at once starts, and writes the same text", async (context) => {
    await needBuild(context);
    const fresh = join(folder, "fresh");
    const runs = [
      ...(await Promise.all([run("auto", fresh), run("auto", fresh)])),
      await run("mapped", fresh),
    ];
    runs.push(...(await Promise.all([run("auto", fresh), run("auto", fresh)])));
    expect(new Set(runs.map(({ text }) => text)).size).toBe(1);
    expect(readdirSync(join(fresh, "packed"))).toHaveLength(1);
  });

  test("is timed when its weights have moved", async (context) => {
    await needBuild(context);
    await run("mapped");
    expect(await resultOf(BENCHMARK, [], cache)).toMatchObject({ backend: "native", repeat: 1 });
  });
});
