/** Where values stand between two ends of a plot, and which of them are written beside it. */
export interface Axis {
  readonly ticks: readonly number[];
  /** 0 at the axis's start, 1 at its end. */
  place(value: number): number;
}

/** Steps of a decade that read well. */
const STEPS = [1, 2, 5];

/** Ticks of a linear axis, about. */
const TICKS = 7;

/** Equal distances for equal differences. */
export function linearAxis(values: readonly number[]): Axis {
  const { low, high } = extent(values);
  const step = roundStep((high - low || Math.abs(high) || 1) / TICKS);
  const [first, last] = [
    Math.floor(low / step),
    Math.max(Math.floor(low / step) + 1, Math.ceil(high / step)),
  ];
  const ticks = Array.from({ length: last - first + 1 }, (_, i) => clean((first + i) * step));
  const [start, end] = [first * step, last * step];
  return { ticks, place: (value) => (value - start) / (end - start) };
}

/** Decades from which on powers of ten alone are ticks. */
const MANY_DECADES = 4.5;

/** Equal distances for equal ratios of positive values. */
export function logAxis(values: readonly number[]): Axis {
  const { low, high } = extent(values.filter((value) => value > 0));
  const steps = Math.log10(high / low) > MANY_DECADES ? [1] : STEPS;
  const round = steps.flatMap((step) => decades(low, high).map((decade) => clean(step * decade)));
  const sorted = round.sort((a, b) => a - b);
  const first = sorted.findLastIndex((value) => value <= low);
  const last = sorted.findIndex((value) => value >= high);
  const ticks = sorted.slice(Math.max(0, first), Math.max(last, first + 1) + 1);
  const [start, end] = [Math.log(ticks[0] as number), Math.log(ticks.at(-1) as number)];
  return { ticks, place: (value) => (Math.log(value) - start) / (end - start) };
}

function extent(values: readonly number[]): { low: number; high: number } {
  const finite = values.filter(Number.isFinite);
  if (finite.length === 0) return { low: 1, high: 10 };
  return { low: Math.min(...finite), high: Math.max(...finite) };
}

/** The powers of ten about a range, one more on either side. */
function decades(low: number, high: number): number[] {
  const [first, last] = [Math.floor(Math.log10(low)) - 1, Math.ceil(Math.log10(high)) + 1];
  return Array.from({ length: last - first + 1 }, (_, i) => 10 ** (first + i));
}

/** The next larger step that reads well. */
function roundStep(step: number): number {
  const decade = 10 ** Math.floor(Math.log10(step));
  return ([...STEPS, 10].find((factor) => factor * decade >= step * (1 - 1e-9)) as number) * decade;
}

/** Without the last digits that multiplying leaves. */
function clean(value: number): number {
  return Number(value.toPrecision(12));
}
