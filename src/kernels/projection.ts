import { assert } from "../base/assert.ts";
import { KernelBuilder } from "../ir/builder.ts";
import type { Kernel, Statement, Target, Value } from "../ir/types.ts";
import { blockSize, isSigns, type QuantizedFormat } from "../quant/formats.ts";
import { activationLayout } from "./activations.ts";
import { EXPANDED_STEPS, packedSizes, tokensAtOnce } from "./blocking.ts";
import { expandTile } from "./expand.ts";
import { eachExpert, type Operands } from "./expert-work.ts";
import type { InputBlock } from "./groups.ts";
import { type MicroGemvSpec, microGemv } from "./register-block.ts";
import {
  expandedOf,
  expandedSource,
  packedSource,
  packingOf,
  quantized,
  type WeightSource,
} from "./weight-source.ts";
import { splitWork } from "./work.ts";

/**
 * What a projection kernel is generated for. Run-time values are the rows, the number of tokens and the outputs of a
 * mini-GEMV, `blocking.tb`, in which the matrices of a model differ most: each kernel takes a while to compile.
 */
export interface ProjectionSpec extends MicroGemvSpec {
  /** Adds a vector to the output. */
  readonly bias?: boolean;
  /**
   * Multiplies the slots of every expert (`kernels/route.ts`) with its own matrix of a stack: inputs are rows of tokens,
   * which slots share, or rows of slots.
   */
  readonly experts?: "of tokens" | "of slots";
}

/** Name of the generated function; equal specs have equal names. */
export function projectionName({
  format,
  cols,
  activations,
  blocking: p,
  bias,
  experts,
}: ProjectionSpec): string {
  const x = activations.kind === "f32" ? "f32" : `i8b${activations.block}`;
  const name = format.name.toLowerCase().replaceAll("-", "_");
  const stack = experts === undefined ? "" : `experts_${experts.replace(" ", "_")}_`;
  return `project_${stack}${bias ? "bias_" : ""}w_${name}_x_${x}_c${cols}_mb${p.mb}_mu${p.mu}_tu${p.tu}_nu${p.nu}${p.expand ? "_expand" : ""}`;
}

/**
 * y[t][r] = Σ_k W[r][k] · x[t][k]  for tokens t and rows r; rows sit in lanes, weights are read once in packed order.
 */
export function projection(spec: ProjectionSpec, target: Target): Kernel {
  const { blocking } = spec;
  assert(blocking.tu % target.lanes === 0, "tu is not a multiple of the lanes");
  assert(!(blocking.expand && looksUp(spec)), "what is looked up is not expanded");
  const { panels, panelBlocks } = packingOf(spec, target);
  const isPanel = () => blocking.mb === panelBlocks * blockSize(spec.format as QuantizedFormat, spec.cols);
  assert(panels === 1 || isPanel(), "a mini-GEMV of another number of inputs than a panel");
  const b = new KernelBuilder(target);
  const weights = b.parameter("weights", "ptr", "packed weights");
  const x = b.parameter("x", "ptr", "prepared activations, one row per token");
  const y = b.parameter("y", "ptr", "f32 outputs [token][row]");
  const yStride = b.parameter("y_stride", "i32", "bytes from one token's outputs to the next");
  const tiles = b.parameter("tiles", "i32", "row tiles");
  const counts = b.parameter("counts", "ptr", `i32: number of ${spec.experts ? "experts" : "tokens"}`);
  const blockTiles = b.parameter("block_tiles", "i32", "row tiles of a mini-GEMV");
  const accumulate = b.parameter("accumulate", "i32", "1: adds to the outputs, 0: replaces them");
  const scratch = blocking.expand
    ? b.parameter("scratch", "ptr", "expanded weights of a mini-GEMV, for every part of the step")
    : undefined;
  const bias = spec.bias
    ? b.parameter("bias", "ptr", "f32 of all rows, zero-padded; of experts, y_stride apart")
    : undefined;
  const routed = spec.experts && {
    entries: b.parameter("experts", "ptr", "i32 expert, first slot, slots, 0; as many as counted"),
    ...(spec.experts === "of tokens" ? { tokens: b.parameter("slot_tokens", "ptr", "i32") } : {}),
  };
  const count = b.op.iload(counts, { offset: 0 });
  const blocks = { tiles, blockTiles, expanded: scratch && ownBlock(b, spec, scratch, blockTiles) };
  const all = { weights, x, y, yStride, accumulate, bias };
  if (routed === undefined) {
    const tokens = b.named("tokens", count);
    splitWork(b, tiles, (first, last) => project(b, spec, { ...all, tokens }, blocks, first, last));
  } else {
    const { tileBytes } = packingOf(spec, target);
    const inputBytes = activationLayout(spec.activations, spec.format, spec.cols, target).rowBytes;
    eachExpert(b, { inputBytes, tileBytes }, tiles, count, { ...routed, ...all }, (operands, first, last) =>
      project(b, spec, operands, blocks, first, last),
    );
  }
  return b.build(projectionName(spec), header(spec, target));
}

/** Whether sums of inputs are looked up, by signs as they are packed. */
function looksUp({ activations, format }: ProjectionSpec): boolean {
  return activations.kind === "int8" && isSigns(format);
}

/** Row tiles of the matrix and of a mini-GEMV, and where the latter's weights may be expanded. */
interface Blocks {
  /** Of the matrix. */
  readonly tiles: Value<"i32">;
  readonly blockTiles: Value<"i32">;
  readonly expanded: Value<"ptr"> | undefined;
}

/** The part's own memory for the expanded weights of a mini-GEMV. */
function ownBlock(
  b: KernelBuilder,
  spec: ProjectionSpec,
  scratch: Value<"ptr">,
  blockTiles: Value<"i32">,
): Value<"ptr"> {
  const bytes = b.op.imul(blockTiles, b.i(expandedOf(spec, b.target).tileBytes));
  return b.named("block", b.op.addrv(scratch, b.thread, bytes));
}

/** Row tiles `first` … `last` − 1 of a matrix, for all tokens. */
function project(
  b: KernelBuilder,
  spec: ProjectionSpec,
  { weights, tokens, ...rows }: Operands,
  { tiles, blockTiles, expanded }: Blocks,
  first: Value<"i32">,
  last: Value<"i32">,
): void {
  const { blocking } = spec;
  const packed = packedSource(b, spec, weights, tiles);
  const isOnce = () => b.op.ilt(tokens, b.i(tokensAtOnce(blocking) + 1));
  const isPanels = packed.pack.panels > 1;
  const rowTiles = isPanels ? b.named("row_tiles", b.op.iselect(isOnce(), tiles, blockTiles)) : blockTiles;
  rowBlocks(b, rowTiles, first, last, (from, to) => {
    inputBlocks(b, spec, (inputs) => {
      const step = (source: WeightSource, nu: number, token: Value<"i32">) =>
        b.loop("tile", from, to, 1, (index) => {
          microGemv(b, spec, source, { ...rows, token, index }, nu, inputs);
        });
      const done = expanded
        ? expandedTokens(b, blocking.nu, tokens, (all) => {
            const source = expandedSource(b, spec, expanded, from);
            b.loop("expand", from, to, 1, (index) => expand(b, packed, source, index, inputs));
            b.loop("token", 0, all, blocking.nu, (token) => step(source, blocking.nu, token));
          })
        : b.i(0);
      tokenBlocks(b, packedSizes(blocking), done, tokens, (token, nu) => step(packed, nu, token));
    });
  });
}

/** Copies a tile's weights of a block of inputs from one source to the other, expanded. */
function expand(
  b: KernelBuilder,
  from: WeightSource,
  to: WeightSource,
  index: Value<"i32">,
  inputs: InputBlock,
): void {
  const w = b.named("w_tile", from.tileAt(index, inputs));
  expandTile({ b, ...quantized(from.pack) }, to.pack, w, b.named("out", to.tileAt(index, inputs)), inputs);
}

/** Calls `body` with the number of tokens that are done with expanded weights, if there are any; returns it. */
function expandedTokens(
  b: KernelBuilder,
  nu: number,
  tokens: Value<"i32">,
  body: (all: Value<"i32">) => void,
): Value<"i32"> {
  const { op } = b;
  const whole = op.isub(tokens, op.irem(tokens, b.i(nu)));
  const enough = op.ilt(b.i(EXPANDED_STEPS * nu - 1), tokens);
  const all = b.named("expanded_tokens", op.iselect(enough, whole, b.i(0)));
  b.if(enough, () => body(all));
  return all;
}

/** Parts of the kernel on their own, for who wants to know what they take: all inputs of a row tile. */
export function microGemvAlone(
  spec: ProjectionSpec,
  expanded: boolean,
  target: Target,
): readonly Statement[] {
  const b = new KernelBuilder(target);
  const { pointer, integer } = namedParameters(b);
  const first = integer("first");
  const source = expanded
    ? expandedSource(b, spec, pointer("block"), first)
    : packedSource(b, spec, pointer("weights"), integer("tiles"));
  const bias = spec.bias ? pointer("bias") : undefined;
  const at = {
    x: pointer("x"),
    y: pointer("y"),
    yStride: integer("y_stride"),
    accumulate: integer("accumulate"),
    token: integer("token"),
    bias,
  };
  microGemv(b, spec, source, { ...at, index: integer("tile") }, spec.blocking.nu, allInputs(b, spec));
  return b.build("micro_gemv", []).body;
}

/** See `microGemvAlone`. */
export function expansionAlone(spec: ProjectionSpec, target: Target): readonly Statement[] {
  const b = new KernelBuilder(target);
  const { pointer, integer } = namedParameters(b);
  const first = integer("first");
  const packed = packedSource(b, spec, pointer("weights"), integer("tiles"));
  const to = expandedSource(b, spec, pointer("block"), first);
  expand(b, packed, to, integer("tile"), allInputs(b, spec));
  return b.build("expansion", []).body;
}

function namedParameters(b: KernelBuilder) {
  return {
    pointer: (name: string) => b.parameter(name, "ptr", name),
    integer: (name: string) => b.parameter(name, "i32", name),
  };
}

function header(spec: ProjectionSpec, target: Target): string[] {
  const { format, cols, activations, blocking, bias, experts } = spec;
  const pack = packingOf(spec, target);
  const zero =
    format.kind === "float"
      ? ""
      : { constant: "s·(q − z)", code: "s·(q − z)", minimum: "s·q + m", product: "s·q − m" }[
          format.zero.kind
        ];
  const weight = format.kind === "float" ? "W" : `(${zero})`;
  return [
    `y[t][r] = ${bias ? "bias[r] + " : ""}sum over ${cols} inputs k of ${weight}[r][k] * x[t][k]; += where it accumulates`,
    `weights  ${format.name}${format.kind === "quantized" ? `, group ${format.group}` : ""}, packed: ${pack.tileRows} rows a tile, ${pack.tileBytes} bytes`,
    ...(experts === undefined ? [] : [`experts  each with its own weights and slots; inputs ${experts}`]),
    `inputs   ${activations.kind === "f32" ? "f32" : `int8, one scale per ${activations.block} inputs`}`,
    `mini     mb ${blocking.mb} inputs x block_tiles row tiles`,
    ...(blocking.expand
      ? [`         from ${EXPANDED_STEPS * blocking.nu} tokens on expanded, ${blocking.nu} tokens at a time`]
      : []),
    `micro    mu ${blocking.mu} inputs x tu ${blocking.tu} outputs x nu ${packedSizes(blocking).join(", ")} tokens, ${target.lanes} rows a register (${target.name})`,
  ];
}

/** Row tiles in blocks of mini-GEMVs: the weights of a block stay in cache while the tokens pass. */
function rowBlocks(
  b: KernelBuilder,
  blockTiles: Value<"i32">,
  first: Value<"i32">,
  last: Value<"i32">,
  body: (from: Value<"i32">, to: Value<"i32">) => void,
): void {
  b.loop("row_block", first, last, blockTiles, (from) => {
    const to = b.named("block_end", b.op.imin(b.op.iadd(from, blockTiles), last));
    body(from, to);
  });
}

/** The inputs in blocks of `mb`; the ragged block of weights at the end of a row belongs to the last of them. */
function inputBlocks(b: KernelBuilder, spec: ProjectionSpec, body: (block: InputBlock) => void): void {
  const { format, cols, blocking } = spec;
  if (blocking.mb >= cols || format.kind === "float") {
    body(allInputs(b, spec));
    return;
  }
  const size = blockSize(format, cols);
  const blocks = Math.floor(cols / size);
  const step = blocking.mb / size;
  assert(Number.isInteger(step), "mb is not a multiple of the format's block");
  // Where whole blocks fill the mini-GEMVs, the ragged block has one of its own.
  const bound = cols % size === 0 ? blocks : blocks + 1;
  b.loop("input_block", 0, bound, step, (start) => {
    const next = b.named("next_block", b.op.iadd(start, b.i(step)));
    const end = b.named("blocks_end", b.op.imin(next, b.i(blocks)));
    body({ start, end, hasRagged: b.op.ilt(b.i(blocks), next), isFirst: b.op.ieq(start, b.i(0)) });
  });
}

function allInputs(b: KernelBuilder, { format, cols }: ProjectionSpec): InputBlock {
  const groups = format.kind === "float" ? 1 : Math.floor(cols / blockSize(format, cols));
  return { start: b.i(0), end: b.i(groups), hasRagged: true, isFirst: true };
}

/** The tokens from `done` on by decreasing sizes: what `tokenSteps` counts. */
function tokenBlocks(
  b: KernelBuilder,
  sizes: readonly number[],
  done: Value<"i32">,
  tokens: Value<"i32">,
  body: (token: Value<"i32">, size: number) => void,
): void {
  let start = done;
  for (const size of sizes) {
    const left = b.op.irem(b.op.isub(tokens, start), b.i(size));
    const end = size === 1 ? tokens : b.named(`by_${size}`, b.op.isub(tokens, left));
    b.loop("token", start, end, size, (token) => body(token, size));
    start = end;
  }
}
