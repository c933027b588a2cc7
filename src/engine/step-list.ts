import { ROUTE_COUNTS } from "../kernels/route.ts";
import { type Linear, type ModelPart, nameOf, type Routing, type Vector } from "../models/model.ts";
import { rowParts } from "../plan/parts.ts";
import type { Step } from "./backend.ts";
import { type Bases, COUNTS, type ModelProgram, slotsOf } from "./model-program.ts";

/** What there is a number of in memory: rows of the step, those whose output is wanted, slots of a mixture. */
export type Counted = "rows" | "outputs" | "slots";

/** Steps that look at the inputs of matrices: f32 rows at an address, as many as the counter at another one says. */
export type Observer = (linears: readonly Linear[], input: number, counts: number) => readonly Step[];

/** The steps of a forward pass so far, and where in memory everything is that they take. */
export class StepList {
  readonly steps: Step[] = [];

  constructor(
    readonly program: ModelProgram<ModelPart>,
    readonly rows: number,
    private readonly bases: Bases,
    readonly observe?: Observer,
  ) {}

  /** Adds a step. */
  add(kernel: string, args: number[], barrier = true, parts = this.rowParts()): void {
    this.steps.push({ kernel, arguments: args, barrier, parts });
  }

  /** Parts of what is done row by row, or slot by slot. */
  rowParts(routing?: Routing): number {
    return rowParts(slotsOf(routing, this.rows), this.program.threads);
  }

  /** Address of a part of the working memory. */
  work(name: string): number {
    return this.bases.work + this.program.work.offset(name);
  }

  /** Address of packed weights. */
  weight(part: Linear | Vector): number {
    return this.offsetOf(nameOf(part));
  }

  /** Address of a part of the weights by its name. */
  offsetOf(weights: string): number {
    return this.bases.weights + this.program.weights.offset(weights);
  }

  /** Address of the logits of one of the rows whose output is wanted. */
  logits(row: number): number {
    return this.bases.work + this.program.logitsAt(row);
  }

  /** Address of a number of things. */
  count(of: Counted | "blocks" | "experts"): number {
    if (of === "slots" || of === "experts") return this.work("slotCounts") + ROUTE_COUNTS[of];
    return this.work("counts") + COUNTS[of];
  }

  /** Address of the keys and values of a layer. */
  cache(layer: number): number {
    return this.bases.cache + this.program.cache.offset(`layer${layer}`);
  }
}
