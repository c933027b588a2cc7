import type { DotOpName, OptionalOpName, VectorOpName } from "../ir/ops.ts";
import type { Attributes, Target, Type } from "../ir/types.ts";

export type VectorType = Exclude<Type, "i32" | "f32" | "ptr">;

/** What a row may depend on, besides its operands. */
export interface RowInput {
  readonly attributes: Attributes;
  /** An attribute that is a single number. */
  readonly number: (name: string) => number;
  readonly lanes: number;
}

/**
 * How one op is printed: a template in the syntax of the ISA. `$0`, `$1`, … are the operands, `@` the address
 * `$0 + offset` of a memory op (in WebAssembly `$0` is pushed and `@` is the offset immediate), `{name}` an attribute,
 * `#name` a constant hoisted to the head of the function (`constants`).
 */
export type Row = string | ((input: RowInput) => string);

/** How a chain of dots is printed: `$w` and `$x` are the operands, `$s` the sum so far, `$a` the accumulator. */
export interface DotRows {
  /** The first link, where the target does not add in place. */
  readonly first?: string;
  /** A link: `$s` plus the products. */
  readonly next: string;
  /** The accumulator plus the sum, where the target does not add in place. */
  readonly close?: string;
}

/**
 * Throughput of the op classes that decide a kernel's speed, in instructions (micro-ops) per call at full vector
 * width; the performance model counts with them.
 */
export interface IsaCosts {
  /** One link of a `dot` chain. */
  readonly dot: number;
  /** Closing a `dot` chain: widening the partial sums and adding them to the accumulator. */
  readonly dotClose: number;
  /** One link of a `dot8` chain. */
  readonly dot8: number;
  /** One link of a `dot8n` chain. */
  readonly dot8n: number;
  /** `vu8table`, besides its load. */
  readonly tableLoad: number;
  /** `vu8lookup`. */
  readonly lookup: number;
  /** `vbytejoin`, where all four indexes are asked for. */
  readonly byteJoin: number;
  /** `vfield` with a shift, and without one. */
  readonly fieldShifted: number;
  readonly field: number;
  /** `vhload`. */
  readonly halfLoad: number;
  /** Any other vector op. */
  readonly simple: number;
  /** Vector micro-ops the core sustains in one cycle. */
  readonly perCycle: number;
}

/** Whether a link of a `dot` chain is one instruction, which is all that it takes. */
export function isOneInstruction({ dot, dotClose }: IsaCosts): boolean {
  return dot === 1 && dotClose === 0;
}

/** An instruction set: a table that says how every op is printed and which CPU features that needs. */
export interface Isa extends Target {
  readonly syntax: "c" | "wasm";
  /** Feature flags, as Linux names them, all of which the CPU must have. */
  readonly features: readonly string[];
  /** Compiler flags that make the intrinsics available. */
  readonly flags: readonly string[];
  /** The lines of a unit that declare the intrinsics. */
  readonly headers: readonly string[];
  /** Vector registers the allocator has. */
  readonly registers: number;
  readonly types: Readonly<Record<VectorType, string>>;
  /** Hoisted constants: name → [type, expression]. */
  readonly constants: Readonly<Record<string, readonly [VectorType, string]>>;
  /** Helper functions for rows that are a sequence: printed once per unit, when a row that calls them is used. */
  readonly helpers: Readonly<Record<string, string>>;
  readonly rows: { readonly [N in Exclude<VectorOpName, OptionalOpName>]: Row } & {
    readonly [N in OptionalOpName]?: Row;
  };
  readonly dot: { readonly [N in DotOpName]: DotRows };
  readonly costs: IsaCosts;
}
