import { expect } from "vitest";
import { QigenError } from "../../src/base/errors.ts";

/** Reads what may be anything: accepted, or a `QigenError`, within a second. */
export async function outcomeOf(read: () => Promise<unknown>): Promise<"accepted" | QigenError> {
  const start = performance.now();
  try {
    await read();
    return "accepted";
  } catch (error) {
    if (error instanceof QigenError && error.code !== "INTERNAL") return error;
    throw new Error(`not a stated error: ${error}`, { cause: error });
  } finally {
    expect(performance.now() - start).toBeLessThan(1000);
  }
}
