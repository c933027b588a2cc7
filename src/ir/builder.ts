import { assert } from "../base/assert.ts";
import { Chain } from "./chain.ts";
import { type DotOpName, OPS, type OpName, resultBits } from "./ops.ts";
import type { Attributes, Kernel, Parameter, Statement, Target, Type, Value, Variable } from "./types.ts";

type Spec<N extends OpName> = (typeof OPS)[N];
type ValuesOf<T extends readonly Type[]> = { -readonly [I in keyof T]: Value<T[I]> };
type OperandsOf<N extends OpName> = ValuesOf<Spec<N>["operands"]>;
type AttributesOf<N extends OpName> = {
  readonly [A in Spec<N>["attributes"][number]]: A extends "lanes" | "table" ? readonly number[] : number;
};
type ResultOf<N extends OpName> = Spec<N>["result"] extends Type
  ? Value<Spec<N>["result"] & Type>
  : undefined;

/** One method per op: operands first, then the attributes if the op has any. */
export type OpMethods = {
  readonly [N in OpName]: Spec<N>["attributes"] extends readonly []
    ? (...operands: OperandsOf<N>) => ResultOf<N>
    : (...args: [...OperandsOf<N>, AttributesOf<N>]) => ResultOf<N>;
};

/** A mutable local: `get()` is its current content, `set()` assigns. */
export interface Cell<T extends Type> {
  get(): Value<T>;
  set(value: Value<T>): void;
}

/**
 * Writes a kernel. Ordinary TypeScript loops around builder calls unroll; `loop` makes a loop of the generated code.
 * `b.op.…` has one method per op; the short methods here add constants, comparisons and the usual idioms.
 */
export class KernelBuilder {
  readonly op: OpMethods;
  readonly thread: Value<"i32">;
  readonly threads: Value<"i32">;
  private readonly parameters: Parameter[] = [];
  private readonly parameterValues: Value[] = [];
  private block: Statement[] = [];
  private nextId = 0;

  constructor(readonly target: Target) {
    this.thread = this.value("i32", undefined, "thread");
    this.threads = this.value("i32", undefined, "threads");
    const methods: Record<string, unknown> = {};
    for (const name of Object.keys(OPS) as OpName[])
      methods[name] = (...args: unknown[]) => this.emit(name, args);
    this.op = methods as OpMethods;
  }

  /** Lanes of the target, L. */
  get lanes(): number {
    return this.target.lanes;
  }

  parameter<T extends Parameter["type"]>(name: string, type: T, doc: string): Value<T> {
    const value = this.value(type, undefined, name);
    this.parameters.push({ name, type, doc });
    this.parameterValues.push(value);
    return value;
  }

  private value<T extends Type>(type: T, bits?: number, name?: string): Value<T> {
    const value: Value<T> = { id: this.nextId++, type, ...(bits === undefined ? {} : { bits }) };
    if (name !== undefined) value.name = name;
    return value;
  }

  private emit(op: OpName, args: unknown[]): Value | undefined {
    const spec = OPS[op];
    const operands = args.slice(0, spec.operands.length) as Value[];
    const attributes = (args[spec.operands.length] ?? {}) as Attributes;
    const bits =
      spec.result === "vu8"
        ? resultBits(
            op,
            operands.map((o) => o.bits),
            attributes,
          )
        : undefined;
    const result = spec.result === null ? undefined : this.value(spec.result, bits);
    this.block.push({ kind: "op", op, operands, attributes, ...(result === undefined ? {} : { result }) });
    return result;
  }

  /**
   * Opens a chain of dot products on codes of at most `bits` bits, `dot` or `dot8` by that unless told otherwise. The
   * accumulator is asked for when the target needs it: with the first link where it adds in place, else when the chain
   * is closed.
   */
  chain(bits: number, accumulator: () => Value<"vi32">, name?: string, op?: DotOpName): Chain {
    const writer = {
      target: this.target,
      op: this.op,
      sum: () => this.value("vsum", undefined, name),
      total: () => this.value("vi32"),
      push: (statement: Statement) => this.block.push(statement),
    };
    return new Chain(writer, op ?? (bits <= 7 ? "dot" : "dot8"), bits, accumulator);
  }

  /** acc + the four-byte products per lane of every (w, x) pair, as one chain. */
  dot(
    accumulator: Value<"vi32">,
    weights: readonly Value<"vu8">[],
    activations: readonly Value<"vi8">[],
  ): Value<"vi32"> {
    assert(weights.length === activations.length && weights.length > 0, "dot: chains of different length");
    const bits = Math.max(...weights.map((w) => w.bits ?? 8));
    const chain = this.chain(bits, () => accumulator);
    weights.forEach((w, i) => chain.add(w, activations[i] as Value<"vi8">));
    return chain.close();
  }

  /** Gives a value the name it has in generated code. */
  named<V extends Value>(name: string, value: V): V {
    value.name = name;
    return value;
  }

  i(value: number): Value<"i32"> {
    return this.op.iconst({ value });
  }

  f(value: number): Value<"f32"> {
    return this.op.fconst({ value });
  }

  comment(text: string): void {
    this.block.push({ kind: "comment", text });
  }

  variable<T extends Type>(name: string, initial: Value<T>): Cell<T> {
    const bits = initial.bits === undefined ? {} : { bits: initial.bits };
    const variable: Variable<T> = { id: this.nextId++, type: initial.type, name, ...bits };
    this.block.push({ kind: "variable", variable, initial });
    return {
      get: () => ({ id: this.nextId++, type: initial.type, variable, ...bits }) as Value<T>,
      set: (value) => {
        this.block.push({ kind: "assign", id: this.nextId++, variable, value });
      },
    };
  }

  /** for (index = start; index < end; index += step). Constants may be given as numbers. */
  loop(
    name: string,
    start: Value<"i32"> | number,
    end: Value<"i32"> | number,
    step: Value<"i32"> | number,
    body: (index: Value<"i32">) => void,
  ): void {
    const bound = (v: Value<"i32"> | number) => (typeof v === "number" ? this.i(v) : v);
    const [from, to, by] = [bound(start), bound(end), bound(step)];
    const index = this.value("i32", undefined, name);
    const statements = this.nested(() => body(index));
    this.block.push({ kind: "loop", index, start: from, end: to, step: by, body: statements });
  }

  if(condition: Value<"i32">, then: () => void, otherwise: () => void = () => {}): void {
    const yes = this.nested(then);
    const no = this.nested(otherwise);
    this.block.push({ kind: "if", condition, body: yes, otherwise: no });
  }

  private nested(body: () => void): Statement[] {
    const outer = this.block;
    this.block = [];
    body();
    const inner = this.block;
    this.block = outer;
    return inner;
  }

  /** The finished kernel. `doc` becomes its header comment. */
  build(name: string, doc: readonly string[]): Kernel {
    return {
      name,
      doc,
      target: this.target,
      parameters: this.parameters,
      parameterValues: this.parameterValues,
      thread: this.thread,
      threads: this.threads,
      body: this.block,
    };
  }
}
