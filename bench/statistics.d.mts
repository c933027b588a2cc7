export function median(values: readonly number[]): number;
export function rankCorrelation(xs: readonly number[], ys: readonly number[]): number;
