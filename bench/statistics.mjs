/** The middle value, or the mean of the two in the middle. */
export function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  return (sorted[Math.floor(middle)] + sorted[Math.ceil(middle)]) / 2;
}

/** Spearman's rank correlation: that of the ranks, where equal values share their mean rank. */
export function rankCorrelation(xs, ys) {
  return correlation(ranks(xs), ranks(ys));
}

function ranks(values) {
  const sorted = values.toSorted((a, b) => a - b);
  return values.map((value) => (sorted.indexOf(value) + sorted.lastIndexOf(value)) / 2);
}

function correlation(xs, ys) {
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const [mx, my] = [mean(xs), mean(ys)];
  const [dx, dy] = [xs.map((x) => x - mx), ys.map((y) => y - my)];
  const product = (as, bs) => as.reduce((sum, a, i) => sum + a * bs[i], 0);
  return product(dx, dy) / Math.sqrt(product(dx, dx) * product(dy, dy));
}
