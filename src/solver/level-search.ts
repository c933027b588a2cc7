/** Which scale and offset of a group of weights lose least. */

/** scale · code + offset. */
export interface Line {
  readonly scale: number;
  readonly offset: number;
}

/** What a group can be stored as: codes 0 … top on a line. */
export interface LineKind {
  readonly top: number;
  /**
   * Which lines there are: with the code of value 0 given (`zero`), any code as that (`code`), or any offset, but none
   * above 0 where the format stores its negative without a sign (`negative`).
   */
  readonly zero: number | "code" | "minimum" | "negative";
  /** The line of the kind that is nearest: what a file can hold. */
  readonly settle: (line: Line) => Line;
}

/**
 * Fractions of the whole range that are tried. The fewer codes there are, the more is won by clipping the few largest
 * weights: at 2 bits the best range of normal weights is half of what they span, at 4 bits 0.8 of it.
 */
function shrinkages(top: number): number[] {
  const [count, step] = top <= 7 ? [26, 0.03] : top <= 31 ? [16, 0.03] : [4, 0.02];
  return Array.from({ length: count }, (_, i) => 1 - i * step);
}

/** Rounds of least squares after the search: codes for the line, then the best line for the codes. */
const REFINEMENTS = 3;

/** Searches lines of one kind. */
export class LevelSearch {
  private readonly fractions: readonly number[];

  constructor(private readonly kind: LineKind) {
    this.fractions = shrinkages(kind.top);
  }

  /**
   * The line with the least Σ (weight − nearest value)² that the search finds: ranges shrunk step by step, then least
   * squares.
   */
  find(weights: Float32Array): Line {
    let best: Line = this.kind.settle({ scale: 0, offset: 0 });
    let least = this.error(weights, best);
    const consider = (line: Line): boolean => {
      const settled = this.kind.settle(line);
      const error = this.error(weights, settled);
      if (!(error < least)) return false;
      best = settled;
      least = error;
      return true;
    };
    for (const line of this.ranges(weights)) {
      for (const f of this.fractions) consider({ scale: line.scale * f, offset: line.offset * f });
    }
    for (let i = 0; i < REFINEMENTS; i++) {
      const line = this.leastSquares(weights, best);
      if (line === undefined || !consider(line)) break;
    }
    return best;
  }

  /** Lines whose codes span all weights. */
  private ranges(weights: Float32Array): Line[] {
    const { top, zero } = this.kind;
    let [least, greatest] = zero === "minimum" ? [weights[0]!, weights[0]!] : [0, 0];
    for (const weight of weights) {
      if (weight < least) least = weight;
      if (weight > greatest) greatest = weight;
    }
    if (typeof zero !== "number") return [{ scale: (greatest - least) / top, offset: least }];
    // The extreme weight at the lowest code, which leaves the scale's sign open, or at a code on both sides.
    const extreme = -least > greatest ? least : greatest;
    const scales = [-extreme / zero, Math.abs(extreme) / Math.max(1, top - zero)];
    return scales.map((scale) => ({ scale, offset: -scale * zero }));
  }

  private error(weights: Float32Array, line: Line): number {
    const { top } = this.kind;
    const { scale, offset } = line;
    const inverse = scale === 0 ? 0 : 1 / scale;
    let error = 0;
    for (let i = 0; i < weights.length; i++) {
      const weight = weights[i]!;
      let code = Math.floor((weight - offset) * inverse + 0.5);
      if (code < 0) code = 0;
      else if (code > top) code = top;
      const difference = weight - (scale * code + offset);
      error += difference * difference;
    }
    return error;
  }

  /** The best line for the codes that a line gives; undefined where they do not determine one. */
  private leastSquares(weights: Float32Array, line: Line): Line | undefined {
    const { top, zero } = this.kind;
    const { scale, offset } = line;
    if (scale === 0) return undefined;
    const origin = typeof zero === "number" ? zero : zero === "code" ? Math.round(-offset / scale) : 0;
    const n = weights.length;
    let [x, xx, y, xy] = [0, 0, 0, 0];
    for (let i = 0; i < weights.length; i++) {
      const weight = weights[i]!;
      const code = Math.max(0, Math.min(top, Math.floor((weight - offset) / scale + 0.5))) - origin;
      x += code;
      xx += code * code;
      y += weight;
      xy += code * weight;
    }
    if (typeof zero === "number" || zero === "code") {
      return xx > 0 ? { scale: xy / xx, offset: (-origin * xy) / xx } : undefined;
    }
    const determinant = n * xx - x * x;
    if (!(determinant > 1e-9 * n * xx)) return undefined;
    const slope = (n * xy - x * y) / determinant;
    return { scale: slope, offset: (y - slope * x) / n };
  }
}
