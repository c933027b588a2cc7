import type { QuantizedFormat } from "../quant/formats.ts";
import { fittedColumns } from "./quantized-matrix.ts";

/**
 * In which order columns are rounded. `inputs`: as they stand. `activations`: those with the largest inputs first, and
 * groups are made in that order (GPTQ's act-order, a list `g_idx`). `groups`: groups as they stand, those with the largest
 * inputs first, and so the columns in each: the result is stored in plain order.
 */
export type Ordering = "inputs" | "activations" | "groups";

/** The order in which columns are rounded. */
export interface ColumnOrder {
  /** The input of each step. */
  readonly inputs: Uint32Array;
  /** The column of the stored matrix of each step. */
  readonly slots: Uint32Array;
  /** Slot i is input `order[i]`; undefined where that is i. */
  readonly order: Uint32Array | undefined;
}

/** @param diagonal of the Hessian: how large each input is */
export function orderColumns(
  diagonal: Float32Array,
  format: QuantizedFormat,
  ordering: Ordering,
): ColumnOrder {
  const cols = diagonal.length;
  const plain = Uint32Array.from({ length: cols }, (_, i) => i);
  if (ordering === "inputs") return { inputs: plain, slots: plain, order: undefined };
  const bySize = (columns: Uint32Array) =>
    columns.slice().sort((a, b) => diagonal[b]! - diagonal[a]! || a - b);
  if (ordering === "activations") {
    const inputs = bySize(plain);
    return { inputs, slots: plain, order: inputs };
  }
  const size = fittedColumns(format, cols);
  const starts = Array.from({ length: Math.ceil(cols / size) }, (_, g) => g * size);
  const largest = (start: number) =>
    diagonal.subarray(start, start + size).reduce((most, value) => Math.max(most, value), 0);
  // A shorter block stays last: the steps of all others begin at multiples of the block size.
  const whole = starts.filter((start) => start + size <= cols);
  const sorted = [
    ...whole.sort((a, b) => largest(b) - largest(a) || a - b),
    ...starts.filter((start) => start + size > cols),
  ];
  const inputs = new Uint32Array(cols);
  let done = 0;
  for (const start of sorted) {
    const columns = bySize(plain.subarray(start, start + size));
    inputs.set(columns, done);
    done += columns.length;
  }
  return { inputs, slots: inputs, order: undefined };
}
