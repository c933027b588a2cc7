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
  /**
   * Whether micro-GEMVs of `nu` tokens find the weights of the mini-GEMV expanded, a byte for each code, in a cache; else
   * (default) each of them unpacks the codes in registers. Only where weights and activations are quantized.
   */
  readonly expand?: boolean | undefined;
}

/** Whether two blockings give the same kernel. */
export function sameBlocking(a: Blocking, b: Blocking): boolean {
  const isSame = (key: "mb" | "tb" | "mu" | "tu" | "nu") => a[key] === b[key];
  return (
    isSame("mb") && isSame("tb") && isSame("mu") && isSame("tu") && isSame("nu") && !a.expand === !b.expand
  );
}

/**
 * Steps of `nu` tokens from which on weights are expanded for them. With 4 it takes what they save, with 2 and 3 it costs 15 to
 * 30 and 7 to 20 % (AVX2, one thread, weights from memory; types of 2 to 4 bits. Of 6 bits it is even from 2 on).
 */
export const EXPANDED_STEPS = 4;

/** Tokens of the micro-GEMVs that do the rest, largest first: each costs less than one that is padded. */
const REST = [4, 3, 2, 1] as const;

/**
 * Tokens that one micro-GEMV does at once, at most: weights are read a single time then, so that a mini-GEMV may have all
 * rows, and of panels (`Packing`) has.
 */
export function tokensAtOnce({ nu }: Blocking): number {
  return Math.min(nu, REST[0]);
}

/** Tokens of the micro-GEMVs that read weights as they are packed, largest first. */
export function packedSizes({ nu, expand }: Blocking): number[] {
  return expand ? [...REST] : [nu, ...REST.filter((size) => size < nu)];
}

/** Micro-GEMVs of one kind that a kernel runs one after the other, to go through its tokens. */
export interface TokenSteps {
  readonly size: number;
  readonly count: number;
  readonly expanded: boolean;
}

/** How a kernel goes through `tokens` tokens. */
export function tokenSteps(blocking: Blocking, tokens: number): TokenSteps[] {
  const { nu, expand } = blocking;
  const whole = Math.floor(tokens / nu);
  const expanded = expand === true && whole >= EXPANDED_STEPS ? whole : 0;
  let left = tokens - expanded * nu;
  const steps = packedSizes(blocking).map((size) => {
    const count = Math.floor(left / size);
    left -= count * size;
    return { size, count, expanded: false };
  });
  return [{ size: nu, count: expanded, expanded: true }, ...steps].filter(({ count }) => count > 0);
}
