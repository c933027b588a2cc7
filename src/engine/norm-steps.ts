import { headNorm, headNormName } from "../kernels/head-norm.ts";
import { type NormSpec, norm, normName } from "../kernels/norm.ts";
import type { Norm } from "../models/model.ts";
import type { StepList } from "./step-list.ts";

/** How a norm is applied. */
interface NormUse {
  readonly from?: string;
  readonly to: string;
  readonly accumulate?: boolean;
  /** Only the rows whose output is wanted. */
  readonly gather?: boolean;
  readonly barrier?: boolean;
}

export function writeNorm(list: StepList, { kind, weight, bias, epsilon }: Norm, use: NormUse): void {
  const { from = "x", to, accumulate = false, gather = false, barrier = true } = use;
  const { isa, kernels } = list.program;
  const spec: NormSpec = {
    kind,
    cols: weight.length,
    epsilon,
    gather,
    bias: bias !== undefined,
    accumulate,
  };
  const name = kernels.add(normName(spec), spec, () => norm(spec, isa));
  const args = [list.work(from), list.weight(weight), list.work(to), list.count(gather ? "outputs" : "rows")];
  if (gather) args.push(list.work("outputList"));
  if (bias !== undefined) args.push(list.weight(bias));
  list.add(name, args, barrier);
}

/** The norm of every head of the rows in a buffer. */
export function writeHeadNorm(
  list: StepList,
  { kind, weight, epsilon }: Norm,
  rows: string,
  heads: number,
  barrier: boolean,
): void {
  const { isa, kernels, spec: model } = list.program;
  const { headDim } = model.config;
  const spec = { kind, heads, headDim, epsilon, ownWeights: weight.length > headDim };
  const name = kernels.add(headNormName(spec), spec, () => headNorm(spec, isa));
  list.add(name, [list.work(rows), list.weight(weight), list.count("rows")], barrier);
}
