import { InternalError } from "../base/errors.ts";
import { printStatement } from "./print.ts";
import type { Attributes, Kernel, Statement, Type, Value, Variable } from "./types.ts";

/** A statement, ready to be executed on the registers and the memory it was compiled for. */
export type Step = () => void;

/** How an op is executed: resolves operands and attributes once, returns the step. */
export type Row = (operation: Operation) => Step;

/** The step of ops that are done once they are compiled (constants). */
export const nothing: Step = () => {};

/** The memory that kernels work on; an address is a byte offset in it. */
export class Memory {
  view: DataView = new DataView(new ArrayBuffer(0));
  size = 0;
  private buffer: ArrayBufferLike = this.view.buffer;

  attach(buffer: ArrayBufferLike): void {
    if (buffer === this.buffer && buffer.byteLength === this.size) return;
    this.buffer = buffer;
    this.view = new DataView(buffer);
    this.size = buffer.byteLength;
  }
}

/**
 * The registers of one thread: every value and variable has a slot of its own, numbered in 32-bit words, in one
 * buffer that is seen as f32, i32, bytes (register byte order, which is little-endian) and f64 (pointers). A mask is
 * 0 or −1 per lane. Storing into `f32` is the rounding of every f32 op: the f64 result of +, −, ·, / and √ on f32
 * operands rounds on to the correctly rounded f32 (Figueroa 1995).
 */
export class Registers {
  readonly i32: Int32Array;
  readonly f32: Float32Array;
  readonly u8: Uint8Array;
  readonly i8: Int8Array;
  readonly f64: Float64Array;
  /** The byte of a register at `4 · lane + i` is the i-th of those that `dot` feeds to `lane`. */
  readonly dotOrder: Int32Array;
  private readonly slots = new Map<number, number>();

  constructor(readonly kernel: Kernel) {
    const { lanes, dotByte } = kernel.target;
    let words = 0;
    for (const { id, type } of definitions(kernel)) {
      this.slots.set(id, words);
      words += wordsOf(type, lanes);
    }
    const buffer = new ArrayBuffer(4 * words);
    this.i32 = new Int32Array(buffer);
    this.f32 = new Float32Array(buffer);
    this.u8 = new Uint8Array(buffer);
    this.i8 = new Int8Array(buffer);
    this.f64 = new Float64Array(buffer);
    this.dotOrder = Int32Array.from({ length: 4 * lanes }, (_, k) => dotByte(k >> 2, k & 3));
  }

  /** First word of a value; the read of a variable is the variable itself. */
  slot(value: Value | Variable): number {
    const { id } = "variable" in value && value.variable !== undefined ? value.variable : value;
    const slot = this.slots.get(id);
    if (slot === undefined)
      throw new InternalError(
        `kernel ${this.kernel.name}: ${value.name ?? value.type} (id ${id}) is never defined`,
      );
    return slot;
  }
}

/** Words of a slot: even, so that a pointer at its start is aligned. */
export function wordsOf(type: Type, lanes: number): number {
  return type.startsWith("v") ? lanes + (lanes & 1) : 2;
}

function* definitions(kernel: Kernel): Generator<Value | Variable> {
  yield* kernel.parameterValues;
  yield kernel.thread;
  yield kernel.threads;
  yield* definitionsOf(kernel.body);
}

function* definitionsOf(statements: readonly Statement[]): Generator<Value | Variable> {
  for (const s of statements) {
    if (s.kind === "variable") yield s.variable;
    else if (s.kind === "loop") yield s.index;
    else if ((s.kind === "op" || s.kind === "dot" || s.kind === "close") && s.result !== undefined)
      yield s.result;
    if (s.kind === "loop" || s.kind === "if") yield* definitionsOf(s.body);
    if (s.kind === "if") yield* definitionsOf(s.otherwise);
  }
}

/** What a row sees of its statement: slots (`a`, `b`, `c` the operands, `r` the result) and attributes. */
export class Operation {
  readonly i32: Int32Array;
  readonly f32: Float32Array;
  readonly u8: Uint8Array;
  readonly i8: Int8Array;
  readonly f64: Float64Array;
  readonly dotOrder: Int32Array;
  readonly lanes: number;
  readonly fused: boolean;
  readonly a: number;
  readonly b: number;
  readonly c: number;
  readonly r: number;
  private readonly offset: number;
  private readonly attributes: Attributes;

  constructor(
    private readonly registers: Registers,
    readonly memory: Memory,
    private readonly statement: Extract<Statement, { kind: "op" }>,
  ) {
    ({
      i32: this.i32,
      f32: this.f32,
      u8: this.u8,
      i8: this.i8,
      f64: this.f64,
      dotOrder: this.dotOrder,
    } = registers);
    const slot = (value: Value | undefined) => (value === undefined ? -1 : registers.slot(value));
    this.lanes = registers.kernel.target.lanes;
    this.fused = registers.kernel.target.fusedMultiplyAdd;
    this.a = slot(statement.operands[0]);
    this.b = slot(statement.operands[1]);
    this.c = slot(statement.operands[2]);
    this.r = slot(statement.result);
    this.attributes = statement.attributes;
    this.offset = typeof this.attributes.offset === "number" ? this.attributes.offset : 0;
  }

  /** An attribute that is a single number. */
  number(name: string): number {
    const value = this.attributes[name];
    if (typeof value !== "number") return this.fail(`has no number ${name}`);
    return value;
  }

  /** An attribute that is a list of numbers. */
  list(name: string): Int32Array {
    const value = this.attributes[name];
    if (typeof value !== "object") return this.fail(`has no list ${name}`);
    return Int32Array.from(value);
  }

  /** The address that a memory op with pointer `a` means, whose `bytes` bytes must lie inside the memory. */
  locate(bytes: number): number {
    return this.inside(this.f64[this.a >> 1]! + this.offset, bytes);
  }

  /** `address`, checked. */
  inside(address: number, bytes: number): number {
    if (!(address >= 0 && address + bytes <= this.memory.size))
      this.fail(`${bytes} bytes at ${address} are outside the memory of ${this.memory.size}`);
    return address;
  }

  fail(problem: string): never {
    return failure(this.registers.kernel, this.statement, problem);
  }
}

/** Reports what a kernel did wrong at run time. */
export function failure(kernel: Kernel, statement: Statement, problem: string): never {
  throw new InternalError(`kernel ${kernel.name}: ${printStatement(statement)}: ${problem}`);
}
