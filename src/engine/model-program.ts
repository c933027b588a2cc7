import { assert } from "../base/assert.ts";
import type { Isa } from "../isa/isa.ts";
import { type ActivationLayout, activationKey, paddedCols } from "../kernels/activations.ts";
import { attentionScratchBytes, ROW_BLOCK_BYTES } from "../kernels/attention.ts";
import type { AttentionSpec } from "../kernels/attention-work.ts";
import { appendScratchBytes } from "../kernels/kv-append.ts";
import { type KvLayout, kvStrides } from "../kernels/kv-cache.ts";
import { KernelRecipes } from "../kernels/recipe.ts";
import { ropeTableCols } from "../kernels/rope.ts";
import { choiceStride, EXPERT_BYTES, ROUTE_COUNTS } from "../kernels/route.ts";
import { SCORE } from "../kernels/score.ts";
import { scratchBytes } from "../kernels/weight-source.ts";
import {
  type Attention,
  type ExpertCounts,
  type FeedForward,
  type Layer,
  type Linear,
  type ModelPart,
  type ModelSpec,
  matrixCount,
  nameOf,
  type RopeConfig,
  type Routing,
  ropes,
  vectors,
} from "../models/model.ts";
import { attentionBlock, projectionParts, STEP_ROWS, stepParts } from "../plan/parts.ts";
import type { Step } from "./backend.ts";
import { Layout } from "./layout.ts";
import type { MatrixPlan } from "./matrix-plan.ts";
import type { Observer } from "./step-list.ts";
import { stepTableBytes } from "./step-table.ts";
import { StepWriter } from "./step-writer.ts";

/** Run-time sizes that the program is laid out for. */
export interface ProgramLimits {
  /** Rows of one step, at most. */
  readonly maxRows: number;
  /** Rows of one step for which logits are wanted, at most. */
  readonly maxOutputs: number;
  /** Positions of one sequence, at most. */
  readonly contextLength: number;
  /** Sequences with a KV cache at a time. */
  readonly sequences: number;
}

/** Addresses of the three memory regions. */
export interface Bases {
  readonly weights: number;
  readonly cache: number;
  readonly work: number;
}

/** What becomes of the rows of a forward pass: logits, their scores, or how they compare with a base's logits. */
export const OUTPUT_KINDS = ["logits", "scores", "comparison"] as const;
export type OutputKind = (typeof OUTPUT_KINDS)[number];

/** Byte offsets of the counters in the part `counts`, on cache lines of their own. */
export const COUNTS = { rows: 0, outputs: 64, blocks: 128, bytes: 192 } as const;

/**
 * A model, or a part of one, compiled to data: the kernels it needs, where everything lies in memory, and the table of
 * steps of a forward pass. Pure: it allocates nothing and runs nothing.
 */
export class ModelProgram<Spec extends ModelPart = ModelSpec> {
  readonly weights = new Layout();
  readonly cache = new Layout();
  readonly work = new Layout();
  readonly kernels = new KernelRecipes();
  readonly pagesPerSequence: number;
  readonly pages: number;
  /** Every distinct rotation, each with a table of its own: `ropeTable0`, … */
  readonly ropes: readonly RopeConfig[];
  /** Bytes of the step tables for all of `STEP_ROWS` and `OUTPUT_KINDS`. */
  readonly tableBytes: number;
  private readonly scratches = new Map<string, number>();

  constructor(
    readonly spec: Spec,
    readonly matrices: ReadonlyMap<string, MatrixPlan>,
    readonly kv: KvLayout,
    readonly isa: Isa,
    readonly threads: number,
    readonly limits: ProgramLimits,
  ) {
    this.pagesPerSequence = Math.ceil(limits.contextLength / kv.pageTokens);
    this.pages = limits.sequences * this.pagesPerSequence;
    this.ropes = ropes(spec);
    this.layOutWeights();
    this.layOutWork();
    const dry = { weights: 0, cache: 0, work: 0 };
    const tables = [
      ...STEP_ROWS.map((rows) => this.steps(rows, dry)),
      ...OUTPUT_KINDS.map((kind) => this.outputSteps(kind, dry)),
    ];
    this.tableBytes = tables.reduce((sum, steps) => sum + stepTableBytes(steps), 0);
  }

  /** Rows and heads that share a pass over K and V, in a step of so many rows. */
  attentionBlock(rows: number): AttentionSpec["block"] {
    return attentionBlock(this.spec.config, rows, this.threads);
  }

  attention({ scale, softcap, window, sinks }: Attention, rows: number): AttentionSpec {
    return {
      heads: this.spec.config.heads,
      kv: this.kv,
      scale: Math.fround(scale),
      ...(softcap === undefined ? {} : { softcap }),
      ...(sinks === undefined ? {} : { sinks: true }),
      // A window as long as the context is none.
      ...(window === undefined || window >= this.limits.contextLength ? {} : { window }),
      block: this.attentionBlock(rows),
    };
  }

  matrix(linear: Linear): MatrixPlan {
    const plan = this.matrices.get(nameOf(linear));
    assert(plan !== undefined, `no plan for ${nameOf(linear)}`);
    return plan;
  }

  private layOutWeights(): void {
    for (const [name, plan] of this.matrices) {
      this.weights.add(name, matrixCount(plan.linear) * plan.packing.totalBytes);
      if (plan.order !== undefined) this.weights.add(orderOf(name), 4 * paddedCols(plan.order.length));
    }
    for (const vector of vectors(this.spec))
      this.weights.add(nameOf(vector), 4 * paddedCols(vector.length) * (vector.count ?? 1));
    const page = kvStrides(this.kv).page;
    this.spec.layers.forEach((_, n) => this.cache.add(`layer${n}`, this.pages * page));
  }

  /** Parts that steps are split into. */
  get parts(): number {
    return stepParts(this.threads);
  }

  /** Parts of a projection in a step of so many rows. */
  projectionParts(linear: Linear, rows: number): number {
    return projectionParts(this.matrix(linear).packing, rows, this.threads, linear.experts);
  }

  /** Bytes of scratch of a projection, all parts. */
  scratchOf(linear: Linear): number {
    let bytes = this.scratches.get(nameOf(linear));
    if (bytes === undefined) {
      const { packing, blocking } = this.matrix(linear);
      const { format, cols } = packing;
      const parts = this.projectionParts(linear, this.limits.maxRows);
      bytes = parts * scratchBytes({ format, cols, blocking }, this.isa);
      this.scratches.set(nameOf(linear), bytes);
    }
    return bytes;
  }

  /** Scratch of the projections that run at the same time, as there is no barrier between them. */
  private get scratch(): number {
    const { embedding, layers, output } = this.spec;
    const together = layers.flatMap(({ attention: { q, k, v, o }, feedForward }) => {
      const { gate, up, down, routing } = feedForward;
      const routed = routing === undefined ? [] : [[routing.router], ...sharedGroups(routing)];
      return [[q, k, v], [o], gate === undefined ? [up] : [gate, up], [down], ...routed];
    });
    const alone = [embedding?.projection, output?.projection, output?.head].filter(
      (linear) => linear !== undefined,
    );
    const bytes = (group: readonly Linear[]) =>
      group.reduce((sum, linear) => sum + this.scratchOf(linear), 0);
    return Math.max(0, ...[...together, ...alone.map((linear) => [linear])].map(bytes));
  }

  private layOutWork(): void {
    const { config, embedding, output } = this.spec;
    const { work, limits } = this;
    work.add("counts", COUNTS.bytes);
    for (const list of ["tokens", "positions", "pageOf", "tableOf"]) work.add(list, 4 * limits.maxRows);
    work.add("blocks", ROW_BLOCK_BYTES * limits.maxRows);
    for (const list of ["outputList", "targets"]) work.add(list, 4 * limits.maxOutputs);
    work.add("scores", 4 * SCORE.values * limits.maxOutputs);
    work.add("tables", 4 * this.pages);
    this.ropes.forEach(({ rotated }, i) =>
      work.add(`ropeTable${i}`, 4 * limits.maxRows * ropeTableCols(rotated)),
    );
    const row = (name: string, cols: number) => work.add(name, 4 * limits.maxRows * paddedCols(cols));
    if (embedding?.projection !== undefined) row("embedded", embedding.table.cols);
    row("x", config.hiddenSize);
    row("h", config.hiddenSize);
    if (this.spec.layers.some(hasSecondNorm)) row("h2", config.hiddenSize);
    if (this.spec.layers.some(hasOutputNorm)) row("added", config.hiddenSize);
    row("q", config.heads * config.headDim);
    row("k", config.kvHeads * config.headDim);
    row("v", config.kvHeads * config.headDim);
    row("mixed", config.heads * config.headDim);
    for (const { feedForward } of this.spec.layers) this.layOutFeedForward(feedForward);
    work.add("kvScratch", limits.maxRows * config.kvHeads * appendScratchBytes(this.kv));
    const scratch = this.spec.layers.flatMap(({ attention }) =>
      STEP_ROWS.map((rows) => attentionScratchBytes(this.attention(attention, rows))),
    );
    work.add("attentionScratch", this.parts * Math.max(0, ...scratch));
    work.add("scratch", this.scratch);
    if (output?.projection !== undefined) row("projected", output.projection.rows);
    if (output !== undefined) work.add("logits", 4 * limits.maxOutputs * paddedCols(output.head.rows));
  }

  /** What lies between the matrices of a feed-forward block. Padding must stay zero: every width has its own rows. */
  private layOutFeedForward({ gate, up, down, routing }: FeedForward): void {
    const { work } = this;
    const { maxRows } = this.limits;
    const slots = slotsOf(routing, maxRows);
    const rows = (name: string, count: number, cols: number) => work.add(name, 4 * count * paddedCols(cols));
    if (gate !== undefined) rows(innerRows("gate", up), slots, up.rows);
    rows(innerRows("up", up), slots, up.rows);
    if (routing === undefined) return;
    const { count, used, shared } = routing;
    rows("routerScores", maxRows, count);
    for (const list of ["slots", "slotWeights"]) work.add(list, choiceStride(used) * maxRows);
    work.add("slotTokens", 4 * slots);
    work.add("slotExperts", EXPERT_BYTES * count);
    work.add("nextSlots", 4 * count);
    work.add("slotCounts", ROUTE_COUNTS.bytes);
    rows("slotOutputs", slots, down.rows);
    if (shared === undefined) return;
    for (const part of ["gate", "up"] as const) rows(innerRows(part, shared.up), maxRows, shared.up.rows);
    rows("shared", maxRows, shared.down.rows);
    rows("amounts", maxRows, shared.amount.rows);
  }

  /**
   * The step table of a forward pass of so many rows, and of all others of their `stepClass`; `observe` adds steps before
   * projections.
   */
  steps(rows: number, bases: Bases, observe?: Observer): Step[] {
    return new StepWriter(this, rows, bases, observe).forward();
  }

  /** The step table that goes on from the rows of a forward pass to their logits, and to what is wanted of them. */
  outputSteps(kind: OutputKind, bases: Bases): Step[] {
    return new StepWriter(this, this.limits.maxOutputs, bases).scores(kind);
  }

  /** Rows that are compared at a time: the base's logits lie behind their own. */
  get comparedRows(): number {
    return Math.floor(this.limits.maxOutputs / 2);
  }

  /** Where the logits of an output row lie in the work region. */
  logitsAt(row: number): number {
    const { output } = this.spec;
    assert(output !== undefined, "a part of a model without an output");
    return this.work.offset("logits") + 4 * row * paddedCols(output.head.rows);
  }

  /**
   * Where prepared activations of this layout go: rows, or their slots. Several variants differ in the order of the
   * inputs.
   */
  prepared(layout: ActivationLayout, variant: number, routing?: ExpertCounts): string {
    const name = `prepared_${activationKey(layout)}_${variant}${routing === undefined ? "" : "_slots"}`;
    this.work.add(name, slotsOf(routing, this.limits.maxRows) * layout.rowBytes);
    return name;
  }
}

/** Name of the list of a matrix's order among the weights. */
export function orderOf(name: string): string {
  return `${name} order`;
}

/** Whether the two blocks of a layer norm the same input, each its own way. */
function hasSecondNorm({ parallel, feedForward }: Layer): boolean {
  return parallel === true && feedForward.inputNorm !== undefined;
}

/** Name of the rows that the gate or the other matrix of a feed-forward block gives, or those of its experts. */
export function innerRows(part: "gate" | "up", { rows, experts }: Linear): string {
  return `${part} ${rows}${experts === undefined ? "" : " of experts"}`;
}

/** Slots of so many rows; without routing, the rows themselves. */
export function slotsOf(routing: ExpertCounts | undefined, rows: number): number {
  return rows * (routing?.used ?? 1);
}

/** Matrices of a shared expert that have an input in common. */
function sharedGroups({ shared }: Routing): Linear[][] {
  return shared === undefined ? [] : [[shared.gate, shared.up, shared.amount], [shared.down]];
}

function hasOutputNorm({ attention, feedForward }: Layer): boolean {
  return attention.outputNorm !== undefined || feedForward.outputNorm !== undefined;
}
