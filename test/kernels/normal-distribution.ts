/** Φ(x) of the standard normal distribution in f64, to some 1e-14 of its value. */
export function normalDistribution(x: number): number {
  return x > 0 ? 1 - lowerTail(x) : lowerTail(-x);
}

/** Φ(−x) for x ≥ 0: where x is small 1/2 less the series of its integral, else Laplace's continued fraction. */
function lowerTail(x: number): number {
  const density = Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI);
  if (x < 3) {
    let [term, sum] = [x, x];
    for (let n = 3; Math.abs(term) > 1e-20 * sum; n += 2) {
      term *= (x * x) / n;
      sum += term;
    }
    return 0.5 - density * sum;
  }
  let fraction = 0;
  for (let n = 200; n > 0; n--) fraction = n / (x + fraction);
  return density / (x + fraction);
}
