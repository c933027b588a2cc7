/** Engines with a mistake, to show that a comparison would find it. */

import { assert } from "../../src/base/assert.ts";
import type { Backend, BackendRequest, Region, Step } from "../../src/engine/backend.ts";
import type { Engine, Row } from "../../src/engine/engine.ts";
import { loadEngine, openModel } from "../../src/engine/load-model.ts";
import { describeMachine } from "../../src/host/describe-machine.ts";
import { generated } from "../../src/kernels/recipe.ts";
import { TARGETS, type TestTarget } from "../backends.ts";
import { loadOn } from "../engine/engines.ts";
import { CONTEXT, EXACT_OURS, type Predictions } from "./comparison.ts";
import { logProbabilities } from "./divergence.ts";

const OPTIONS = { ...EXACT_OURS, contextLength: CONTEXT };
/** Rows of a step: their logits fit. */
const ROWS = 64;

/** The model with its rope pairs taken as (i, i + half) instead of (2i, 2i + 1). */
export async function withWrongPairs(path: string): Promise<Engine> {
  const opened = await openModel(path);
  try {
    const { spec } = opened;
    const { config } = spec;
    const wrong = { ...spec, config: { ...config, rope: { ...config.rope, pairing: "halves" as const } } };
    return await loadEngine({ ...opened, spec: wrong }, await describeMachine(), OPTIONS);
  } finally {
    await opened.close();
  }
}

/** The model with attention that also sees the position after its own. */
export async function withShiftedMask(path: string): Promise<Engine> {
  const target = await firstFastTarget();
  const shifted: TestTarget = {
    ...target,
    create: async (request) => shiftMask(await target.create(request), request.kernels),
  };
  return (await loadOn(shifted, path, OPTIONS)).engine;
}

async function firstFastTarget(): Promise<TestTarget> {
  for (const target of TARGETS) {
    if (!target.name.startsWith("interpreter") && (await target.missing()) === undefined) return target;
  }
  throw new Error("no backend runs here");
}

/** The backend with attention steps that get each row's position plus one. */
function shiftMask(backend: Backend, kernels: BackendRequest["kernels"]): Backend {
  const regions: Region[] = [];
  const shifts: (() => void)[] = [];
  const shiftedStep = (step: Step): Step => {
    const kernel = kernels.find(({ name }) => name === step.kernel);
    const parameters = kernel === undefined ? [] : generated(kernel).parameters;
    const index = parameters.findIndex(({ name }) => name === "positions");
    if (!step.kernel.startsWith("attention") || index < 0) return step;
    const address = step.arguments[index] as number;
    const from = regions.find(
      (region) => address >= region.address && address < region.address + region.bytes,
    );
    assert(from !== undefined, "positions are in no region");
    const to = backend.allocate(4 * CONTEXT, "working");
    shifts.push(() => {
      const view = (region: Region, offset: number) => {
        const { buffer, byteOffset } = region.view(offset, 4 * CONTEXT);
        return new Int32Array(buffer, byteOffset, CONTEXT);
      };
      view(to, 0).set(view(from, address - from.address).map((position) => position + 1));
    });
    return { ...step, arguments: step.arguments.with(index, to.address) };
  };
  return {
    kind: backend.kind,
    isa: backend.isa,
    threads: backend.threads,
    description: backend.description,
    allocate: (bytes, use) => {
      const region = backend.allocate(bytes, use);
      regions.push(region);
      return region;
    },
    release: (region) => backend.release(region),
    prepare: (steps) => backend.prepare(steps.map(shiftedStep)),
    run: (program, signal) => {
      for (const shift of shifts) shift();
      return backend.run(program, signal);
    },
    dispose: () => backend.dispose(),
  };
}

/** Log-probabilities after every token of all texts; disposes the engine. */
export async function predictionsOf(
  engine: Engine,
  texts: readonly (readonly number[])[],
): Promise<Predictions> {
  try {
    const predictions: Float64Array[] = [];
    for (const text of texts) {
      const sequence = engine.open();
      for (let start = 0; start < text.length; start += ROWS) {
        const rows = text.slice(start, start + ROWS).map((token): Row => ({ sequence, token, output: true }));
        for (const logits of await engine.step(rows)) predictions.push(logProbabilities(logits));
      }
      engine.close(sequence);
    }
    return predictions;
  } finally {
    await engine.dispose();
  }
}
