/**
 * The vector IR: values, statements, kernels.
 *
 * A kernel is straight-line ops over immutable values, plus structured loops, branches and mutable variables.
 * Vectors have the register width of the target: `L` lanes of 32 bits, or the same register seen as `4·L` bytes.
 */

/** Scalars (`ptr` is a byte address), vectors of L lanes, and the byte view of a register. */
export type Type =
  | "i32"
  | "f32"
  | "ptr"
  | "vf32" // f32 × L
  | "vi32" // i32 × L
  | "vu8" // u8 × 4L: quantization codes; the value's `bits` bounds them: 0 ≤ code < 2^bits
  | "vi8" // i8 × 4L: quantized activations, −127 … 127 (never −128, so that negation cannot overflow)
  | "vsum" // a chain of dot products that is not closed yet: per lane a sum in the target's own form
  | "vmask"; // one truth value per lane

/** How printed names of values without a name of their own start. */
export const VALUE_PREFIX: Readonly<Record<Type, string>> = {
  i32: "i",
  f32: "f",
  ptr: "p",
  vf32: "vf",
  vi32: "vi",
  vu8: "w",
  vi8: "x",
  vsum: "s",
  vmask: "m",
};

/** An immutable value. `bits` is set exactly for type `vu8`. */
export interface Value<T extends Type = Type> {
  readonly id: number;
  readonly type: T;
  readonly bits?: number;
  /** What the value is called in generated code; made unique by the emitter. */
  name?: string;
  /** Set where the value is the current content of a mutable variable. */
  readonly variable?: Variable;
}

/** A mutable local. Reading yields a value that is valid until the next assignment (the verifier checks). */
export interface Variable<T extends Type = Type> {
  readonly id: number;
  readonly type: T;
  readonly bits?: number;
  name?: string;
}

/** Compile-time constants of an op: shifts, offsets, lane patterns. */
export type Attributes = Readonly<Record<string, number | readonly number[]>>;

export type Statement =
  | {
      readonly kind: "op";
      readonly op: import("./ops.ts").OpName;
      readonly operands: readonly Value[];
      readonly attributes: Attributes;
      readonly result?: Value;
    }
  | {
      /**
       * One link of a chain of dot products: the sum so far (nothing, for the first link) plus the four products of
       * every lane. Where the target adds in place (`Target.dotLinks`), the first link starts from the accumulator.
       */
      readonly kind: "dot";
      readonly op: import("./ops.ts").DotOpName;
      readonly sum?: Value<"vi32"> | Value<"vsum">;
      readonly weight: Value<"vu8">;
      readonly activation: Value<"vi8">;
      readonly result: Value<"vsum">;
    }
  | {
      /** The sum of a chain in 32 bits, plus the accumulator where the chain did not start from it. */
      readonly kind: "close";
      readonly op: import("./ops.ts").DotOpName;
      readonly sum: Value<"vsum">;
      readonly accumulator?: Value<"vi32">;
      readonly result: Value<"vi32">;
    }
  | { readonly kind: "variable"; readonly variable: Variable; readonly initial: Value }
  | {
      readonly kind: "assign";
      /** From the counter of value ids: a read of the variable with a smaller id was made before this assignment. */
      readonly id: number;
      readonly variable: Variable;
      readonly value: Value;
    }
  | {
      /** for (index = start; index < end; index += step), bounds evaluated once. step ≥ 1. */
      readonly kind: "loop";
      readonly index: Value<"i32">;
      readonly start: Value<"i32">;
      readonly end: Value<"i32">;
      readonly step: Value<"i32">;
      readonly body: readonly Statement[];
    }
  | {
      readonly kind: "if";
      readonly condition: Value<"i32">;
      readonly body: readonly Statement[];
      readonly otherwise: readonly Statement[];
    }
  | { readonly kind: "comment"; readonly text: string };

/** What the IR needs to know of an instruction set. */
export interface Target {
  readonly name: string;
  /** 32-bit lanes per vector register (L). */
  readonly lanes: number;
  /**
   * Which byte of a register is the `i`-th (0 … 3) of the four that `dot` adds to lane `lane`. Packing obeys it,
   * so that matrix rows can sit in lanes on every target.
   */
  readonly dotByte: (lane: number, i: number) => number;
  /**
   * What a kernel subtracts from codes of 8 bits before `dot8`, by `vu8flip`: a target with signed multipliers reads bytes
   * in two's complement at less cost, and a kernel that subtracts a zero point anyway loses nothing.
   */
  readonly dot8Offset: 0 | 128;
  /**
   * Links that a chain of dots on codes of `bits` bits may have: 16-bit sums must be widened before they overflow.
   * Infinity where the target adds to the 32-bit accumulator in place.
   */
  readonly dotLinks: (bits: number) => number;
  /** Whether `fma` rounds once (fused) or after the product too. */
  readonly fusedMultiplyAdd: boolean;
  /** How sums of inputs are looked up by the signs of weights. */
  readonly signs: SignWords;
  /** How kernels ask for weights before they read them; without it they do not. */
  readonly weightPrefetch?: Prefetch;
  /** The same for signs, which are read beside tables. */
  readonly signPrefetch?: Prefetch;
}

/**
 * How a row's signs are packed for looking up sums of inputs: in words of `bits` bits, from the first input in bit 0 on. A
 * field is for a table of the sums of its inputs with every choice of signs; the fields of a word are all its bits. Words of
 * 8 bits are looked up by `vu8lookup`, in fields of 4; of 16 bits, by `vipairlookup` in a table that fills a register, or
 * `vipairlookup2` in two.
 */
export interface SignWords {
  readonly bits: 8 | 16;
  readonly fields: readonly number[];
}

/** Which cache lines of a run of bytes are asked for in advance, to help the hardware's own prefetchers or replace them. */
export interface Prefetch {
  /** The cache they are brought to. */
  readonly level: 1 | 2;
  /** How far ahead of the reads, bytes. */
  readonly ahead: number;
  /** One line in so many bytes, a multiple of a line's 64. */
  readonly every: number;
}

/** One 8-byte slot of a kernel's argument block: an i32 uses the low 4 bytes. Floats are constants of the kernel. */
export interface Parameter {
  readonly name: string;
  readonly type: "ptr" | "i32";
  readonly doc: string;
}

/**
 * A kernel: `void name(argument block, thread, threads)`, run by every thread of the team on the same arguments.
 * It reads its parameters from the argument block, splits its work by thread, and may not allocate.
 */
export interface Kernel {
  readonly name: string;
  /** Header comment: the algebra, the plan. */
  readonly doc: readonly string[];
  readonly target: Target;
  readonly parameters: readonly Parameter[];
  /** The values that hold the parameters at entry, in order. */
  readonly parameterValues: readonly Value[];
  readonly thread: Value<"i32">;
  readonly threads: Value<"i32">;
  readonly body: readonly Statement[];
}

/** Bytes of one argument slot. */
export const ARGUMENT_SLOT_BYTES = 8;
