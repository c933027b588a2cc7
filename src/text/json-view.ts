import { FileFormatError } from "../base/errors.ts";
import type { JsonObject } from "./text-splitter.ts";

function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * An object in a JSON file. The accessors throw a `FileFormatError` that names the field where its value is of
 * another type; `null` is the same as absent.
 */
export class JsonView {
  readonly json: JsonObject;

  /** @param path of the value in the file; empty for the whole */
  constructor(
    readonly file: string,
    value: unknown,
    private readonly path = "",
  ) {
    if (!isObject(value)) throw new FileFormatError(file, path || "the file", "is not a JSON object");
    this.json = value;
  }

  get(key: string): unknown {
    return Object.hasOwn(this.json, key) ? (this.json[key] ?? undefined) : undefined;
  }

  object(key: string): JsonView | undefined {
    const value = this.get(key);
    return value === undefined ? undefined : new JsonView(this.file, value, this.pathOf(key));
  }

  /** The objects of an array; none if it is absent. */
  objects(key: string): readonly JsonView[] {
    return this.list(key).map((value, i) => new JsonView(this.file, value, `${this.pathOf(key)}[${i}]`));
  }

  list(key: string): readonly unknown[] {
    const value = this.get(key) ?? [];
    if (Array.isArray(value)) return value;
    throw this.error(key, "is not an array");
  }

  string(key: string): string | undefined {
    const value = this.get(key);
    if (value === undefined || typeof value === "string") return value;
    throw this.error(key, "is not a string");
  }

  bool(key: string): boolean | undefined {
    const value = this.get(key);
    if (value === undefined || typeof value === "boolean") return value;
    throw this.error(key, "is neither true nor false");
  }

  /** A whole number from `least` to `most`. */
  integer(key: string, least: number, most: number): number | undefined {
    const value = this.get(key);
    if (value === undefined) return undefined;
    if (typeof value !== "number" || !Number.isInteger(value)) throw this.error(key, "is not a whole number");
    if (value >= least && value <= most) return value;
    throw this.error(key, `is ${value}, not from ${least} to ${most}`);
  }

  number(key: string): number | undefined {
    const value = this.get(key);
    if (value === undefined || typeof value === "number") return value;
    throw this.error(key, "is not a number");
  }

  /** An error about `key`, for what only the caller can check. */
  error(key: string, problem: string): FileFormatError {
    return new FileFormatError(this.file, this.pathOf(key), problem);
  }

  private pathOf(key: string): string {
    return this.path === "" ? key : `${this.path}.${key}`;
  }
}
