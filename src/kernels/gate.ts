import { KernelBuilder } from "../ir/builder.ts";
import type { Kernel, Target, Value } from "../ir/types.ts";
import { paddedCols, ROW_PADDING } from "./activations.ts";
import { gelu, geluErf, relu, silu, softcap } from "./math.ts";
import { forEachItem, nameOfNumber } from "./work.ts";

/**
 * Between the matrices of a feed-forward block; `gelu` is the approximation with tanh. All leave 0 as it is.
 * `clampedSilu` is gpt-oss's x · sigmoid(1.702 x) of x ≤ 7; what it is multiplied with is clamped too, and 1 is added.
 */
export type Activation = "silu" | "gelu" | "gelu_erf" | "relu" | "clampedSilu";

/** Of gpt-oss: the largest input, and the slope of the sigmoid. */
const CLAMP = 7;
const CLAMPED_SLOPE = 1.702;

const ACTIVATIONS: Readonly<Record<Activation, (b: KernelBuilder, x: Value<"vf32">) => Value<"vf32">>> = {
  silu,
  gelu,
  gelu_erf: geluErf,
  relu,
  clampedSilu: (b, x) => silu(b, b.op.vfmin(x, b.op.vfconst({ value: CLAMP })), CLAMPED_SLOPE),
};
/** Names of gated activations (Shazeer 2020). */
const GATED: Readonly<Record<Activation, string>> = {
  silu: "swiglu",
  gelu: "geglu",
  gelu_erf: "geglu_erf",
  relu: "reglu",
  clampedSilu: "clamped_swiglu",
};

export function isActivation(name: string): name is Activation {
  return Object.hasOwn(ACTIVATIONS, name);
}

export interface GateSpec {
  readonly cols: number;
  readonly activation: Activation;
  /** Whether the result is multiplied by a second matrix's outputs. */
  readonly gated: boolean;
}

export function gateName({ cols, activation, gated }: GateSpec): string {
  return `${gated ? GATED[activation] : activation}_c${cols}`;
}

/** gate ← activation(gate) · up, elementwise, or x ← activation(x); padding stays zero. */
export function gate(spec: GateSpec, target: Target): Kernel {
  const { cols, activation, gated } = spec;
  const b = new KernelBuilder(target);
  const { op } = b;
  const of = (x: Value<"vf32">) => ACTIVATIONS[activation](b, x);
  if (!gated) {
    const x = b.parameter("x", "ptr", "f32 rows, replaced by the result");
    forEachPart(b, cols, (part) => mapVectors(b, part(x, "x_part"), of));
    return b.build(gateName(spec), [`x = ${activation}(x), ${cols} values a row`]);
  }
  const gate = b.parameter("gate", "ptr", "f32 rows, replaced by the result");
  const up = b.parameter("up", "ptr", "f32 rows");
  forEachPart(b, cols, (part) => {
    const [g, u] = [part(gate, "g"), part(up, "u")];
    mapVectors(b, g, (x, i) => {
      const value = of(x);
      const other = op.vfload(op.addr(u, i, { stride: 4, offset: 0 }), { offset: 0 });
      return op.vfmul(value, activation === "clampedSilu" ? clampedAndOne(b, other) : other);
    });
  });
  return b.build(gateName(spec), [`gate = ${activation}(gate) * up, ${cols} values a row`]);
}

/** Clamped to ±7, plus 1. */
function clampedAndOne({ op }: KernelBuilder, x: Value<"vf32">): Value<"vf32"> {
  const constant = (value: number) => op.vfconst({ value });
  return op.vfadd(op.vfmin(op.vfmax(x, constant(-CLAMP)), constant(CLAMP)), constant(1));
}

export interface SoftcapSpec {
  readonly cols: number;
  readonly cap: number;
}

export function softcapName({ cols, cap }: SoftcapSpec): string {
  return `softcap_c${cols}_s${nameOfNumber(cap)}`;
}

/** x ← cap · tanh(x / cap), elementwise. */
export function softcapRows(spec: SoftcapSpec, target: Target): Kernel {
  const { cols, cap } = spec;
  const b = new KernelBuilder(target);
  const x = b.parameter("x", "ptr", "f32 rows, replaced by the result");
  forEachPart(b, cols, (part) => mapVectors(b, part(x, "x_part"), (v) => softcap(b, v, cap)));
  return b.build(softcapName(spec), [`x = ${cap} * tanh(x / ${cap}), ${cols} values a row`]);
}

/** Splits rows by `ROW_PADDING` values; `part` is where those of an item are in such rows. */
function forEachPart(
  b: KernelBuilder,
  cols: number,
  body: (part: (rows: Value<"ptr">, name: string) => Value<"ptr">) => void,
): void {
  const { op } = b;
  const counts = b.parameter("counts", "ptr", "i32: number of rows");
  const perRow = paddedCols(cols) / ROW_PADDING;
  forEachItem(b, op.imul(op.iload(counts, { offset: 0 }), b.i(perRow)), (item) =>
    body((rows, name) => b.named(name, op.addr(rows, item, { stride: 4 * ROW_PADDING, offset: 0 }))),
  );
}

/** Replaces the values of a part, vector by vector; `of` also gets the index of its first value. */
function mapVectors(
  b: KernelBuilder,
  part: Value<"ptr">,
  of: (x: Value<"vf32">, i: Value<"i32">) => Value<"vf32">,
): void {
  const { op } = b;
  b.loop("i", 0, ROW_PADDING, b.lanes, (i) => {
    const p = op.addr(part, i, { stride: 4, offset: 0 });
    op.vfstore(p, of(op.vfload(p, { offset: 0 }), i), { offset: 0 });
  });
}
