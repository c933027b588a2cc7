import { UsageError } from "../base/errors.ts";
import type { Isa } from "../isa/isa.ts";
import { predict } from "./cost.ts";
import { expertLoad } from "./expert-load.ts";
import type { Machine } from "./machine.ts";
import { planWeights, type WeightsOptions, type WeightsPlan } from "./projection-plan.ts";
import { type ProjectionShape, shapeKey } from "./shape.ts";

/** Matrices of one name and shape, or stacks of them. */
export interface ModelProjection {
  /** What the matrix is: "attention query", "output", … */
  readonly name: string;
  readonly shape: ProjectionShape;
  /** Matrices of this kind in the model, all of which every token passes: usually one per layer. */
  readonly count: number;
  /** Only the last token of a prefill passes it, as logits are wanted of that one. */
  readonly lastTokenOnly?: boolean;
}

/** A model as the planner sees it: its matrices, whatever the architecture. */
export interface ModelShapes {
  readonly projections: readonly ModelProjection[];
}

/** One distinct shape and everything that has it. */
export interface ShapePlan {
  readonly names: readonly string[];
  readonly shape: ProjectionShape;
  /** Matrices of this shape, or stacks. */
  readonly count: number;
  /** Those of them that all tokens of a prefill pass. */
  readonly prefillCount: number;
  /** Of a stack: for one of its matrices, and the tokens that it is expected to meet. */
  readonly weights: WeightsPlan;
}

/** Time of all projections in one step. */
export interface StepTime {
  readonly tokens: number;
  readonly seconds: number;
  readonly tokensPerSecond: number;
  /** Packed weights that the step reads, per second, in 10⁹. */
  readonly gbs: number;
}

/** How a model runs on a machine: one plan per distinct shape, and what they add up to. */
export interface ModelPlan {
  readonly isa: string;
  readonly threads: number;
  readonly shapes: readonly ShapePlan[];
  /** Packed weights of all projections. */
  readonly weightBytes: number;
  /** Whether the machine's memory holds them. */
  readonly fitsMemory: boolean;
  readonly decode: StepTime;
  /** Steps of a few tokens, the logits of all of them wanted: sequences that go on together, guessed tokens. */
  readonly batches: readonly StepTime[];
  readonly prefill: StepTime;
}

/** Tokens of the steps in `batches`. */
const BATCHES = [2, 4, 8, 16];

/** Plans every distinct shape of a model once. Projections only: attention, norms and sampling come on top. */
export function planModel(
  machine: Machine,
  isa: Isa,
  model: ModelShapes,
  options: WeightsOptions = {},
): ModelPlan {
  const { decodeTokens = 1, prefillTokens = 256, threads = machine.threads } = options;
  const shapes = [...groupByShape(model.projections).values()].map((members): ShapePlan => {
    const { shape } = members[0];
    const tokensOf = (tokens: number) => expertLoad(shape.experts, tokens).tokens;
    return {
      names: members.map((m) => m.name),
      shape,
      count: total(members, (m) => m.count),
      prefillCount: total(members, (m) => (m.lastTokenOnly ? 0 : m.count)),
      weights: planWeights(machine, isa, shape, {
        decodeTokens: tokensOf(decodeTokens),
        prefillTokens: tokensOf(prefillTokens),
        threads,
      }),
    };
  });
  const weightBytes = total(shapes, (s) => matricesOf(s) * s.weights.decode.predicted.bytes);
  return {
    isa: isa.name,
    threads,
    shapes,
    weightBytes,
    fitsMemory: weightBytes <= machine.memoryBytes,
    batches: BATCHES.map((tokens) =>
      step(shapes, tokens, ({ shape, weights, count }) => {
        const load = expertLoad(shape.experts, tokens);
        const time = predict(machine, isa, shape, weights.blocking, load.tokens, threads);
        return [[time, load.matrices * count]];
      }),
    ),
    ...stepTimes(
      shapes,
      { decode: decodeTokens, prefill: prefillTokens },
      (s) => s.weights.decode.predicted,
      (s) => s.weights.prefill.predicted,
    ),
  };
}

/** Matrices of a shape, those of all experts. */
export function matricesOf({ count, shape }: Pick<ShapePlan, "count" | "shape">): number {
  return count * (shape.experts?.count ?? 1);
}

type Members = [ModelProjection, ...ModelProjection[]];

function groupByShape(projections: readonly ModelProjection[]): Map<string, Members> {
  const groups = new Map<string, Members>();
  for (const projection of projections) {
    const { name, count, shape } = projection;
    const { experts } = shape;
    if (!Number.isSafeInteger(count) || count < 1) {
      throw new UsageError(`${name}: count must be a whole number ≥ 1, not ${count}`);
    }
    if (experts !== undefined && !(experts.used >= 1 && experts.used <= experts.count)) {
      throw new UsageError(`${name}: ${experts.used} of ${experts.count} experts`);
    }
    const key = shapeKey(shape);
    const known = groups.get(key);
    if (known === undefined) groups.set(key, [projection]);
    else known.push(projection);
  }
  return groups;
}

function total<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((sum, item) => sum + of(item), 0);
}

/** How long something took or will take, and the packed weights that it reads. */
export interface Timed {
  readonly seconds: number;
  readonly bytes: number;
}

type Share = readonly [time: Timed, count: number];

function step(
  shapes: readonly ShapePlan[],
  tokens: number,
  shares: (shape: ShapePlan) => readonly Share[],
): StepTime {
  const all = shapes.flatMap(shares);
  const seconds = total(all, ([time, count]) => count * time.seconds);
  const bytes = total(all, ([time, count]) => count * time.bytes);
  return {
    tokens,
    seconds,
    tokensPerSecond: seconds > 0 ? tokens / seconds : Number.POSITIVE_INFINITY,
    gbs: seconds > 0 ? bytes / seconds / 1e9 : 0,
  };
}

/** Both steps of a model, of so many tokens, from the times of single matrices of each shape. */
export function stepTimes(
  shapes: readonly ShapePlan[],
  tokens: { readonly decode: number; readonly prefill: number },
  decode: (shape: ShapePlan) => Timed,
  prefill: (shape: ShapePlan) => Timed,
): { readonly decode: StepTime; readonly prefill: StepTime } {
  const passes = ({ shape }: ShapePlan, n: number) => expertLoad(shape.experts, n).matrices;
  return {
    decode: step(shapes, tokens.decode, (s) => [[decode(s), s.count * passes(s, tokens.decode)]]),
    prefill: step(shapes, tokens.prefill, (s) => [
      ...(s.prefillCount > 0 ? [[prefill(s), s.prefillCount * passes(s, tokens.prefill)] as const] : []),
      [decode(s), (s.count - s.prefillCount) * passes(s, 1)],
    ]),
  };
}
