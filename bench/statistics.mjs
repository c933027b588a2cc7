// @ts-check
/** Medians, spreads and ratios of repeated measurements. */

/**
 * @typedef {object} Spread
 * @property {number} median
 * @property {number} min
 * @property {number} max
 */

/**
 * @param {readonly number[]} values at least one
 * @returns {number}
 */
export function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  const [below, above] = [sorted[Math.floor(middle)], sorted[Math.ceil(middle)]];
  if (below === undefined || above === undefined) throw new RangeError("no values to take the median of");
  return (below + above) / 2;
}

/**
 * @param {readonly number[]} values at least one
 * @returns {Spread}
 */
export function spread(values) {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) };
}

/**
 * The median of a/b over the pairs that have both: what was measured close together in time is compared, so that a
 * machine that slows down half way changes nothing.
 *
 * @param {readonly (number | undefined)[]} a
 * @param {readonly (number | undefined)[]} b as long
 * @returns {number | undefined} undefined where there is no pair
 */
export function pairedRatio(a, b) {
  const ratios = a.flatMap((value, i) => {
    const other = b[i];
    return value === undefined || other === undefined ? [] : [value / other];
  });
  return ratios.length === 0 ? undefined : median(ratios);
}

/**
 * Three significant digits: 0.0123, 1.23, 12.3, 123, 1234.
 *
 * @param {number} value
 * @returns {string}
 */
export function digits(value) {
  if (value === 0 || value >= 100) return value.toFixed(0);
  return value.toFixed(Math.max(0, 2 - Math.floor(Math.log10(value))));
}

/**
 * Spearman's rank correlation: that of the ranks, where equal values share their mean rank.
 *
 * @param {readonly number[]} xs
 * @param {readonly number[]} ys as long
 * @returns {number}
 */
export function rankCorrelation(xs, ys) {
  return correlation(ranks(xs), ranks(ys));
}

/**
 * @param {readonly number[]} values
 * @returns {number[]}
 */
function ranks(values) {
  const sorted = values.toSorted((a, b) => a - b);
  return values.map((value) => (sorted.indexOf(value) + sorted.lastIndexOf(value)) / 2);
}

/**
 * @param {readonly number[]} xs
 * @param {readonly number[]} ys
 * @returns {number}
 */
function correlation(xs, ys) {
  const mean = (/** @type {readonly number[]} */ values) =>
    values.reduce((sum, value) => sum + value, 0) / values.length;
  const [mx, my] = [mean(xs), mean(ys)];
  const [dx, dy] = [xs.map((x) => x - mx), ys.map((y) => y - my)];
  const product = (/** @type {readonly number[]} */ as, /** @type {readonly number[]} */ bs) =>
    as.reduce((sum, a, i) => sum + a * (bs[i] ?? Number.NaN), 0);
  return product(dx, dy) / Math.sqrt(product(dx, dx) * product(dy, dy));
}
