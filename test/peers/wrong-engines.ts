/** Engines with a mistake, to show that a comparison would find it. */

import { assert } from "../../src/base/assert.ts";
import type { Backend, BackendRequest, Region, Step } from "../../src/engine/backend.ts";
import type { Engine, Row } from "../../src/engine/engine.ts";
import { loadEngine, openModel } from "../../src/engine/load-model.ts";
import { describeMachine } from "../../src/host/describe-machine.ts";
import { generated } from "../../src/kernels/recipe.ts";
import {
  type Attention,
  type Layer,
  type Linear,
  type ModelSpec,
  type RopeConfig,
  type Routing,
  ropes,
} from "../../src/models/model.ts";
import { TARGETS, type TestTarget } from "../backends.ts";
import { loadOn } from "../engine/engines.ts";
import { CONTEXT, EXACT_OURS, type Predictions } from "./comparison.ts";
import { logProbabilities } from "./divergence.ts";

const OPTIONS = { ...EXACT_OURS, contextLength: CONTEXT };
/** Rows of a step: their logits fit. */
const ROWS = 64;

/** The model in a file as another one. */
export async function withSpec(path: string, change: (spec: ModelSpec) => ModelSpec): Promise<Engine> {
  const opened = await openModel(path);
  try {
    const wrong = { ...opened, spec: change(opened.spec) };
    return await loadEngine(wrong, await describeMachine(), OPTIONS);
  } finally {
    await opened.close();
  }
}

const eachLayer = (spec: ModelSpec, change: (layer: Layer) => Layer): ModelSpec => ({
  ...spec,
  layers: spec.layers.map(change),
});

/** Changes every attention block; the same rotation stays the same. */
const eachAttention = (spec: ModelSpec, change: (attention: Attention) => Attention): ModelSpec =>
  eachLayer(spec, (layer) => ({ ...layer, attention: change(layer.attention) }));

/** Dimensions rotate with the wrong others. */
export function withWrongPairs(spec: ModelSpec): ModelSpec {
  const wrong = new Map<RopeConfig, RopeConfig>();
  for (const rope of ropes(spec)) {
    wrong.set(rope, { ...rope, pairing: rope.pairing === "halves" ? "interleaved" : "halves" });
  }
  return eachAttention(spec, ({ rope, ...rest }) =>
    rope ? { ...rest, rope: wrong.get(rope) ?? rope } : rest,
  );
}

/** One kind of bias is missing in all layers: of values, or of what is projected up. */
export function withoutBias(spec: ModelSpec): ModelSpec {
  const bare = ({ bias: _, ...linear }: Linear): Linear => linear;
  return eachLayer(spec, ({ attention, feedForward, ...layer }) => ({
    ...layer,
    attention: { ...attention, v: bare(attention.v) },
    feedForward: { ...feedForward, up: bare(feedForward.up) },
  }));
}

/** The norm before the first block and the last one of all take each other's place. */
export function withSwappedNorms(spec: ModelSpec): ModelSpec {
  const [first, ...others] = spec.layers;
  assert(first?.attention.inputNorm !== undefined, "no norm to swap");
  const { inputNorm } = first.attention;
  return {
    ...spec,
    layers: [{ ...first, attention: { ...first.attention, inputNorm: spec.output.norm } }, ...others],
    output: { ...spec.output, norm: inputNorm },
  };
}

/** Every layer sees all positions before its own. */
export const withoutWindow = (spec: ModelSpec) => eachAttention(spec, ({ window: _, ...rest }) => rest);

/** Positions take all of the weights. */
export const withoutSinks = (spec: ModelSpec) => eachAttention(spec, ({ sinks: _, ...rest }) => rest);

/** Queries and keys are taken as they are projected. */
export const withoutHeadNorms = (spec: ModelSpec) =>
  eachAttention(spec, ({ qNorm: _, kNorm: __, ...rest }) => rest);

/** Scores and logits are not capped. */
export function withoutCaps(spec: ModelSpec): ModelSpec {
  const { softcap: _, ...output } = spec.output;
  return eachAttention({ ...spec, output }, ({ softcap: __, ...rest }) => rest);
}

const eachRouting = (spec: ModelSpec, change: (routing: Routing) => Routing): ModelSpec =>
  eachLayer(spec, ({ feedForward: { routing, ...feedForward }, ...layer }) => ({
    ...layer,
    feedForward: { ...feedForward, ...(routing === undefined ? {} : { routing: change(routing) }) },
  }));

/** The weights of experts are normalized where they are not, or the other way round. */
export const withOtherSoftmax = (spec: ModelSpec) =>
  eachRouting(spec, (routing) => ({
    ...routing,
    softmaxOver: routing.softmaxOver === "all" ? "chosen" : "all",
  }));

/** A token passes one expert less. */
export const withFewerExperts = (spec: ModelSpec) =>
  eachRouting(spec, (routing) => ({ ...routing, used: routing.used - 1 }));

/** No expert is shared. */
export const withoutSharedExpert = (spec: ModelSpec) =>
  eachRouting(spec, ({ shared: _, ...routing }) => routing);

/** The blocks of a layer follow each other. */
export const withoutParallel = (spec: ModelSpec) =>
  eachLayer(spec, (layer) => {
    const { attention, feedForward } = layer;
    const inputNorm = feedForward.inputNorm ?? attention.inputNorm;
    assert(inputNorm !== undefined, "no norm to share");
    return { attention, feedForward: { ...feedForward, inputNorm } };
  });

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
