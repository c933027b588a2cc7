import { assert } from "../base/assert.ts";
import { KernelBuilder } from "../ir/builder.ts";
import type { Kernel, Statement, Target, Value } from "../ir/types.ts";
import { CHUNK, type Format, groupSize } from "../quant/formats.ts";
import { type Packing, packing } from "../quant/packing.ts";
import { type Activations, activationLayout } from "./activations.ts";
import { floatInputs } from "./float-inputs.ts";
import { type InputBlock, quantizedInputs } from "./groups.ts";
import { splitWork } from "./work.ts";

/**
 * The blocking of one projection, in the paper's terms. The mini-GEMV is `mb` inputs × `tb` outputs, the micro-GEMV
 * inside it `mu` inputs × `tu` outputs × `nu` tokens, held in registers.
 */
export interface Blocking {
  /** Inputs of the mini-GEMV: a multiple of the group, or all of them. */
  readonly mb: number;
  /** Outputs of the mini-GEMV: a multiple of `tu`. */
  readonly tb: number;
  /** Inputs unrolled in the micro-GEMV: a multiple of CHUNK. */
  readonly mu: number;
  /** Outputs of the micro-GEMV: row vectors × lanes, the row tile of the packed weights. */
  readonly tu: number;
  /** Tokens of the micro-GEMV; what is left of the tokens goes to smaller ones (`tokenSteps`). */
  readonly nu: number;
}

/** Tokens of the micro-GEMVs that do the rest, largest first: each costs less than one that is padded. */
const REST = [4, 3, 2, 1];

/** The micro-GEMVs of a kernel by their tokens, `nu` first. */
function tokenSizes(nu: number): number[] {
  return [nu, ...REST.filter((size) => size < nu)];
}

/** How a kernel goes through `tokens` tokens: so many steps of each size. */
export function tokenSteps(nu: number, tokens: number): { readonly size: number; readonly count: number }[] {
  let left = tokens;
  const steps = tokenSizes(nu).map((size) => {
    const count = Math.floor(left / size);
    left -= count * size;
    return { size, count };
  });
  return steps.filter(({ count }) => count > 0);
}

/** What a projection kernel is generated for. `rows` and the number of tokens are run-time values. */
export interface ProjectionSpec {
  readonly format: Format;
  readonly cols: number;
  readonly activations: Activations;
  readonly blocking: Blocking;
  /** Adds to the output (a residual connection) instead of replacing it. */
  readonly accumulate: boolean;
}

/** Name of the generated function; equal specs have equal names. */
export function projectionName({
  format,
  cols,
  activations,
  blocking: p,
  accumulate,
}: ProjectionSpec): string {
  const x = activations.kind === "f32" ? "f32" : `i8b${activations.block}`;
  const name = format.name.toLowerCase().replaceAll("-", "_");
  return `project_${accumulate ? "add_" : ""}w_${name}_x_${x}_c${cols}_mb${p.mb}_tb${p.tb}_mu${p.mu}_tu${p.tu}_nu${p.nu}`;
}

/**
 * y[t][r] = Σ_k W[r][k] · x[t][k]  for tokens t and rows r; rows sit in lanes, weights are read once in packed order.
 */
export function projection(spec: ProjectionSpec, target: Target): Kernel {
  const { blocking } = spec;
  assert(blocking.tu % target.lanes === 0, "tu is not a multiple of the lanes");
  const b = new KernelBuilder(target);
  const weights = b.parameter("weights", "ptr", "packed weights");
  const x = b.parameter("x", "ptr", "prepared activations, one row per token");
  const y = b.parameter("y", "ptr", "f32 outputs [token][row]");
  const yStride = b.parameter("y_stride", "i32", "bytes from one token's outputs to the next");
  const tiles = b.parameter("tiles", "i32", "row tiles");
  const counts = b.parameter("counts", "ptr", "i32: number of tokens");
  const tokens = b.named("tokens", b.op.iload(counts, { offset: 0 }));
  splitWork(b, tiles, (first, last) => {
    const tile = { weights, x, y, yStride };
    rowBlocks(b, blocking, first, last, (from, to) => {
      inputBlocks(b, spec, (inputs) => {
        tokenBlocks(b, blocking.nu, tokens, (token, nu) => {
          b.loop("tile", from, to, 1, (index) => {
            microGemv(b, spec, { ...tile, token, index }, nu, inputs);
          });
        });
      });
    });
  });
  return b.build(projectionName(spec), header(spec, target));
}

/** One micro-GEMV of the kernel, `nu` tokens and all inputs, on its own: for who wants to know what it takes. */
export function microGemvAlone(spec: ProjectionSpec, target: Target): readonly Statement[] {
  const b = new KernelBuilder(target);
  const pointer = (name: string) => b.parameter(name, "ptr", name);
  const integer = (name: string) => b.parameter(name, "i32", name);
  const at = {
    weights: pointer("weights"),
    x: pointer("x"),
    y: pointer("y"),
    yStride: integer("y_stride"),
    token: integer("token"),
    index: integer("tile"),
  };
  microGemv(b, spec, at, spec.blocking.nu, allInputs(b, spec));
  return b.build("micro_gemv", []).body;
}

/** The packed layout as far as the kernel knows it: the rows are a run-time value. */
function packingOf({ format, cols, blocking }: ProjectionSpec, target: Target): Packing {
  return packing(format, blocking.tu, cols, blocking.tu / target.lanes, target);
}

function header(spec: ProjectionSpec, target: Target): string[] {
  const { format, cols, activations, blocking, accumulate } = spec;
  const pack = packingOf(spec, target);
  const zero =
    format.kind === "float"
      ? ""
      : { constant: "s·(q − z)", code: "s·(q − z)", minimum: "s·q + m" }[format.zero.kind];
  const weight = format.kind === "float" ? "W" : `(${zero})`;
  return [
    `y[t][r] ${accumulate ? "+=" : "="} sum over ${cols} inputs k of ${weight}[r][k] * x[t][k]`,
    `weights  ${format.name}${format.kind === "quantized" ? `, group ${format.group}` : ""}, packed: ${pack.tileRows} rows a tile, ${pack.tileBytes} bytes`,
    `inputs   ${activations.kind === "f32" ? "f32" : `int8, one scale per ${activations.block} inputs`}`,
    `mini     mb ${blocking.mb} inputs x tb ${blocking.tb} outputs`,
    `micro    mu ${blocking.mu} inputs x tu ${blocking.tu} outputs x nu ${tokenSizes(blocking.nu).join(", ")} tokens, ${target.lanes} rows a register (${target.name})`,
  ];
}

/** Row tiles in blocks of `tb` outputs: the weights of a block stay in cache while the tokens pass. */
function rowBlocks(
  b: KernelBuilder,
  { tb, tu }: Blocking,
  first: Value<"i32">,
  last: Value<"i32">,
  body: (from: Value<"i32">, to: Value<"i32">) => void,
): void {
  b.loop("row_block", first, last, tb / tu, (from) => {
    const to = b.named("block_end", b.op.imin(b.op.iadd(from, b.i(tb / tu)), last));
    body(from, to);
  });
}

/** The inputs in blocks of `mb`; the ragged group at the end of a row belongs to the last block. */
function inputBlocks(b: KernelBuilder, spec: ProjectionSpec, body: (block: InputBlock) => void): void {
  const { format, cols, blocking } = spec;
  if (blocking.mb >= cols || format.kind === "float") {
    body(allInputs(b, spec));
    return;
  }
  const group = groupSize(format, cols);
  const groups = Math.floor(cols / group);
  const step = blocking.mb / group;
  assert(Number.isInteger(step), "mb is not a multiple of the group");
  // Where whole groups fill the blocks, the ragged group has a block of its own.
  const bound = cols % group === 0 ? groups : groups + 1;
  b.loop("input_block", 0, bound, step, (start) => {
    const next = b.named("next_block", b.op.iadd(start, b.i(step)));
    const end = b.named("groups_end", b.op.imin(next, b.i(groups)));
    body({ start, end, hasRagged: b.op.ilt(b.i(groups), next), isFirst: b.op.ieq(start, b.i(0)) });
  });
}

function allInputs(b: KernelBuilder, { format, cols }: ProjectionSpec): InputBlock {
  const groups = format.kind === "float" ? 1 : Math.floor(cols / groupSize(format, cols));
  return { start: b.i(0), end: b.i(groups), hasRagged: true, isFirst: true };
}

/** The tokens `nu` at a time, then the rest by smaller sizes: what `tokenSteps` counts. */
function tokenBlocks(
  b: KernelBuilder,
  nu: number,
  tokens: Value<"i32">,
  body: (token: Value<"i32">, size: number) => void,
): void {
  let start = b.i(0);
  for (const size of tokenSizes(nu)) {
    const left = b.op.irem(b.op.isub(tokens, start), b.i(size));
    const end = size === 1 ? tokens : b.named(`by_${size}`, b.op.isub(tokens, left));
    b.loop("token", start, end, size, (token) => body(token, size));
    start = end;
  }
}

/** Operands of the kernel, and the token and row tile that a micro-GEMV starts at. */
interface Tile {
  readonly weights: Value<"ptr">;
  readonly x: Value<"ptr">;
  readonly y: Value<"ptr">;
  readonly yStride: Value<"i32">;
  readonly token: Value<"i32">;
  readonly index: Value<"i32">;
}

/** One register block: `tu` outputs × `nu` tokens over the inputs of one input block. */
function microGemv(b: KernelBuilder, spec: ProjectionSpec, at: Tile, nu: number, inputs: InputBlock): void {
  const { format, cols, activations, blocking, accumulate } = spec;
  const pack = packingOf(spec, b.target);
  const layout = activationLayout(activations, format, cols);
  const tokens = Array.from({ length: nu }, (_, t) => (t === 0 ? at.token : b.op.iadd(at.token, b.i(t))));
  const w = b.named("w_tile", b.op.addr(at.weights, at.index, { stride: pack.tileBytes, offset: 0 }));
  const xs = tokens.map((t, n) =>
    b.named(`x${n}`, b.op.addr(at.x, t, { stride: layout.rowBytes, offset: 0 })),
  );
  const ys = tokens.map((t, n) =>
    b.named(
      `y${n}`,
      b.op.addr(b.op.addrv(at.y, t, at.yStride), at.index, { stride: 4 * pack.tileRows, offset: 0 }),
    ),
  );
  const vectorAt = (u: number) => ({ offset: 4 * u * pack.lanes });
  const acc = ys.map((yt, t) =>
    Array.from({ length: pack.tile }, (_, u) => {
      const cell = b.variable(`acc${t}_${u}`, b.op.vfconst({ value: 0 }));
      if (accumulate) cell.set(b.op.vfload(yt, vectorAt(u)));
      return cell;
    }),
  );
  if (inputs.isFirst !== true && !accumulate) {
    b.if(b.op.ieq(inputs.isFirst, b.i(0)), () => {
      acc.forEach((row, t) =>
        row.forEach((cell, u) => cell.set(b.op.vfload(ys[t] as Value<"ptr">, vectorAt(u)))),
      );
    });
  }
  if (format.kind === "float") {
    floatInputs(b, format.element, cols, w, xs, acc, pack);
  } else {
    const unrolledChunks = Math.max(1, Math.floor(blocking.mu / CHUNK));
    const context = { b, format, pack, layout, unrolledChunks, acc };
    quantizedInputs(context, cols, w, xs, inputs);
  }
  acc.forEach((row, t) =>
    row.forEach((cell, u) => b.op.vfstore(ys[t] as Value<"ptr">, cell.get(), vectorAt(u))),
  );
}
