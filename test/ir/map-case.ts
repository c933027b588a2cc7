import { assert } from "../../src/base/assert.ts";
import type { KernelBuilder } from "../../src/ir/builder.ts";
import { OPS, type OpName } from "../../src/ir/ops.ts";
import type { Attributes, Target, Type, Value } from "../../src/ir/types.ts";
import { Draft, type OpCase } from "./case-draft.ts";
import { words } from "./corner-values.ts";

/** One operand over all trips: elements of `type`, one after the other. */
export interface Column {
  readonly type: Type;
  readonly bytes: Uint8Array;
  /** Range of the codes of a `vu8`. */
  readonly bits?: number;
}

export const isVector = (type: Type) => type.startsWith("v");

export const elementBytes = (type: Type, lanes: number) => (isVector(type) ? 4 * lanes : 4);

/** Any op by name. */
export function call(b: KernelBuilder, op: OpName, operands: Value[], attributes: Attributes = {}): Value {
  const methods = b.op as unknown as Record<string, (...args: unknown[]) => Value>;
  return methods[op]!(...operands, attributes);
}

const LOADS: { readonly [T in Type]?: OpName } = {
  i32: "iload",
  f32: "fload",
  vf32: "vfload",
  vi32: "viload",
  vu8: "vu8load",
  vi8: "vbroadcast4",
};

const STORES: { readonly [T in Type]?: OpName } = {
  i32: "istore",
  f32: "fstore",
  vf32: "vfstore",
  vi32: "vistore",
  vu8: "vu8store",
};

/** An operand from memory; a mask is the sign of an i32 per lane. */
export function loadElement(b: KernelBuilder, type: Type, p: Value<"ptr">, bits = 8): Value {
  if (type === "vmask") return b.op.vilt(b.op.viload(p, { offset: 0 }), b.op.viconst({ value: 0 }));
  const op = LOADS[type];
  assert(op !== undefined, `${type} is not loaded`);
  return call(b, op, [p], type === "vu8" ? { offset: 0, bits } : { offset: 0 });
}

/** A result to memory; a mask as −1 or 0 per lane. */
export function storeElement(b: KernelBuilder, p: Value<"ptr">, value: Value, offset = 0): void {
  if (value.type === "vmask") {
    const [yes, no] = [b.op.viconst({ value: -1 }), b.op.viconst({ value: 0 })];
    b.op.vistore(p, b.op.viselect(value as Value<"vmask">, yes, no), { offset });
    return;
  }
  const op = STORES[value.type];
  assert(op !== undefined, `${value.type} is not stored`);
  call(b, op, [p, value], { offset });
}

/** An op applied to every element of its columns in a loop. */
export function mapCase(
  target: Target,
  op: OpName,
  detail: string,
  columns: readonly Column[],
  attributes: Attributes = {},
  compare: OpCase["compare"] = "bits",
): OpCase {
  const { lanes } = target;
  const [first] = columns;
  const { result } = OPS[op];
  assert(first !== undefined && result !== null, `${op} is not a map`);
  const size = elementBytes(result, lanes);
  const count = first.bytes.length / elementBytes(first.type, lanes);
  const d = new Draft(target, detail === "" ? op : `${op} ${detail}`, op, compare);
  const { b } = d;
  const inputs = columns.map(({ bytes }, k) => d.input(`x${k}`, bytes));
  const out = d.output(count * size);
  b.loop("i", 0, d.int("count", count), 1, (i) => {
    const operands = columns.map(({ type, bits }, k) => {
      const p = b.op.addr(inputs[k]!, i, { stride: elementBytes(type, lanes), offset: 0 });
      return loadElement(b, type, p, bits);
    });
    storeElement(b, b.op.addr(out, i, { stride: size, offset: 0 }), call(b, op, operands, attributes));
  });
  return d.finish();
}

/** Columns from rows of 32-bit operands: one row per trip for scalars, one per lane for vectors. */
export function columnsOf(target: Target, types: readonly Type[], rows: readonly number[][]): Column[] {
  const vector = types.some(isVector);
  const trips = vector ? Math.ceil(rows.length / target.lanes) : rows.length;
  const count = vector ? trips * target.lanes : trips;
  return types.map((type, k) => ({
    type,
    bytes: words(Array.from({ length: count }, (_, i) => rows[i % rows.length]![k]!)),
  }));
}
