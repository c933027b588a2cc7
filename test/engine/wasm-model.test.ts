import { afterEach, describe, expect, test } from "vitest";
import { AbortedError } from "../../src/base/errors.ts";
import type { Backend, BackendRequest } from "../../src/engine/backend.ts";
import { Engine } from "../../src/engine/engine.ts";
import { InterpreterBackend } from "../../src/engine/interpreter.ts";
import { ModelProgram } from "../../src/engine/model-program.ts";
import { createWasmBackend } from "../../src/engine/wasm.ts";
import { loadWeights, packKernels, stagingBytes } from "../../src/engine/weights.ts";
import { type GgufFile, readGguf } from "../../src/files/gguf.ts";
import type { ByteSource } from "../../src/files/source.ts";
import { openFile } from "../../src/host/node-files.ts";
import { verify } from "../../src/ir/verify.ts";
import { wasmSimd128 as isa } from "../../src/isa/wasm-simd128.ts";
import { PAGE_TOKENS } from "../../src/kernels/kv-cache.ts";
import { generated } from "../../src/kernels/recipe.ts";
import { modelSpec } from "../../src/models/index.ts";
import { linears, type ModelSpec, ropes } from "../../src/models/model.ts";
import { ropeAngles } from "../../src/models/rope.ts";
import { formatNamed } from "../../src/quant/formats.ts";
import { packing } from "../../src/quant/packing.ts";
import { shared } from "../files/gguf-fixtures.ts";

const TILE = 4;
const TOKENS = 180;
const START = "Once upon a time, there was a little girl named Lily. She loved to play outside in the park";

interface OpenFile {
  readonly file: GgufFile;
  readonly spec: ModelSpec;
}

type Create = (request: BackendRequest) => Backend | Promise<Backend>;

/** The model with fixed blockings, 32-bit float activations and cache, on a backend. */
async function load({ file, spec }: OpenFile, create: Create): Promise<Engine> {
  const tu = TILE * isa.lanes;
  const matrices = new Map(
    linears(spec).map((linear) => {
      const format = formatNamed(file.tensors.get(linear.tensor)?.type ?? "");
      const blocking = { mb: linear.cols, tb: tu, mu: 32, tu, nu: 4 };
      return [
        linear.tensor,
        {
          linear,
          source: format,
          packing: packing(format, linear.rows, linear.cols, TILE, isa),
          activations: { kind: "f32" },
          blocking,
        } as const,
      ];
    }),
  );
  const { kvHeads, headDim } = spec.config;
  const kv = { kvHeads, headDim, element: "f32", pageTokens: PAGE_TOKENS } as const;
  const limits = { maxRows: 64, maxOutputs: 16, contextLength: 256, sequences: 1 };
  const program = new ModelProgram(spec, matrices, kv, isa, 1, limits);
  const kernels = [...program.kernels.values(), ...packKernels(matrices.values(), isa)];
  kernels.map(generated).forEach(verify);
  const { weights, cache, work } = program;
  const capacity = weights.bytes + cache.bytes + work.bytes + stagingBytes(matrices.values()) + 2 ** 20;
  const backend = await create({ isa, threads: 1, kernels, capacity });
  const regions = {
    weights: backend.allocate(weights.bytes, "weights"),
    cache: backend.allocate(cache.bytes, "working"),
    work: backend.allocate(work.bytes, "working"),
  };
  await loadWeights(program, backend, regions.weights, file);
  const angles = ropes(spec).map((rope) => ropeAngles(rope, spec.config.contextLength));
  const engine = new Engine(program, backend, regions, angles);
  engines.push(engine);
  return engine;
}

const engines: Engine[] = [];
const sources: ByteSource[] = [];

afterEach(async () => {
  for (const engine of engines.splice(0)) await engine.dispose();
  for (const source of sources.splice(0)) await source.close();
});

async function open(path: string): Promise<OpenFile> {
  const source = await openFile(path);
  sources.push(source);
  const file = await readGguf(source);
  return { file, spec: modelSpec(file) };
}

/** Greedy text after the start token. */
async function generate(engine: Engine, file: GgufFile, count: number) {
  const pieces = file.metadata.strings("tokenizer.ggml.tokens");
  const sequence = engine.open();
  let token = file.metadata.u32Or("tokenizer.ggml.bos_token_id", 1);
  let text = "";
  const last: Float32Array[] = [];
  for (let i = 0; i < count; i++) {
    const [logits] = (await engine.step([{ sequence, token, output: true }])) as [Float32Array];
    token = logits.indexOf(Math.max(...logits));
    text += pieces[token];
    last[0] = logits;
  }
  engine.close(sequence);
  return { text: text.replaceAll("▁", " ").trim(), logits: last[0] };
}

/** Rows of one sequence, tokens chosen arbitrarily; the last one has an output. */
function promptStep(engine: Engine, length: number, signal?: AbortSignal) {
  const sequence = engine.open();
  const rows = Array.from({ length }, (_, i) => ({
    sequence,
    token: (17 + 31 * i) % engine.vocabularySize,
    output: i === length - 1,
  }));
  return engine.step(rows, signal).finally(() => engine.close(sequence));
}

const onWasm: Create = (request) => createWasmBackend(request);
const onInterpreter: Create = (request) => new InterpreterBackend(request);

describe("a small model in WebAssembly", () => {
  test("writes the interpreter's text, from the same bits", async (context) => {
    const model = await open(shared(context, "models/stories260K/stories260K.gguf"));
    const wasm = await load(model, onWasm);
    const interpreter = await load(model, onInterpreter);
    const [written, expected] = [
      await generate(wasm, model.file, TOKENS),
      await generate(interpreter, model.file, TOKENS),
    ];
    expect(written.text.startsWith(START)).toBe(true);
    expect(written.text).toBe(expected.text);
    expect(written.logits).toEqual(expected.logits);
    expect(await promptStep(wasm, 21)).toEqual(await promptStep(interpreter, 21));
  });

  test("a step that is stopped leaves the model as it was", async (context) => {
    const model = await open(shared(context, "models/tales/tales-5.8m-f16.gguf"));
    const wasm = await load(model, onWasm);
    const expected = await promptStep(wasm, 64);
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 5);
    const start = performance.now();
    await expect(promptStep(wasm, 64, controller.signal)).rejects.toThrow(AbortedError);
    expect(performance.now() - start).toBeLessThan(500);
    expect(await promptStep(wasm, 64)).toEqual(expected);
  });
});
