import { InternalError } from "./errors.ts";

/** Checks an invariant of our own code (never the caller's input). */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new InternalError(message);
}

/** Exhaustiveness check for switches over unions. */
export function unreachable(value: never): never {
  throw new InternalError(`unhandled case ${JSON.stringify(value)}`);
}

/** `values[index]`, for indexes that are in range by construction. */
export function at<T>(values: ArrayLike<T>, index: number): T {
  const value = values[index];
  if (value === undefined) throw new InternalError(`index ${index} out of ${values.length}`);
  return value;
}
