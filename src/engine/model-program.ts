import { assert } from "../base/assert.ts";
import type { Isa } from "../isa/isa.ts";
import {
  type ActivationLayout,
  activationKey,
  activationLayout,
  paddedCols,
} from "../kernels/activations.ts";
import { attention, attentionName, attentionScratchBytes, ROW_BLOCK_BYTES } from "../kernels/attention.ts";
import type { AttentionSpec } from "../kernels/attention-work.ts";
import { embed, embedName } from "../kernels/embed.ts";
import { appendScratchBytes } from "../kernels/kv-append.ts";
import { type KvLayout, kvStrides } from "../kernels/kv-cache.ts";
import { prepare, prepareName } from "../kernels/prepare.ts";
import { type ProjectionSpec, projection, projectionName } from "../kernels/projection.ts";
import { KernelRecipes } from "../kernels/recipe.ts";
import { rmsNorm, rmsNormName } from "../kernels/rmsnorm.ts";
import { type RopeSpec, rope, ropeName, ropeTableCols } from "../kernels/rope.ts";
import { swiglu, swigluName } from "../kernels/swiglu.ts";
import { scratchBytes } from "../kernels/weight-source.ts";
import { type Linear, type ModelSpec, vectors } from "../models/model.ts";
import { attentionBlock, projectionParts, rowParts, STEP_ROWS, stepParts } from "../plan/parts.ts";
import type { Step } from "./backend.ts";
import { Layout } from "./layout.ts";
import type { MatrixPlan } from "./matrix-plan.ts";
import { stepTableBytes } from "./step-table.ts";

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

/** Byte offsets of the counters in the part `counts`, on cache lines of their own. */
export const COUNTS = { rows: 0, outputs: 64, blocks: 128, bytes: 192 } as const;

/**
 * A model compiled to data: the kernels it needs, where everything lies in memory, and the table of steps of a forward
 * pass. Pure: it allocates nothing and runs nothing.
 */
export class ModelProgram {
  readonly weights = new Layout();
  readonly cache = new Layout();
  readonly work = new Layout();
  readonly kernels = new KernelRecipes();
  readonly pagesPerSequence: number;
  readonly pages: number;
  readonly rope: RopeSpec;
  /** Bytes of the step tables for all of `STEP_ROWS`. */
  readonly tableBytes: number;
  private readonly scratches = new Map<string, number>();

  constructor(
    readonly spec: ModelSpec,
    readonly matrices: ReadonlyMap<string, MatrixPlan>,
    readonly kv: KvLayout,
    readonly isa: Isa,
    readonly threads: number,
    readonly limits: ProgramLimits,
  ) {
    const { config } = spec;
    this.pagesPerSequence = Math.ceil(limits.contextLength / kv.pageTokens);
    this.pages = limits.sequences * this.pagesPerSequence;
    this.rope = { heads: config.heads, kv, rotated: config.rope.rotated, pairing: config.rope.pairing };
    this.layOutWeights();
    this.layOutWork();
    const dry = { weights: 0, cache: 0, work: 0 };
    this.tableBytes = STEP_ROWS.reduce((sum, rows) => sum + stepTableBytes(this.steps(rows, dry)), 0);
  }

  /** The attention of a step of so many rows. */
  attention(rows: number): AttentionSpec {
    const { config } = this.spec;
    return {
      heads: config.heads,
      kv: this.kv,
      scale: Math.fround(1 / Math.sqrt(config.headDim)),
      block: attentionBlock(config, rows, this.threads),
    };
  }

  matrix(linear: Linear): MatrixPlan {
    const plan = this.matrices.get(linear.tensor);
    assert(plan !== undefined, `no plan for ${linear.tensor}`);
    return plan;
  }

  private layOutWeights(): void {
    const { config, layers } = this.spec;
    for (const [tensor, plan] of this.matrices) {
      this.weights.add(tensor, plan.packing.totalBytes);
      if (plan.order !== undefined) this.weights.add(orderOf(tensor), 4 * paddedCols(plan.order.length));
    }
    for (const norm of vectors(this.spec)) this.weights.add(norm, 4 * paddedCols(config.hiddenSize));
    const page = kvStrides(this.kv).page;
    layers.forEach((_, n) => this.cache.add(`layer${n}`, this.pages * page));
  }

  /** Parts that steps are split into. */
  get parts(): number {
    return stepParts(this.threads);
  }

  /** Bytes of scratch of a projection, all parts. */
  scratchOf(linear: Linear): number {
    let bytes = this.scratches.get(linear.tensor);
    if (bytes === undefined) {
      const { packing, blocking } = this.matrix(linear);
      const { format, cols } = packing;
      const parts = projectionParts(packing, this.limits.maxRows, this.threads);
      bytes = parts * scratchBytes({ format, cols, blocking }, this.isa);
      this.scratches.set(linear.tensor, bytes);
    }
    return bytes;
  }

  /** Scratch of the projections that run at the same time, as there is no barrier between them. */
  private get scratch(): number {
    const { layers, output } = this.spec;
    const together = layers.flatMap(({ q, k, v, o, gate, up, down }) => [[q, k, v], [o], [gate, up], [down]]);
    const bytes = (group: readonly Linear[]) =>
      group.reduce((sum, linear) => sum + this.scratchOf(linear), 0);
    return Math.max(...[...together, [output]].map(bytes));
  }

  private layOutWork(): void {
    const { config, output } = this.spec;
    const { work, limits } = this;
    work.add("counts", COUNTS.bytes);
    for (const list of ["tokens", "positions", "pageOf", "tableOf"]) work.add(list, 4 * limits.maxRows);
    work.add("blocks", ROW_BLOCK_BYTES * limits.maxRows);
    work.add("outputList", 4 * limits.maxOutputs);
    work.add("tables", 4 * this.pages);
    work.add("ropeTable", 4 * limits.maxRows * ropeTableCols(config.rope.rotated));
    const row = (name: string, cols: number) => work.add(name, 4 * limits.maxRows * paddedCols(cols));
    row("x", config.hiddenSize);
    row("h", config.hiddenSize);
    row("q", config.heads * config.headDim);
    row("k", config.kvHeads * config.headDim);
    row("v", config.kvHeads * config.headDim);
    row("mixed", config.heads * config.headDim);
    row("gate", config.intermediateSize);
    row("up", config.intermediateSize);
    work.add("kvScratch", limits.maxRows * config.kvHeads * appendScratchBytes(this.kv));
    const scratch = STEP_ROWS.map((rows) => attentionScratchBytes(this.attention(rows)));
    work.add("attentionScratch", this.parts * Math.max(...scratch));
    work.add("scratch", this.scratch);
    work.add("logits", 4 * limits.maxOutputs * paddedCols(output.rows));
  }

  /** The step table of a forward pass of so many rows, and of all others of their `stepClass`. */
  steps(rows: number, bases: Bases): Step[] {
    return new StepWriter(this, rows, bases).forward();
  }

  /** Where prepared activations of this layout go; several variants differ in the order of the inputs. */
  prepared(layout: ActivationLayout, variant: number): string {
    const name = `prepared_${activationKey(layout)}_${variant}`;
    this.work.add(name, this.limits.maxRows * layout.rowBytes);
    return name;
  }
}

/** Name of the list of a matrix's order among the weights. */
export function orderOf(tensor: string): string {
  return `${tensor} order`;
}

function equalOrders(a: Uint32Array | undefined, b: Uint32Array | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return a.length === b.length && a.every((input, i) => input === b[i]);
}

/** Prepared activations: their layout, the matrix in whose order they are, and the buffer that they are in. */
interface PreparedInput {
  readonly layout: ActivationLayout;
  readonly order: string | undefined;
  readonly to: string;
}

/** Writes the steps of one forward pass: the blocks of the model in order, as kernels on named buffers. */
class StepWriter {
  private readonly out: Step[] = [];

  constructor(
    private readonly program: ModelProgram,
    private readonly rows: number,
    private readonly bases: Bases,
  ) {}

  forward(): Step[] {
    const { spec, isa, kernels } = this.program;
    const table = this.program.matrix(spec.embedding).packing;
    const { format, cols, tileRows } = table;
    const name = kernels.add(embedName(table), { format, cols, tileRows }, () => embed(table, isa));
    this.add(name, [
      this.weight(spec.embedding.tensor),
      this.work("tokens"),
      this.work("x"),
      this.count("rows"),
    ]);
    spec.layers.forEach((layer, n) => {
      this.norm(layer.attentionNorm, false);
      this.project("h", [
        [layer.q, "q", false],
        [layer.k, "k", false],
        [layer.v, "v", false],
      ]);
      this.attend(n);
      this.project("mixed", [[layer.o, "x", true]]);
      this.norm(layer.feedForwardNorm, false);
      this.project("h", [
        [layer.gate, "gate", false],
        [layer.up, "up", false],
      ]);
      const { rows: gated } = layer.gate;
      const act = kernels.add(swigluName(gated), gated, () => swiglu(gated, isa));
      this.add(act, [this.work("gate"), this.work("up"), this.count("rows")]);
      this.project("gate", [[layer.down, "x", true]]);
    });
    this.norm(spec.outputNorm, true);
    this.project("h", [[spec.output, "logits", false]], "outputs");
    return this.out;
  }

  private add(kernel: string, args: number[], barrier = true, parts = this.rowParts): void {
    this.out.push({ kernel, arguments: args, barrier, parts });
  }

  private get rowParts(): number {
    return rowParts(this.rows, this.program.threads);
  }

  private work(name: string): number {
    return this.bases.work + this.program.work.offset(name);
  }

  private weight(tensor: string): number {
    return this.bases.weights + this.program.weights.offset(tensor);
  }

  private count(of: "rows" | "outputs" | "blocks"): number {
    return this.work("counts") + COUNTS[of];
  }

  /** x → h; with `gather` only the rows whose output is wanted. */
  private norm(weight: string, gather: boolean): void {
    const { config } = this.program.spec;
    const spec = { cols: config.hiddenSize, epsilon: config.normEpsilon, gather };
    const name = this.program.kernels.add(rmsNormName(spec), spec, () => rmsNorm(spec, this.program.isa));
    const list = gather ? [this.work("outputList")] : [];
    const counts = this.count(gather ? "outputs" : "rows");
    this.add(name, [this.work("x"), this.weight(weight), this.work("h"), counts, ...list]);
  }

  /** Projections of one input: prepares the activations once per layout they need, then multiplies. */
  private project(
    input: string,
    targets: readonly (readonly [Linear, string, boolean])[],
    rows: "rows" | "outputs" = "rows",
  ): void {
    const { isa } = this.program;
    const inputs = this.inputsOf(targets.map(([linear]) => linear));
    const distinct = [...new Set(inputs)];
    distinct.forEach(({ layout, order, to }, i) => {
      const ordered = order !== undefined;
      const name = this.program.kernels.add(prepareName(layout, ordered), { layout, ordered }, () =>
        prepare(layout, isa, ordered),
      );
      const list = ordered ? [this.weight(orderOf(order))] : [];
      this.add(name, [this.work(input), this.work(to), this.count(rows), ...list], i === distinct.length - 1);
    });
    let scratch = this.work("scratch");
    targets.forEach(([linear, output, accumulate], i) => {
      const plan = this.program.matrix(linear);
      const spec: ProjectionSpec = {
        format: plan.packing.format,
        cols: linear.cols,
        activations: plan.activations,
        blocking: plan.blocking,
        accumulate,
      };
      const name = this.program.kernels.add(projectionName(spec), spec, () => projection(spec, isa));
      const stride = 4 * paddedCols(linear.rows);
      this.add(
        name,
        [
          this.weight(linear.tensor),
          this.work((inputs[i] as PreparedInput).to),
          this.work(output),
          stride,
          plan.packing.tiles,
          this.count(rows),
          ...(plan.blocking.expand ? [scratch] : []),
        ],
        i === targets.length - 1,
        projectionParts(plan.packing, this.rows, this.program.threads),
      );
      scratch += this.program.scratchOf(linear);
    });
  }

  /** What each matrix of one input reads; the same object for those that read the same. */
  private inputsOf(linears: readonly Linear[]): PreparedInput[] {
    const found: { readonly input: PreparedInput; readonly order: Uint32Array | undefined }[] = [];
    return linears.map((linear) => {
      const { activations, packing, order } = this.program.matrix(linear);
      const layout = activationLayout(activations, packing.format, linear.cols);
      const alike = found.filter(({ input }) => activationKey(input.layout) === activationKey(layout));
      const same = alike.find((one) => equalOrders(one.order, order));
      if (same !== undefined) return same.input;
      const to = this.program.prepared(layout, alike.length);
      const input = { layout, order: order && linear.tensor, to };
      found.push({ input, order });
      return input;
    });
  }

  /** q, k, v → mixed: rotation, cache, attention. */
  private attend(layer: number): void {
    const { program } = this;
    const cache = this.bases.cache + program.cache.offset(`layer${layer}`);
    const rotate = program.kernels.add(ropeName(program.rope), program.rope, () =>
      rope(program.rope, program.isa),
    );
    this.add(rotate, [
      this.work("q"),
      this.work("k"),
      this.work("v"),
      cache,
      this.work("ropeTable"),
      this.work("positions"),
      this.work("pageOf"),
      this.work("kvScratch"),
      this.count("rows"),
    ]);
    const spec = program.attention(this.rows);
    const attend = program.kernels.add(attentionName(spec), spec, () => attention(spec, program.isa));
    const attendArguments = [
      this.work("q"),
      this.work("mixed"),
      cache,
      this.work("positions"),
      this.work("tables"),
      this.work("tableOf"),
      this.work("blocks"),
      this.work("attentionScratch"),
      this.count("blocks"),
    ];
    this.add(attend, attendArguments, true, this.program.parts);
  }
}
