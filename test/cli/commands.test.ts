import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { z } from "zod";
import { Interrupts } from "../../src/cli/io.ts";
import type { GgufValue } from "../../src/files/gguf-values.ts";
import { PackedStrings } from "../../src/files/packed-strings.ts";
import { parseMachine } from "../../src/plan/machine.ts";
import { cli, saveGguf, temporaryFolder, tinyLlama } from "./harness.ts";

const folder = temporaryFolder();
const model = join(folder, "tiny.gguf");
const strange = join(folder, "strange.gguf");
const WASM = ["--backend", "wasm"];

beforeAll(async () => {
  await saveGguf(model, tinyLlama());
  const words: GgufValue = { type: "array", of: "string", values: PackedStrings.from(["a", "\u001b[2J"]) };
  const metadata = new Map<string, GgufValue>([
    ["general.architecture", { type: "string", value: "perceptron\u001b[31m" }],
    ["big", { type: "u64", value: 2n ** 60n }],
    ["odd", { type: "f32", value: Number.NaN }],
    ["words", words],
  ]);
  const tensors = [
    { name: "w", type: "IQ1_M", shape: [256, 2], data: () => [new Uint8Array(112)] },
    { name: "x", type: "I8", shape: [64], data: () => [new Uint8Array(64)] },
  ] as const;
  await saveGguf(strange, { metadata, tensors });
});

/** Runs a command that prints JSON, and checks that it is what the schema says, all of it. */
async function json<T>(args: readonly string[], schema: z.ZodType<T>): Promise<T> {
  const { code, stdout, stderr } = await cli([...args, "--json"]);
  expect(stderr.replace(/^running on .*\n/, "")).toBe("");
  expect(code).toBe(0);
  return schema.parse(JSON.parse(stdout));
}

const count = z.int().min(0);
const positive = z.number().positive();

describe("run", () => {
  const schema = z.strictObject({
    model: z.literal(model),
    backend: z.literal("wasm"),
    isa: z.string(),
    threads: z.literal(1),
    prompt: z.literal("bada"),
    text: z.string(),
    stopReason: z.literal("max-tokens"),
    seed: z.literal(5),
    tokens: z.strictObject({ prompt: count, generated: z.literal(9) }),
    timings: z.strictObject({
      prefillSeconds: positive,
      decodeSeconds: positive,
      prefillTokensPerSecond: positive,
      decodeTokensPerSecond: positive,
    }),
  });
  const args = ["run", model, "-p", "bada", "-n", "9", "--seed", "5", ...WASM];

  test("--json, and the same text as it streams", async () => {
    const { text } = await json(args, schema);
    const plain = await cli(args);
    expect(plain.code).toBe(0);
    expect(plain.stdout).toBe(`${text}\n`);
    expect(plain.stderr).toMatch(
      /^running on wasm.*\n\nprompt +\d+ tokens .*\ntext +9 tokens .*\nend .*seed 5\n$/,
    );
    const quiet = await cli([...args, "--quiet", "--echo"]);
    expect(quiet).toEqual({ code: 0, stdout: `bada${text}\n`, stderr: "" });
  });

  test("the prompt from a file or standard input", async () => {
    const { stdout } = await cli(args);
    const file = join(folder, "prompt.txt");
    writeFileSync(file, "bada");
    const rest = ["-n", "9", "--seed", "5", ...WASM];
    expect((await cli(["run", model, "-f", file, ...rest])).stdout).toBe(stdout);
    expect((await cli(["run", model, "-f", "-", ...rest], { stdin: "bada" })).stdout).toBe(stdout);
  });

  test("Ctrl-C while text is generated: exit code 130, a line end, nothing else", async () => {
    const result = await cli(["run", model, "-p", "bada", ...WASM], {
      onStdout: (_, interrupts) => interrupts.fire(),
    });
    expect(result.code).toBe(130);
    expect(result.stdout).toMatch(/\n$/);
    expect(result.stderr).toMatch(/^running on .*\n$/);
  });
});

describe("inspect", () => {
  const value = z.union([
    z.string(),
    z.number(),
    z.boolean(),
    z.strictObject({
      array: z.string(),
      length: count,
      first: z.array(z.union([z.string(), z.number(), z.boolean()])).max(5),
    }),
  ]);
  const tensors = z.strictObject({
    count,
    weights: count,
    bytes: count,
    bitsPerWeight: z.number(),
    types: z.array(
      z.strictObject({
        type: z.string(),
        tensors: count,
        weights: count,
        bytes: count,
        bitsPerWeight: positive,
        kernels: z.boolean(),
        repacked: z.strictObject({ bytes: count, bitsPerWeight: positive }).optional(),
      }),
    ),
    list: z
      .array(
        z.strictObject({
          name: z.string(),
          type: z.string(),
          shape: z.array(count),
          offset: count,
          bytes: count,
        }),
      )
      .optional(),
  });
  const base = {
    notices: z.tuple([]),
    file: z.strictObject({
      path: z.string(),
      bytes: count,
      files: z.literal(1),
      ggufVersion: z.literal(3),
      alignment: count,
    }),
    architecture: z.string(),
    metadata: z.record(z.string(), value),
    tensors,
  };

  test("a model that runs", async () => {
    const memory = z.strictObject({
      backend: z.literal("wasm"),
      isa: z.string(),
      contextLength: z.literal(64),
      kv: z.literal("f16"),
      weights: positive,
      kvCache: positive,
      working: positive,
      total: positive,
    });
    const config = z.looseObject({ layers: z.literal(1), hiddenSize: z.literal(64) });
    const schema = z.strictObject({ ...base, supported: z.literal(true), config, memory });
    const found = await json(["inspect", model, "--context-length", "64", "--tensors", ...WASM], schema);
    expect(found.tensors.list).toHaveLength(found.tensors.count);
    expect(found.metadata["tokenizer.ggml.tokens"]).toMatchObject({ array: "string", length: 300 });
    expect(found.memory.total).toBe(found.memory.weights + found.memory.kvCache + found.memory.working);
    const { stdout } = await cli(["inspect", model]);
    expect(stdout).toMatch(/^runs +yes$/m);
    expect(stdout).toMatch(/^ {2}Q4_0 .* 4\.50 +yes$/m);
    expect(stdout).toContain("Memory for a context of 96 tokens");
  });

  test("any other GGUF file, without what its text would do to a terminal", async () => {
    const schema = z.strictObject({ ...base, supported: z.literal(false), reason: z.string() });
    const found = await json(["inspect", strange], schema);
    expect(found.metadata).toMatchObject({ big: String(2n ** 60n), odd: "NaN" });
    const repacked = { bytes: 212, bitsPerWeight: 3.3125 };
    const type = { type: "IQ1_M", kernels: true, bytes: 112, bitsPerWeight: 1.75, repacked };
    expect(found.tensors.types).toMatchObject([type, { type: "I8", kernels: false, bitsPerWeight: 8 }]);
    const { stdout } = await cli(["inspect", strange]);
    expect(stdout).toContain("IQ1_M is re-packed, without loss, to 3.31 bits/weight as it loads: 100 B more");
    expect(stdout).toMatch(/^runs +no: architecture .* is not supported/m);
    expect(stdout).not.toContain("\u001b");
  });
});

describe("generate", () => {
  const shape = ["generate", "--format", "q4_0", "--rows", "256", "--cols", "128", "--machine", "generic"];

  test.each([
    ["c", "avx2", "//", /^void project_/m],
    ["c", "avx512-vnni", "//", /_mm512_dpbusd_epi32/],
    ["ir", "avx2", "//", /^kernel project_/m],
    ["wasm", "wasm-simd128", ";;", /^\(module/m],
  ])("%s for %s, below its plan", async (backend, isa, comment, code) => {
    const { code: exit, stdout, stderr } = await cli([...shape, "--backend", backend, "--isa", isa]);
    expect([exit, stderr]).toEqual([0, ""]);
    expect(stdout.startsWith(`${comment} weights `)).toBe(true);
    for (const term of ["mini-GEMV", "mb 128", "micro-GEMV", "working sets", "limited by"]) {
      expect(stdout).toContain(term);
    }
    expect(stdout).toMatch(code);
  });

  test("several tokens have another plan, and the file has what would be printed", async () => {
    const file = join(folder, "out.c");
    const args = [...shape, "--isa", "avx2", "--tokens", "64"];
    const { stdout } = await cli(args);
    expect(stdout).toMatch(/nu [248] token/);
    expect(await cli([...args, "-o", file])).toEqual({ code: 0, stdout: "", stderr: "" });
    expect(readFileSync(file, "utf8")).toBe(stdout);
  });

  test("a machine from a file, or as doctor prints it", async () => {
    const doctor = await cli(["doctor", "--json"]);
    const diagnosis = z.looseObject({ machine: z.unknown() }).parse(JSON.parse(doctor.stdout));
    const file = join(folder, "machine.json");
    writeFileSync(file, JSON.stringify(diagnosis.machine));
    const args = ["generate", "--format", "8bit-row", "--rows", "64", "--cols", "64", "--isa", "avx2"];
    const fromMachine = await cli([...args, "--machine", file]);
    writeFileSync(file, doctor.stdout);
    expect(await cli([...args, "--machine", file])).toEqual(fromMachine);
    expect(fromMachine.code).toBe(0);
  });
});

describe("explain", () => {
  const prediction = z.looseObject({ seconds: positive, limit: z.string(), gbs: positive });
  const plan = z.looseObject({
    blocking: z.strictObject({
      mb: count,
      tb: count,
      mu: count,
      tu: count,
      nu: count,
      expand: z.boolean().optional(),
    }),
    workingSets: z.array(z.looseObject({ name: z.string(), bytes: count, fits: z.boolean() })),
    predicted: prediction,
  });
  const step = z.looseObject({ tokens: count, seconds: positive, tokensPerSecond: positive });
  const schema = z.looseObject({
    model: z.literal(model),
    machine: z.looseObject({ name: z.literal("generic") }),
    isa: z.literal("avx512-vnni"),
    threads: z.literal(3),
    shapes: z.array(
      z.looseObject({
        names: z.array(z.string()),
        count,
        weights: z.looseObject({ decode: plan, prefill: plan }),
      }),
    ),
    decode: step,
    prefill: step,
  });
  const args = ["explain", model, "--machine", "generic", "--isa", "avx512-vnni", "--threads", "3"];

  test("--json has every matrix once, with its plans", async () => {
    const { shapes, prefill } = await json([...args, "--prompt-tokens", "32"], schema);
    expect(shapes.reduce((sum, shape) => sum + shape.count, 0)).toBe(7 + 1);
    expect(shapes.flatMap(({ names }) => names)).toContain("output head");
    expect(prefill.tokens).toBe(32);
  });

  test("the text has the blockings and the totals, and the rest with --details", async () => {
    const { code, stdout } = await cli(args);
    expect(code).toBe(0);
    for (const term of ["mb x tb", "mu x tu x nu", "limit", "tokens/s"]) expect(stdout).toContain(term);
    const details = await cli([...args, "--details"]);
    expect(details.stdout.startsWith(stdout)).toBe(true);
    expect(details.stdout).toContain("working sets");
  });

  test("without a compiler, what runs is WebAssembly", async () => {
    vi.stubEnv("PATH", folder);
    for (const name of ["CC", "QIGEN_CC"]) vi.stubEnv(name, undefined);
    try {
      const isa = z.literal("wasm-simd128");
      await json(["explain", model], z.looseObject({ isa }));
      const memory = z.looseObject({ backend: z.literal("wasm"), isa });
      await json(["inspect", model], z.looseObject({ memory }));
    } finally {
      vi.unstubAllEnvs();
    }
  });

  test("--measure puts measured times beside the predicted ones, on this machine only", async () => {
    const measured = ["explain", model, "--measure", "--isa", "wasm-simd128", "--prompt-tokens", "8"];
    const timing = z.looseObject({ seconds: positive, gbs: positive, gops: positive });
    const times = z.strictObject({
      shapes: z.array(z.strictObject({ decode: timing, prefill: timing.optional() })),
      decode: step,
      prefill: step,
    });
    const { shapes, measured: found } = await json(
      measured,
      z.looseObject({ shapes: z.array(z.unknown()), measured: times }),
    );
    expect(found.shapes).toHaveLength(shapes.length);
    const { code, stdout } = await cli(measured);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^one matrix +tokens +predicted +measured +ratio/m);
    expect(stdout).toMatch(/^prefill, 8 tokens +8 /m);
    const elsewhere = await cli([...measured, "--machine", "generic"]);
    expect(elsewhere.code).toBe(2);
    expect(elsewhere.stderr).toContain("--machine");
  });
});

describe("tune", () => {
  const tuned = ["tune", model, "--isa", "wasm-simd128"];
  const cache = process.env.QIGEN_CACHE;
  beforeAll(() => {
    const mine = join(folder, "cache");
    mkdirSync(mine, { mode: 0o700 });
    process.env.QIGEN_CACHE = mine;
  });
  afterAll(() => {
    if (cache === undefined) delete process.env.QIGEN_CACHE;
    else process.env.QIGEN_CACHE = cache;
  });

  test("keeps the winners, which explain and doctor then show", async () => {
    const { code, stdout, stderr } = await cli(tuned);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^one matrix +planned +tuned/);
    expect(stderr).toMatch(/^(\d+) of \1 shapes kept in .*tuned-.*json$/m);
    const explained = await cli(["explain", model, "--isa", "wasm-simd128"]);
    expect(explained.stdout).toMatch(/^tuned +all blockings were timed/m);
    expect((await cli(["doctor"])).stdout).toMatch(/^ +tuned +blockings for \d+ shapes/m);
  });

  test("Ctrl-C keeps what is done: exit code 130", async () => {
    const interrupts = new Interrupts();
    const running = cli(tuned, { interrupts });
    interrupts.fire();
    const { code, stderr } = await running;
    expect(code).toBe(130);
    expect(stderr).toContain("shapes kept in");
  });
});

test("doctor", async () => {
  const verdict = z.strictObject({ works: z.literal(true), text: z.string() });
  const schema = z.looseObject({ machine: z.unknown(), choice: z.unknown(), trial: verdict });
  const { machine } = await json(["doctor"], schema);
  expect(parseMachine(JSON.stringify(machine), "doctor").threads).toBeGreaterThan(0);
  const { code, stdout } = await cli(["doctor"]);
  expect(code).toBe(0);
  expect(stdout).toMatch(/^Models run on\n {2}backend /);
});

describe("bench", () => {
  const spread = z
    .strictObject({ median: positive, min: positive, max: positive })
    .refine(({ median, min, max }) => min <= median && median <= max);
  const timed = { seconds: z.array(positive).length(2), tokensPerSecond: spread };
  const schema = z.strictObject({
    model: z.string(),
    backend: z.literal("wasm"),
    isa: z.string(),
    threads: z.literal(1),
    kv: z.literal("f16"),
    depth: z.literal(36),
    repeat: z.literal(2),
    loadSeconds: positive,
    prefill: z.strictObject({ tokens: z.literal(40), ...timed, gops: positive }),
    decode: z.strictObject({
      tokens: z.literal(5),
      ...timed,
      bytesPerToken: z.strictObject({ weights: positive, kvCache: positive }),
      gbs: positive,
    }),
    memory: z
      .strictObject({
        weights: positive,
        projections: positive,
        kvCache: positive,
        work: positive,
        peak: positive,
      })
      .refine(({ weights, projections, peak }) => projections < weights && weights < peak),
    machine: z.strictObject({ readGBs: positive.optional(), int8Gops: positive.optional() }),
  });
  const sizes = ["--prompt-tokens", "40", "--gen-tokens", "5", "--depth", "36", "--repeat", "2"];

  test("of a file", async () => {
    const found = await json(["bench", model, ...sizes, ...WASM], schema);
    expect(found.model).toBe(model);
    // q, o 64 × 64, k, v 32 × 64, gate, up, down 96 × 64, output 300 × 64, one row of the embedding; 18 bytes for 32.
    const weights = 64 * (2 * 64 + 2 * 32 + 3 * 96 + 300 + 1);
    expect(found.decode.bytesPerToken.weights).toBe((weights * 18) / 32);
    // Rows come in tiles of 4 lanes: all but the output head and the embedding.
    const { projections } = found.memory;
    expect(projections % ((64 * 4 * 18) / 32)).toBe(0);
    expect(projections).toBeGreaterThanOrEqual((64 * (2 * 64 + 2 * 32 + 3 * 96) * 18) / 32);
    // Keys and values of one head of 32, f16; the third of five tokens sees 36 + 3 positions.
    expect(found.decode.bytesPerToken.kvCache).toBe(2 * 32 * 2 * 39);
    const { code, stdout } = await cli(["bench", model, ...sizes, ...WASM]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^prefill +40 tokens .* GOPS/m);
    expect(stdout).toMatch(/^decode +5 tokens .* GB\/s/m);
    expect(stdout).toMatch(/^context +36 tokens/m);
    expect(stdout).toMatch(/^memory +.* of weights, .* of KV cache, peak /m);
  });

  test("explain of a shape in a format that files lack", async () => {
    const args = [
      "explain",
      "--synthetic",
      "tinyllama-1.1b",
      "--format",
      "3bit-g128",
      "--machine",
      "generic",
    ];
    const { code, stdout } = await cli(args);
    expect(code).toBe(0);
    expect(stdout).toContain("3bit-g128");
    // Query and output 2048 × 2048; 3 bits, and 3 bytes for 128 weights.
    expect(stdout).toMatch(/attention query, .* 2048 +2048 +3bit-g128/);
  });
});
