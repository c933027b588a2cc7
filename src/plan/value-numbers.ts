import type { Statement, Value } from "../ir/types.ts";

export type Loop = Extract<Statement, { kind: "loop" }>;
export type Op = Extract<Statement, { kind: "op" }>;

/**
 * Numbers of a kernel's values, as compilers see them: equal expressions, and equal loads with no store in between, are
 * one value. Those of variables are negative.
 */
export class ValueNumbers {
  private readonly constants = new Map<number, number>();
  private readonly first = new Map<number, number>();
  private readonly uses = new Map<number, number>();

  constructor(kernel: readonly Statement[]) {
    this.number(kernel, new Map());
  }

  of(value: Value): number {
    return value.variable === undefined ? (this.first.get(value.id) ?? value.id) : -1 - value.variable.id;
  }

  constant(value: Value): number | undefined {
    return this.constants.get(this.of(value));
  }

  /** Whether the op computes what is known already. */
  isRepeated({ op, result }: Op): boolean {
    return result !== undefined && op !== "vsumjoin" && this.first.has(result.id);
  }

  /** How often the value is read. */
  usesOf(value: Value): number {
    return this.uses.get(this.of(value)) ?? 0;
  }

  private number(body: readonly Statement[], outer: ReadonlyMap<string, number>): void {
    const known = new Map(outer);
    for (const s of body) {
      if (s.kind === "op" && this.isKnown(s, known)) continue;
      // The sum of a chain stays in one register.
      const before = sumBefore(s);
      if (before !== undefined) this.first.set(before.result.id, this.of(before.sum));
      for (const value of readBy(s)) this.uses.set(this.of(value), (this.uses.get(this.of(value)) ?? 0) + 1);
      for (const inner of innerOf(s)) this.number(inner, known);
    }
  }

  private isKnown({ op, operands, attributes, result }: Op, known: Map<string, number>): boolean {
    if (result === undefined) {
      if (op !== "prefetch" && op !== "touch") known.clear();
      return false;
    }
    if (op === "iconst") this.constants.set(result.id, attributes.value as number);
    const values = operands.map((v) => (v.variable === undefined ? this.of(v) : `variable ${v.id}`));
    const text = `${op} ${values.join()} ${Object.values(attributes).join()}`;
    const same = known.get(text);
    if (same === undefined) known.set(text, result.id);
    else this.first.set(result.id, same);
    return same !== undefined;
  }
}

/** The sum of a chain that goes on in a statement, and what it is called then. */
function sumBefore(s: Statement): { readonly sum: Value; readonly result: Value } | undefined {
  if ((s.kind === "dot" && s.sum?.type === "vsum") || s.kind === "close")
    return { sum: s.sum as Value, result: s.result };
  if (s.kind === "op" && s.op === "vsumjoin")
    return { sum: s.operands[0] as Value, result: s.result as Value };
  return undefined;
}

function readBy(s: Statement): readonly Value[] {
  switch (s.kind) {
    case "op":
      return s.operands;
    case "dot":
      return [s.weight, s.activation, ...(s.sum === undefined ? [] : [s.sum])];
    case "close":
      return [s.sum, ...(s.accumulator === undefined ? [] : [s.accumulator])];
    case "variable":
      return [s.initial];
    case "assign":
      return [s.value];
    case "loop":
      return [s.start, s.end, s.step];
    case "if":
      return [s.condition];
    case "comment":
      return [];
  }
}

/** The statements within a statement. */
export function innerOf(s: Statement): readonly (readonly Statement[])[] {
  return s.kind === "loop" ? [s.body] : s.kind === "if" ? [s.body, s.otherwise] : [];
}
