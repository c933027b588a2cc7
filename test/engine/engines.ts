import { Engine } from "../../src/engine/engine.ts";
import { compileModel, type EngineOptions, openModel } from "../../src/engine/load-model.ts";
import { ModelProgram, type ProgramLimits } from "../../src/engine/model-program.ts";
import { loadWeights, packKernels, readVector, stagingBytes } from "../../src/engine/weights.ts";
import type { ModelFile } from "../../src/files/model-file.ts";
import { verify } from "../../src/ir/verify.ts";
import { generated } from "../../src/kernels/recipe.ts";
import { type RopeAngles, ropeAngles, ropeFactors } from "../../src/models/rope.ts";
import { genericMachine } from "../../src/plan/machine.ts";
import type { Tokenizer } from "../../src/text/tokenizer.ts";
import type { TestTarget } from "../backends.ts";

/** Step tables of weight packing, for backends that reserve their memory at the start. */
const PACK_TABLE_BYTES = 4 * 2 ** 20;

export interface LoadedEngine {
  readonly engine: Engine;
  readonly tokenizer: Tokenizer;
}

/** The angles of every rotation of a program. */
export async function anglesOf({ ropes, limits }: ModelProgram, file: ModelFile): Promise<RopeAngles[]> {
  const angles = ropes.map(async (rope) => {
    const vector = ropeFactors(rope, limits.contextLength);
    return ropeAngles(rope, limits.contextLength, vector && (await readVector(vector, file)));
  });
  return Promise.all(angles);
}

/**
 * A model on a test target, planned as `loadModel` plans it for one thread of a generic machine, with other limits if wanted.
 * For targets that the library itself would not choose, and for what is below its interface.
 */
export async function loadOn(
  target: TestTarget,
  path: string,
  options: EngineOptions = {},
  limits: Partial<ProgramLimits> = {},
): Promise<LoadedEngine> {
  const opened = await openModel(path);
  try {
    const { file } = opened;
    const kind = target.isa.syntax === "wasm" ? "wasm" : "native";
    const planned = compileModel(opened, genericMachine(), target.isa, kind, { threads: 1, ...options });
    const { spec, matrices, kv, isa, threads } = planned;
    const program = new ModelProgram(spec, matrices, kv, isa, threads, { ...planned.limits, ...limits });
    const { weights, cache, work } = program;
    const kernels = [...program.kernels.values(), ...packKernels(matrices.values(), isa)];
    kernels.map(generated).forEach(verify);
    const regionBytes = weights.bytes + cache.bytes + work.bytes;
    const capacity = regionBytes + stagingBytes(matrices.values()) + program.tableBytes + PACK_TABLE_BYTES;
    const backend = await target.create({ threads, kernels, capacity });
    const regions = {
      weights: backend.allocate(weights.bytes, "weights"),
      cache: backend.allocate(cache.bytes, "working"),
      work: backend.allocate(work.bytes, "working"),
    };
    await loadWeights(program, backend, regions.weights, file);
    const engine = new Engine(program, backend, regions, await anglesOf(program, file));
    return { engine, tokenizer: opened.tokenizer() };
  } finally {
    await opened.close();
  }
}
