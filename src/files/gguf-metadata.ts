import { FileFormatError } from "../base/errors.ts";
import type { GgufArray, GgufValue } from "./gguf-values.ts";

/** Typed arrays whose elements are numbers (not bigints). */
export type GgufNumbers =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | Float64Array;

/**
 * The metadata of one file. `x(key)` wants the key; `xOr(key, fallback)` returns the fallback where it is absent.
 * Both throw a `FileFormatError` that names the key where its value is something else or out of range. Writers
 * disagree about integer widths, so integers are checked by value, not by type.
 */
export class GgufMetadata {
  constructor(
    readonly file: string,
    readonly entries: ReadonlyMap<string, GgufValue>,
  ) {}

  has(key: string): boolean {
    return this.entries.has(key);
  }

  string(key: string): string {
    const found = this.find(key);
    return found.type === "string" ? found.value : this.mismatch(key, "a string", found);
  }

  stringOr<F>(key: string, fallback: F): string | F {
    return this.has(key) ? this.string(key) : fallback;
  }

  bool(key: string): boolean {
    const found = this.find(key);
    return found.type === "bool" ? found.value : this.mismatch(key, "a boolean", found);
  }

  boolOr<F>(key: string, fallback: F): boolean | F {
    return this.has(key) ? this.bool(key) : fallback;
  }

  /** An integer from `least` to `most`, both at most 2^53 − 1 in magnitude. */
  integer(key: string, least: number, most: number): number {
    const found = this.find(key);
    const value = integerOf(found);
    if (value === undefined) return this.mismatch(key, "an integer", found);
    if (value >= least && value <= most) return Number(value);
    throw new FileFormatError(this.file, key, `is ${value}, not from ${least} to ${most}`);
  }

  integerOr<F>(key: string, least: number, most: number, fallback: F): number | F {
    return this.has(key) ? this.integer(key, least, most) : fallback;
  }

  u32(key: string): number {
    return this.integer(key, 0, 2 ** 32 - 1);
  }

  u32Or<F>(key: string, fallback: F): number | F {
    return this.has(key) ? this.u32(key) : fallback;
  }

  /** A finite number, stored as a float or as an integer. */
  f32(key: string): number {
    const found = this.find(key);
    const value =
      found.type === "f32" || found.type === "f64" ? found.value : Number(integerOf(found) ?? Number.NaN);
    if (Number.isFinite(value)) return value;
    return this.mismatch(key, "a finite number", found);
  }

  f32Or<F>(key: string, fallback: F): number | F {
    return this.has(key) ? this.f32(key) : fallback;
  }

  /** Decoded anew by every call. */
  strings(key: string): string[] {
    const found = this.find(key);
    if (isArray(found) && found.of === "string") return [...found.values];
    return this.mismatch(key, "an array of strings", found);
  }

  stringsOr<F>(key: string, fallback: F): string[] | F {
    return this.has(key) ? this.strings(key) : fallback;
  }

  f32Array(key: string): Float32Array {
    const found = this.find(key);
    return isArray(found) && found.of === "f32" ? found.values : this.mismatch(key, "an array of f32", found);
  }

  f32ArrayOr<F>(key: string, fallback: F): Float32Array | F {
    return this.has(key) ? this.f32Array(key) : fallback;
  }

  /** Numbers in the type they have in the file (booleans as 0 and 1); 64-bit integers must be exact in a double. */
  numbers(key: string): GgufNumbers {
    const found = this.find(key);
    if (!isArray(found) || found.of === "string" || found.of === "array") {
      return this.mismatch(key, "an array of numbers", found);
    }
    if (found.of !== "u64" && found.of !== "i64") return found.values;
    const numbers = Float64Array.from(found.values, Number);
    if (numbers.every(Number.isSafeInteger)) return numbers;
    throw new FileFormatError(this.file, key, "has an element of 2^53 or more in magnitude");
  }

  numbersOr<F>(key: string, fallback: F): GgufNumbers | F {
    return this.has(key) ? this.numbers(key) : fallback;
  }

  /** An error about `key`, for what only the caller can check. */
  error(key: string, problem: string): FileFormatError {
    return new FileFormatError(this.file, key, problem);
  }

  private find(key: string): GgufValue {
    const found = this.entries.get(key);
    if (found === undefined) throw new FileFormatError(this.file, key, "is missing from the metadata");
    return found;
  }

  private mismatch(key: string, wanted: string, found: GgufValue): never {
    throw new FileFormatError(this.file, key, `should be ${wanted}, but is ${describe(found)}`);
  }
}

function isArray(value: GgufValue): value is GgufArray {
  return value.type === "array";
}

function integerOf(found: GgufValue): number | bigint | undefined {
  switch (found.type) {
    case "u8":
    case "i8":
    case "u16":
    case "i16":
    case "u32":
    case "i32":
    case "u64":
    case "i64":
      return found.value;
    default:
      return undefined;
  }
}

function describe(found: GgufValue): string {
  if (isArray(found)) return `an array of ${found.values.length} × ${found.of}`;
  return found.type === "string" || found.type === "bool" ? found.type : `${found.type} ${found.value}`;
}
