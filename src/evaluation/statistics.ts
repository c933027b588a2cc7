/** A quantity and its standard error. */
export interface Estimate {
  readonly value: number;
  /** One standard deviation of the estimate; 0 where there is one observation. */
  readonly error: number;
}

/** Mean and variance of values as they come (Welford 1962): nothing cancels, however many there are. */
export class Moments {
  count = 0;
  private mean = 0;
  private squares = 0;

  add(value: number): void {
    this.count++;
    const off = value - this.mean;
    this.mean += off / this.count;
    this.squares += off * (value - this.mean);
  }

  /** The mean with its standard error, sample deviation / √n. NaN without values. */
  estimate(): Estimate {
    if (this.count === 0) return { value: Number.NaN, error: Number.NaN };
    const error = this.count < 2 ? 0 : Math.sqrt(this.squares / (this.count - 1) / this.count);
    return { value: this.mean, error };
  }

  /** √ of the mean square. */
  rootMeanSquare(): number {
    return Math.sqrt(this.squares / this.count + this.mean ** 2);
  }
}

/** e to an estimate, with the error that follows to first order. */
export function exponential({ value, error }: Estimate): Estimate {
  const power = Math.exp(value);
  return { value: power, error: power * error };
}

/** The value below which a share of sorted values lies, between two of them where it falls there. */
export function quantile(sorted: ArrayLike<number>, share: number): number {
  const place = share * (sorted.length - 1);
  const below = Math.floor(place);
  const [a, b] = [sorted[below], sorted[Math.min(below + 1, sorted.length - 1)]];
  if (a === undefined || b === undefined) return Number.NaN;
  return a === b ? a : a + (place - below) * (b - a);
}
