import { alignUp } from "../../src/base/bytes.ts";
import type { Kernel } from "../../src/ir/types.ts";
import type { Isa } from "../../src/isa/isa.ts";
import { activationLayout } from "../../src/kernels/activations.ts";
import { attention } from "../../src/kernels/attention.ts";
import { combine } from "../../src/kernels/combine.ts";
import { embed } from "../../src/kernels/embed.ts";
import { gate, softcapRows } from "../../src/kernels/gate.ts";
import { groupSlots } from "../../src/kernels/group-slots.ts";
import { headNorm } from "../../src/kernels/head-norm.ts";
import { matrixProduct } from "../../src/kernels/matrix-product.ts";
import { norm } from "../../src/kernels/norm.ts";
import { pack } from "../../src/kernels/pack.ts";
import { prepare } from "../../src/kernels/prepare.ts";
import { projection } from "../../src/kernels/projection.ts";
import { rope } from "../../src/kernels/rope.ts";
import { route } from "../../src/kernels/route.ts";
import { score } from "../../src/kernels/score.ts";
import { formatNamed, groupSize, isSigns } from "../../src/quant/formats.ts";
import { packing, sharedVectors } from "../../src/quant/packing.ts";
import { kvLayout } from "./kv-pages.ts";

const FORMATS = ["F16", "Q1_0", "Q4_0", "Q4_1", "Q8_0", "3bit-g32"];
const COLS = 172;

function ofFormat(name: string, isa: Isa): Kernel[] {
  const format = formatNamed(name);
  const tile = alignUp(2, sharedVectors(format, isa));
  const packed = packing(format, 100, COLS, tile, isa);
  const int8 = { kind: "int8", block: 64 } as const;
  const activations =
    format.kind === "float" ? ([{ kind: "f32" }] as const) : ([{ kind: "f32" }, int8] as const);
  const tu = tile * isa.lanes;
  return [
    pack(packed, isa),
    embed(packed, isa),
    embed(packed, isa, { scale: 3, accumulate: true }),
    ...activations.flatMap((kind) => {
      const mb = format.kind === "float" ? COLS : Math.max(64, groupSize(format, COLS));
      const blocking = {
        mb,
        tb: 2 * tu,
        mu: 32,
        tu,
        nu: 2,
        expand: kind.kind === "int8" && format.kind === "quantized" && format.bits < 8 && !isSigns(format),
      };
      return [
        prepare(activationLayout(kind, format, COLS, isa), isa),
        prepare(activationLayout(kind, format, COLS, isa), isa, true),
        projection({ format, cols: COLS, activations: kind, blocking }, isa),
        projection({ format, cols: COLS, activations: kind, blocking, bias: true }, isa),
        ...(["of tokens", "of slots"] as const).map((experts) =>
          projection({ format, cols: COLS, activations: kind, blocking, experts }, isa),
        ),
      ];
    }),
  ];
}

/** One kernel or two of every kind. */
export function everyKernel(isa: Isa): Kernel[] {
  const kv = kvLayout(2, 10, "f16");
  const coded = kvLayout(2, 40, "q8_0");
  const kernels = [
    ...FORMATS.flatMap((format) => ofFormat(format, isa)),
    ...[false, true].flatMap((gather) => [
      norm({ kind: "rms", cols: COLS, epsilon: 1e-5, gather, bias: false, accumulate: false }, isa),
      norm({ kind: "layer", cols: COLS, epsilon: 1e-5, gather, bias: true, accumulate: false }, isa),
    ]),
    norm({ kind: "rms", cols: COLS, epsilon: 1e-5, gather: false, bias: false, accumulate: true }, isa),
    headNorm({ kind: "rms", heads: 4, headDim: 10, epsilon: 1e-5, ownWeights: false }, isa),
    headNorm({ kind: "layer", heads: 4, headDim: 10, epsilon: 1e-5, ownWeights: true }, isa),
    matrixProduct({ sign: "plus", upper: true }, isa),
    matrixProduct({ sign: "minus", upper: false }, isa),
    gate({ cols: COLS, activation: "silu", gated: true }, isa),
    gate({ cols: COLS, activation: "gelu", gated: true }, isa),
    gate({ cols: COLS, activation: "gelu_erf", gated: false }, isa),
    gate({ cols: COLS, activation: "relu", gated: false }, isa),
    softcapRows({ cols: COLS, cap: 30 }, isa),
    score({ cols: COLS, compared: false }, isa),
    score({ cols: COLS, compared: true }, isa),
    route({ experts: 20, used: 3, softmaxOver: "all" }, isa),
    route({ experts: 8, used: 2, softmaxOver: "chosen" }, isa),
    groupSlots({ experts: 8, used: 2 }, isa),
    combine({ cols: COLS, used: 2, shared: true, accumulate: true }, isa),
    rope({ heads: 4, kv, rotated: 10, pairing: "halves" }, isa),
    rope({ heads: 4, kv, rotated: 6, pairing: "interleaved" }, isa),
    attention({ heads: 6, kv, scale: 0.3, block: { rows: 1, heads: 3 } }, isa),
    attention({ heads: 6, kv, scale: 0.3, block: { rows: 4, heads: 3 } }, isa),
    rope({ heads: 6, kv, rotated: 0, pairing: "halves" }, isa),
    attention({ heads: 6, kv, scale: 0.3, softcap: 50, window: 40, block: { rows: 4, heads: 3 } }, isa),
    rope({ heads: 4, kv: coded, rotated: 40, pairing: "halves" }, isa),
    attention({ heads: 6, kv: coded, scale: 0.3, block: { rows: 1, heads: 6 } }, isa),
    attention({ heads: 6, kv: coded, scale: 0.3, block: { rows: 4, heads: 3 } }, isa),
  ];
  return [...new Map(kernels.map((kernel) => [kernel.name, kernel])).values()];
}
