/** Numbers that are alike but for roundings to f32. */
const CLOSE = 1e-6;

/**
 * Where two models first differ, such as `layers.3.attention.window`; undefined where both are the same model. Both are
 * plain data.
 */
export function difference(a: unknown, b: unknown, path = ""): string | undefined {
  if (typeof a === "number" && typeof b === "number") {
    return Math.abs(a - b) <= CLOSE * Math.max(Math.abs(a), Math.abs(b)) ? undefined : path;
  }
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) {
    return a === b ? undefined : path;
  }
  for (const key of new Set([...Object.keys(a), ...Object.keys(b)])) {
    const [left, right] = [a, b].map((value) => (value as Readonly<Record<string, unknown>>)[key]);
    const found = difference(left, right, path === "" ? key : `${path}.${key}`);
    if (found !== undefined) return found;
  }
  return undefined;
}
