import type { KernelBuilder } from "../ir/builder.ts";
import type { Value } from "../ir/types.ts";

const LN2_HIGH = 0.693359375; // ln 2 to 9 bits, so that n · LN2_HIGH is exact for |n| < 2^14
const LN2_LOW = -2.1219444005469057e-4; // ln 2 − LN2_HIGH
/** Coefficients of (e^f − 1 − f) / f² on |f| ≤ ln 2 / 2, highest power first (Cephes expf, 2 ulp). */
const EXP_POLYNOMIAL = [
  1.98756915e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1,
];
/** Below this e^x is under the smallest normal f32; the result is 0. */
const EXP_LOW = -87.3;
/** Above this e^x would overflow f32; the argument is clamped here. */
const EXP_HIGH = 88.3;

/** e^x per lane, relative error below 2^-22; 0 for x < −87.3, e^88.3 for x above. */
export function exp(b: KernelBuilder, x: Value<"vf32">): Value<"vf32"> {
  const { op } = b;
  const constant = (value: number) => op.vfconst({ value });
  const clamped = op.vfmax(op.vfmin(x, constant(EXP_HIGH)), constant(EXP_LOW));
  const n = op.vftoi(op.vfmul(clamped, constant(Math.LOG2E)));
  const nf = op.vitof(n);
  const f = op.vfma(nf, constant(-LN2_LOW), op.vfma(nf, constant(-LN2_HIGH), clamped));
  let p = constant(EXP_POLYNOMIAL[0] as number);
  for (const c of EXP_POLYNOMIAL.slice(1)) p = op.vfma(p, f, constant(c));
  const mantissa = op.vfadd(op.vfma(p, op.vfmul(f, f), f), constant(1));
  const power = op.vbitstof(op.vishl(op.viadd(n, op.viconst({ value: 127 })), { count: 23 }));
  return op.vfselect(op.vflt(x, constant(EXP_LOW)), constant(0), op.vfmul(mantissa, power));
}

/** x · sigmoid(slope · x) per lane (SiLU, where the slope is 1). */
export function silu(b: KernelBuilder, x: Value<"vf32">, slope = 1): Value<"vf32"> {
  const { op } = b;
  const negated =
    slope === 1 ? op.vfsub(op.vfconst({ value: 0 }), x) : op.vfmul(x, op.vfconst({ value: -slope }));
  return op.vfdiv(x, op.vfadd(op.vfconst({ value: 1 }), exp(b, negated)));
}

/** 1 / (1 + e^−x) per lane. */
export function sigmoid(b: KernelBuilder, x: Value<"vf32">): Value<"vf32"> {
  const { op } = b;
  const negated = op.vfsub(op.vfconst({ value: 0 }), x);
  return op.vfdiv(op.vfconst({ value: 1 }), op.vfadd(op.vfconst({ value: 1 }), exp(b, negated)));
}

/** sqrt(2/π), and what the cube is weighted with, in GELU's approximation with tanh. */
const GELU_SLOPE = Math.sqrt(2 / Math.PI);
const GELU_CUBIC = 0.044715;

/** x · (1 + tanh(u)) / 2 with u = sqrt(2/π) (x + 0.044715 x³), which is x · sigmoid(2u), per lane (GELU). */
export function gelu(b: KernelBuilder, x: Value<"vf32">): Value<"vf32"> {
  const { op } = b;
  const constant = (value: number) => op.vfconst({ value });
  const cubic = op.vfma(op.vfmul(x, x), constant(-2 * GELU_SLOPE * GELU_CUBIC), constant(-2 * GELU_SLOPE));
  return op.vfdiv(x, op.vfadd(constant(1), exp(b, op.vfmul(x, cubic))));
}

/**
 * Coefficients of erfc(z) e^(z²) / t in t = 1 / (1 + z/2), highest power first: a minimax fit for z from 0 to 14, of relative
 * error below 2^-24.
 */
const ERFC_POLYNOMIAL = [
  -0.05938635, 0.28612351, -0.49040559, 0.28173262, -0.029148234, 0.20375247, 0.2428351, 0.28241211,
  0.28208435,
];

/**
 * x · Φ(x) with the normal distribution Φ, per lane (GELU as defined): max(x, 0) − |x| / 2 · erfc(|x| / √2), so that what
 * is subtracted vanishes on both sides. Off by 2^-21 (1 + x²/16) of the result: f32 rounds the exponent −x²/2.
 */
export function geluErf(b: KernelBuilder, x: Value<"vf32">): Value<"vf32"> {
  const { op } = b;
  const constant = (value: number) => op.vfconst({ value });
  const size = op.vfabs(x);
  const t = op.vfdiv(constant(1), op.vfma(size, constant(Math.SQRT1_2 / 2), constant(1)));
  let p = constant(ERFC_POLYNOMIAL[0] as number);
  for (const c of ERFC_POLYNOMIAL.slice(1)) p = op.vfma(p, t, constant(c));
  const power = exp(b, op.vfmul(op.vfmul(size, size), constant(-0.5)));
  const tail = op.vfmul(op.vfmul(op.vfmul(size, constant(0.5)), op.vfmul(t, p)), power);
  return op.vfsub(relu(b, x), tail);
}

/** max(x, 0) per lane. */
export function relu(b: KernelBuilder, x: Value<"vf32">): Value<"vf32"> {
  return b.op.vfmax(x, b.op.vfconst({ value: 0 }));
}

/** cap · tanh(x / cap) = cap · (1 − 2 / (e^(2x/cap) + 1)) per lane; off by 2^-22 of cap at most. */
export function softcap(b: KernelBuilder, x: Value<"vf32">, cap: number): Value<"vf32"> {
  const { op } = b;
  const constant = (value: number) => op.vfconst({ value });
  const power = exp(b, op.vfmul(x, constant(2 / cap)));
  const part = op.vfdiv(constant(-2 * cap), op.vfadd(power, constant(1)));
  return op.vfadd(constant(cap), part);
}

/** Bits of a finite binary16 → f32, exactly: the exponent is rebased by a product with 2^112. */
export function halfToFloat(b: KernelBuilder, half: Value<"i32">): Value<"f32"> {
  const { op } = b;
  const magnitude = op.bitstof(op.ishl(op.iand(half, b.i(0x7fff)), b.i(13)));
  const rebased = op.ftobits(op.fmul(magnitude, b.f(2 ** 112)));
  return op.bitstof(op.ior(rebased, op.ishl(op.iand(half, b.i(0x8000)), b.i(16))));
}
