import {
  type ActivationLayout,
  activationKey,
  activationLayout,
  paddedCols,
} from "../kernels/activations.ts";
import { prepare, prepareName } from "../kernels/prepare.ts";
import { type ProjectionSpec, projection, projectionName } from "../kernels/projection.ts";
import { type Linear, nameOf, type Routing } from "../models/model.ts";
import { orderOf } from "./model-program.ts";
import type { Counted, StepList } from "./step-list.ts";

/** A projection into a buffer; `accumulate` adds to what is there. */
interface Target {
  readonly linear: Linear;
  readonly to: string;
  readonly accumulate?: boolean;
}

/** Prepared activations: their layout, the matrix in whose order they are, and the buffer that they are in. */
interface PreparedInput {
  readonly layout: ActivationLayout;
  readonly order: string | undefined;
  readonly to: string;
}

/** Projections of one input: prepares the activations once per layout they need, then multiplies. */
export function writeProjections(
  list: StepList,
  input: string,
  targets: readonly Target[],
  rows: Counted = "rows",
  routing?: Routing,
): void {
  const linears = targets.map(({ linear }) => linear);
  list.steps.push(...(list.observe?.(linears, list.work(input), list.count(rows)) ?? []));
  const inputs = inputsOf(list, linears, routing);
  writePrepare(list, input, [...new Set(inputs)], rows, list.rowParts(routing));
  let scratch = list.work("scratch");
  targets.forEach((target, i) => {
    const prepared = (inputs[i] as PreparedInput).to;
    writeProduct(list, target, prepared, rows, scratch, i === targets.length - 1);
    scratch += list.program.scratchOf(target.linear);
  });
}

/** What each matrix of one input reads; the same object for those that read the same. */
function inputsOf(
  { program }: StepList,
  linears: readonly Linear[],
  routing: Routing | undefined,
): PreparedInput[] {
  const found: { readonly input: PreparedInput; readonly order: Uint32Array | undefined }[] = [];
  return linears.map((linear) => {
    const { activations, packing, order } = program.matrix(linear);
    const layout = activationLayout(activations, packing.format, linear.cols, program.isa);
    const alike = found.filter(({ input }) => activationKey(input.layout) === activationKey(layout));
    const same = alike.find((one) => equalOrders(one.order, order));
    if (same !== undefined) return same.input;
    const to = program.prepared(layout, alike.length, routing);
    const input = { layout, order: order && nameOf(linear), to };
    found.push({ input, order });
    return input;
  });
}

function equalOrders(a: Uint32Array | undefined, b: Uint32Array | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return a.length === b.length && a.every((input, i) => input === b[i]);
}

function writePrepare(
  list: StepList,
  input: string,
  distinct: readonly PreparedInput[],
  rows: Counted,
  parts: number,
): void {
  const { isa, kernels } = list.program;
  distinct.forEach(({ layout, order, to }, i) => {
    const ordered = order !== undefined;
    const name = kernels.add(prepareName(layout, ordered), { layout, ordered }, () =>
      prepare(layout, isa, ordered),
    );
    const orders = ordered ? [list.offsetOf(orderOf(order))] : [];
    const args = [list.work(input), list.work(to), list.count(rows), ...orders];
    // Tables take so long that a single row is shared, too.
    const least = layout.signs === undefined ? 1 : list.program.threads;
    list.add(name, args, i === distinct.length - 1, Math.max(parts, least));
  });
}

function writeProduct(
  list: StepList,
  { linear, to, accumulate = false }: Target,
  prepared: string,
  rows: Counted,
  scratch: number,
  barrier: boolean,
): void {
  const { isa, kernels } = list.program;
  const { packing, activations, blocking } = list.program.matrix(linear);
  const { bias, cols } = linear;
  const experts = linear.experts && (rows === "slots" ? "of slots" : "of tokens");
  const spec: ProjectionSpec = {
    format: packing.format,
    cols,
    activations,
    blocking,
    ...(bias === undefined ? {} : { bias: true }),
    ...(experts === undefined ? {} : { experts }),
  };
  const name = kernels.add(projectionName(spec), spec, () => projection(spec, isa));
  list.add(
    name,
    [
      list.weight(linear),
      list.work(prepared),
      list.work(to),
      4 * paddedCols(linear.rows),
      packing.tiles,
      list.count(experts === undefined ? rows : "experts"),
      blocking.tb / blocking.tu,
      accumulate ? 1 : 0,
      ...(blocking.expand ? [scratch] : []),
      ...(bias === undefined ? [] : [list.weight(bias)]),
      ...(experts === undefined ? [] : [list.work("slotExperts")]),
      ...(experts === "of tokens" ? [list.work("slotTokens")] : []),
    ],
    barrier,
    list.program.projectionParts(linear, list.rows),
  );
}
