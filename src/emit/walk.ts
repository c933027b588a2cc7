import { assert } from "../base/assert.ts";
import { OPS, type OpName, type ScalarOpName, VECTOR_OPS, type VectorOpName } from "../ir/ops.ts";
import {
  type Kernel,
  type Statement,
  type Type,
  VALUE_PREFIX,
  type Value,
  type Variable,
} from "../ir/types.ts";
import type { Isa, Row } from "../isa/isa.ts";
import type { Syntax } from "./syntax.ts";

type OpStatement = Extract<Statement, { kind: "op" }>;
type DotStatement = Extract<Statement, { kind: "dot" }>;
type CloseStatement = Extract<Statement, { kind: "close" }>;

/** Longest expression that is folded into the one that uses it. */
const FOLD_CHARACTERS = 72;

/** Prints a kernel in a syntax: the one walk over the IR. Returns the lines of one function. */
export function walk(kernel: Kernel, isa: Isa, syntax: Syntax): string[] {
  return new Walk(kernel, isa, syntax).run();
}

class Walk {
  private readonly names = new Map<number, string>();
  private readonly taken = new Set<string>(["arguments", "team"]);
  private readonly counters = new Map<string, number>();
  private readonly uses = new Map<number, number>();
  /** Pure single-use expressions of the current block, not printed yet. */
  private readonly pending = new Map<number, { value: Value; text: string; block: number }>();
  private readonly declared: { name: string; type: Type }[] = [];
  private readonly constants = new Set<string>();
  /** Value that the next statement assigns to a variable. */
  private assignedNext: number | undefined;
  private block = 0;
  private nextBlock = 1;
  private lines: string[] = [];

  constructor(
    private readonly kernel: Kernel,
    private readonly isa: Isa,
    private readonly syntax: Syntax,
  ) {
    for (const name of Object.keys(isa.constants)) this.taken.add(name);
  }

  run(): string[] {
    countUses(this.kernel.body, this.uses);
    const parameters = this.kernel.parameterValues.map((v) => this.define(v));
    const thread = this.define(this.kernel.thread);
    const threads = this.define(this.kernel.threads);
    const body = this.nested(this.kernel.body);
    const locals = { parameters, thread, threads, declared: this.declared, constants: [...this.constants] };
    return this.syntax.function(this.kernel, this.isa, locals, body);
  }

  /** Gives a value or variable its unique name. */
  private define(value: Value | Variable): string {
    const known = this.names.get(value.id);
    if (known !== undefined) return known;
    const base = value.name ?? VALUE_PREFIX[value.type];
    let name = base;
    if (value.name === undefined || this.taken.has(name)) {
      let n = this.counters.get(base) ?? (value.name === undefined ? 0 : 2);
      do name = `${base}${/\d$/.test(base) ? "_" : ""}${n++}`;
      while (this.taken.has(name));
      this.counters.set(base, n);
    }
    this.taken.add(name);
    this.names.set(value.id, name);
    return name;
  }

  private nested(statements: readonly Statement[]): string[] {
    const [outerLines, outerBlock] = [this.lines, this.block];
    this.lines = [];
    this.block = this.nextBlock++;
    for (const [i, statement] of statements.entries()) {
      const next = statements[i + 1];
      this.assignedNext = next?.kind === "assign" ? next.value.id : undefined;
      this.statement(statement);
    }
    const inner = this.lines;
    this.lines = outerLines;
    this.block = outerBlock;
    return inner;
  }

  private statement(s: Statement): void {
    switch (s.kind) {
      case "op":
        this.operation(s);
        return;
      case "dot":
        this.dot(s);
        return;
      case "close":
        this.close(s);
        return;
      case "comment":
        this.lines.push(...this.syntax.comment(s.text));
        return;
      case "variable": {
        const initial = this.operand(s.initial, true);
        const name = this.declareLocal(s.variable);
        this.lines.push(...this.syntax.variable(s.variable.type, name, initial));
        return;
      }
      case "assign": {
        const value = this.operand(s.value, true);
        this.lines.push(...this.syntax.assign(this.nameOf(s.variable), value));
        return;
      }
      case "loop": {
        const start = this.operand(s.start, true);
        const [end, step] = [this.bound(s.end), this.bound(s.step)];
        const index = this.declareLocal(s.index);
        this.lines.push(...this.syntax.loop(index, start, end, step, this.nested(s.body)));
        return;
      }
      case "if": {
        const condition = this.operand(s.condition, true);
        const [body, otherwise] = [this.nested(s.body), this.nested(s.otherwise)];
        this.lines.push(...this.syntax.branch(condition, body, otherwise));
      }
    }
  }

  private operation(s: OpStatement): void {
    const row =
      s.op in VECTOR_OPS ? this.isa.rows[s.op as VectorOpName] : this.syntax.scalarRows[s.op as ScalarOpName];
    assert(row !== undefined, `${this.isa.name} has no ${s.op}`);
    const template = this.template(row, s);
    const hasOffset = "offset" in s.attributes && s.op !== "addr";
    const operands = s.operands.map((o, i) => this.operand(o, occurrences(template, i) <= 1));
    let at = "";
    if (hasOffset) {
      const address = this.syntax.address(operands[0] as string, s.attributes.offset as number);
      operands[0] = address.operand;
      at = address.at;
    }
    const text = template
      .replaceAll(/\$(\d)/g, (_, i) => operands[Number(i)] as string)
      .replaceAll("@", () => at);
    if (s.op === "vsumjoin") this.goOn(s.operands[0] as Value, s.result as Value, text);
    else
      this.result(s.result, text, OPS[s.op].pure && s.operands.every((o) => o.variable === undefined), s.op);
  }

  /** A sum of a chain goes on in the local of the one before. */
  private goOn(before: Value, sum: Value, text: string): void {
    const name = this.nameOf(before);
    this.names.set(sum.id, name);
    this.lines.push(...this.syntax.assign(name, text));
  }

  /** Evaluates the row, fills in attributes and notes the hoisted constants. */
  private template(row: Row, s: OpStatement): string {
    const number = (name: string): number => {
      const value = s.attributes[name];
      assert(typeof value === "number", `${s.op} has no number ${name}`);
      return value;
    };
    const text =
      typeof row === "string" ? row : row({ attributes: s.attributes, number, lanes: this.isa.lanes });
    return this.hoisted(text.replaceAll(/\{(\w+)\}/g, (_, name) => String(number(name))));
  }

  private hoisted(text: string): string {
    return text.replaceAll(/#(\w+)/g, (_, name) => {
      this.constants.add(name);
      return this.syntax.use(name);
    });
  }

  /** All links of a chain share one local: a sum is used once. */
  private dot(s: DotStatement): void {
    const { first, next } = this.isa.dot[s.op];
    const opens = s.sum === undefined || s.sum.type === "vi32";
    const row = s.sum === undefined ? first : next;
    assert(row !== undefined, `${this.isa.name} has no first link of ${s.op}`);
    const fold = opens && occurs(row, "$s") <= 1;
    const operands: Record<string, string> = {
      s: s.sum === undefined ? "" : this.operand(s.sum, fold),
      w: this.operand(s.weight, occurs(row, "$w") <= 1),
      x: this.operand(s.activation, occurs(row, "$x") <= 1),
    };
    const text = this.hoisted(row).replaceAll(/\$([swx])\b/g, (_, name) => operands[name] as string);
    if (opens) {
      this.lines.push(...this.syntax.variable(s.result.type, this.declareLocal(s.result), text));
      return;
    }
    this.goOn(s.sum, s.result, text);
  }

  /** Where the target adds in place, the open sum is the result. */
  private close(s: CloseStatement): void {
    const { close } = this.isa.dot[s.op];
    if (s.accumulator === undefined) {
      this.names.set(s.result.id, this.nameOf(s.sum));
      return;
    }
    assert(close !== undefined, `${this.isa.name} does not close ${s.op}`);
    const [sum, accumulator] = [this.operand(s.sum, false), this.operand(s.accumulator, true)];
    const text = this.hoisted(close).replaceAll(/\$([as])\b/g, (_, name) =>
      name === "s" ? sum : accumulator,
    );
    this.result(s.result, text, s.accumulator.variable === undefined, undefined);
  }

  /** Prints, or keeps for folding, the value that an expression defines. */
  private result(value: Value | undefined, text: string, foldable: boolean, op: OpName | undefined): void {
    if (value === undefined) {
      this.lines.push(...this.syntax.statement(text));
      return;
    }
    const constant = op === "iconst" || op === "fconst";
    const single =
      (this.uses.get(value.id) ?? 0) <= 1 && value.name === undefined && text.length <= FOLD_CHARACTERS;
    const assigned =
      this.assignedNext === value.id && value.name === undefined && this.uses.get(value.id) === 1;
    if (constant || assigned || (foldable && single)) {
      this.pending.set(value.id, { value, text, block: constant ? -1 : this.block });
      return;
    }
    this.lines.push(...this.syntax.declare(value.type, this.declareLocal(value), text));
  }

  private declareLocal(value: Value | Variable): string {
    const name = this.define(value);
    this.declared.push({ name, type: value.type });
    return name;
  }

  private nameOf(value: Value | Variable): string {
    const name = this.names.get(value.id);
    assert(
      name !== undefined,
      `value ${value.id} (${value.name ?? value.type}) is used before its definition`,
    );
    return name;
  }

  /** Text of a loop bound, which the body reads again: a variable is copied, since the body may assign it. */
  private bound(value: Value): string {
    const text = this.operand(value, false);
    if (value.variable === undefined) return text;
    const name = this.declareLocal(value);
    this.lines.push(...this.syntax.declare(value.type, name, text));
    return this.syntax.use(name);
  }

  /** Text of an operand. `fold` allows a pending expression to be put in place; otherwise it is given a name. */
  private operand(value: Value, fold: boolean): string {
    if (value.variable !== undefined) return this.syntax.use(this.nameOf(value.variable));
    const pending = this.pending.get(value.id);
    if (pending === undefined) return this.syntax.use(this.nameOf(value));
    if (pending.block === -1) return pending.text;
    this.pending.delete(value.id);
    if (fold) return pending.text;
    const name = this.declareLocal(value);
    this.lines.push(...this.syntax.declare(value.type, name, pending.text));
    return this.syntax.use(name);
  }
}

function occurs(template: string, operand: string): number {
  return template.split(operand).length - 1;
}

/** How often a row evaluates an operand. A pointer is in `@` (C) or beside it in `$0` (WebAssembly), not both. */
function occurrences(template: string, operand: number): number {
  const direct = occurs(template, `$${operand}`);
  return operand === 0 ? Math.max(direct, occurs(template, "@")) : direct;
}

function countUses(statements: readonly Statement[], uses: Map<number, number>, weight = 1): void {
  const count = (value: Value) => uses.set(value.id, (uses.get(value.id) ?? 0) + weight);
  const nested = (body: readonly Statement[]) => {
    // A use inside a nested block counts twice, so that nothing is folded into a loop and computed again there.
    countUses(body, uses, 2);
    for (const inner of definitions(body)) {
      const n = uses.get(inner);
      if (n !== undefined) uses.set(inner, n / 2);
    }
  };
  for (const s of statements) {
    switch (s.kind) {
      case "op":
        s.operands.forEach(count);
        break;
      case "dot":
        [s.weight, s.activation, ...(s.sum === undefined ? [] : [s.sum])].forEach(count);
        break;
      case "close":
        [s.sum, ...(s.accumulator === undefined ? [] : [s.accumulator])].forEach(count);
        break;
      case "variable":
        count(s.initial);
        break;
      case "assign":
        count(s.value);
        break;
      case "loop":
        [s.start, s.end, s.step].forEach(count);
        nested(s.body);
        break;
      case "if":
        count(s.condition);
        nested(s.body);
        nested(s.otherwise);
    }
  }
}

/** Ids of the values that a block defines at its own level. */
function definitions(statements: readonly Statement[]): number[] {
  return statements.flatMap((s) => ("result" in s && s.result !== undefined ? [s.result.id] : []));
}
