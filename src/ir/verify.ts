import { InternalError } from "../base/errors.ts";
import { type DotOpName, OPS, type OpName, resultBits } from "./ops.ts";
import { printStatement } from "./print.ts";
import type { Kernel, Statement, Target, Type, Value, Variable } from "./types.ts";
import { attributeProblems } from "./verify-attributes.ts";

type Of<K extends Statement["kind"]> = Extract<Statement, { kind: K }>;

/** Problems listed in one error. */
const LISTED = 20;

/** Operands whose value, where it is a constant, must lie in a range. */
const CONSTANT_OPERANDS: {
  readonly [N in OpName]?: { operand: number; low: number; high: (t: Target) => number };
} = {
  ishl: { operand: 1, low: 0, high: () => 31 },
  ishr: { operand: 1, low: 0, high: () => 31 },
  idiv: { operand: 1, low: 1, high: () => Number.POSITIVE_INFINITY },
  irem: { operand: 1, low: 1, high: () => Number.POSITIVE_INFINITY },
  addrv: { operand: 2, low: 0, high: () => Number.POSITIVE_INFINITY },
  vfloadn: { operand: 1, low: 0, high: (target) => target.lanes },
  vfstoren: { operand: 1, low: 0, high: (target) => target.lanes },
};

/**
 * Checks that a kernel is well-formed: types, attributes, single definition before use and in scope, ranges of codes,
 * and that no variable's value is used after the variable was assigned again. Throws an `InternalError` that lists
 * the problems.
 */
export function verify(kernel: Kernel): void {
  const problems = new Verifier(kernel).run();
  if (problems.length === 0) return;
  const more = problems.length > LISTED ? [`and ${problems.length - LISTED} more`] : [];
  const list = [...problems.slice(0, LISTED), ...more].map((p) => `\n  ${p}`).join("");
  throw new InternalError(`kernel ${kernel.name}:${list}`);
}

interface OpenChain {
  readonly op: DotOpName;
  readonly links: number;
  /** The widest code so far. */
  readonly bits: number;
  readonly scope: number;
}

class Verifier {
  private readonly problems: string[] = [];
  private readonly defined = new Set<number>();
  private readonly visible = new Map<number, Value | Variable>();
  /** Variable → id of the latest assignment that may have run; a read with a smaller id is stale. */
  private assigned = new Map<number, number>();
  private readonly constants = new Map<number, number>();
  /** Chains of dots that may go on, by the id of their sum. */
  private readonly chains = new Map<number, OpenChain>();
  /** The block of the statement at hand; every block has a number of its own. */
  private scopeId = 0;
  private scopes = 0;
  private at: Statement | undefined;

  constructor(private readonly kernel: Kernel) {}

  run(): readonly string[] {
    const { parameters, parameterValues, thread, threads, body } = this.kernel;
    this.target();
    if (parameters.length !== parameterValues.length)
      this.problem(`${parameters.length} parameters, ${parameterValues.length} parameter values`);
    parameters.forEach(({ name, type }, i) => {
      const value = parameterValues[i];
      if (value !== undefined && value.type !== type)
        this.problem(`parameter ${name} is ${type}, its value ${value.type}`);
      if (parameters.findIndex((p) => p.name === name) !== i) this.problem(`two parameters ${name}`);
    });
    for (const value of parameterValues) this.define(value);
    for (const value of [thread, threads]) {
      if (value.type !== "i32") this.problem(`${value.name ?? "thread"} is ${value.type}`);
      this.define(value);
    }
    this.statements(body);
    return this.problems;
  }

  private problem(text: string): void {
    this.problems.push(this.at === undefined ? text : `${printStatement(this.at)}: ${text}`);
  }

  private target(): void {
    const { lanes, dotByte } = this.kernel.target;
    if (!(lanes >= 4 && Number.isInteger(Math.log2(lanes)))) this.problem(`a register of ${lanes} lanes`);
    const bytes = new Set(Array.from({ length: 4 * lanes }, (_, k) => dotByte(k >> 2, k & 3)));
    if (bytes.size !== 4 * lanes || [...bytes].some((byte) => !(byte >= 0 && byte < 4 * lanes)))
      this.problem("dotByte does not give every byte of a register to one lane");
  }

  private define(value: Value | Variable): void {
    const isRead = "variable" in value && value.variable !== undefined;
    if (isRead) this.problem(`defines a read of ${value.variable?.name ?? "a variable"}`);
    if (this.defined.has(value.id)) this.problem(`id ${value.id} is defined twice`);
    const { bits } = value;
    const inRange = bits !== undefined && Number.isInteger(bits) && bits >= 1 && bits <= 8;
    if (value.type === "vu8" && !inRange) this.problem(`a vu8 of ${bits} bits`);
    if (value.type !== "vu8" && bits !== undefined) this.problem(`a ${value.type} with bits`);
    this.defined.add(value.id);
    this.visible.set(value.id, value);
  }

  private use(value: Value | undefined, type: Type, role: string): void {
    if (value === undefined) {
      this.problem(`${role} is missing`);
      return;
    }
    if (value.type !== type) this.problem(`${role} is ${value.type}, must be ${type}`);
    const { id, name } = value.variable ?? value;
    const definition = this.visible.get(id);
    if (definition === undefined) {
      const problem = this.defined.has(id) ? "is out of scope" : "is used before its definition";
      this.problem(`${role} (${name ?? value.type}, id ${id}) ${problem}`);
    } else if (definition.type !== value.type || definition.bits !== value.bits) {
      this.problem(`${role} is ${describe(value)}, but was defined as ${describe(definition)}`);
    }
    if (value.variable !== undefined && value.id < (this.assigned.get(id) ?? 0))
      this.problem(`${role} is a value of ${name ?? "a variable"}, which was assigned since`);
  }

  private statements(statements: readonly Statement[]): void {
    for (const s of statements) {
      this.at = s;
      this.statement(s);
    }
    this.at = undefined;
  }

  /** Statements with a scope of their own. */
  private scope(statements: readonly Statement[]): void {
    const outer = new Set(this.visible.keys());
    const around = this.scopeId;
    this.scopeId = ++this.scopes;
    this.statements(statements);
    this.scopeId = around;
    for (const id of this.visible.keys()) if (!outer.has(id)) this.visible.delete(id);
  }

  private statement(s: Statement): void {
    switch (s.kind) {
      case "op":
        if (s.op in OPS) this.operation(s);
        else this.problem("is not an op");
        break;
      case "dot":
        this.dot(s);
        break;
      case "close":
        this.close(s);
        break;
      case "variable":
        this.use(s.initial, s.variable.type, "the initial value");
        if (s.variable.type === "vsum") this.problem("a chain cannot be kept in a variable");
        if (s.initial.bits !== s.variable.bits)
          this.problem(`the initial value is ${describe(s.initial)}, the variable ${describe(s.variable)}`);
        this.define(s.variable);
        break;
      case "assign":
        this.assign(s);
        break;
      case "loop":
        this.loop(s);
        break;
      case "if":
        this.branch(s);
        break;
      case "comment":
        break;
    }
  }

  private operation(s: Of<"op">): void {
    const spec = OPS[s.op];
    const types: readonly Type[] = spec.operands;
    if (s.operands.length !== types.length)
      this.problem(`has ${s.operands.length} operands, must have ${types.length}`);
    types.forEach((type, i) => this.use(s.operands[i], type, `operand ${i}`));
    for (const problem of attributeProblems(s.op, s.attributes, this.kernel.target)) this.problem(problem);
    this.ranges(s);
    if (s.op === "vsumjoin") this.join(s);
    if (s.op === "vsumpair") for (const operand of s.operands) this.extend("dot", operand);
    if ((s.result?.type ?? null) !== spec.result)
      this.problem(`results in ${s.result?.type ?? "nothing"}, must be ${spec.result ?? "nothing"}`);
    if (s.result === undefined) return;
    const operandBits = s.operands.map((o) => o.bits);
    if (s.result.type === "vu8" && s.result.bits !== resultBits(s.op, operandBits, s.attributes))
      this.problem(`the result has ${s.result.bits} bits`);
    if (s.op === "iconst") this.constants.set(s.result.id, s.attributes.value as number);
    this.define(s.result);
  }

  /** Run-time ranges, as far as they are known here. */
  private ranges(s: Of<"op">): void {
    const { table } = s.attributes;
    const indexes = 2 ** (s.operands[0]?.bits ?? 8);
    if (s.op === "vlookup" && typeof table === "object" && indexes > table.length)
      this.problem(`the index may be ${table.length} or more`);
    if (s.op === "vu8lookup" && (s.operands[1]?.bits ?? 8) > 4) this.problem("the index may be 16 or more");
    const rule = CONSTANT_OPERANDS[s.op];
    const operand = rule === undefined ? undefined : s.operands[rule.operand];
    const value = operand === undefined ? undefined : this.constants.get(operand.id);
    if (rule === undefined || value === undefined) return;
    if (value < rule.low || value > rule.high(this.kernel.target))
      this.problem(`operand ${rule.operand} is ${value}`);
  }

  private dot(s: Of<"dot">): void {
    const bits = s.weight.bits ?? 8;
    const before = s.sum?.type === "vsum" ? this.extend(s.op, s.sum) : this.open(s, bits);
    const chain = { ...before, links: before.links + 1, bits: Math.max(before.bits, bits) };
    this.chains.set(s.result.id, chain);
    if (chain.links > this.kernel.target.dotLinks(chain.bits))
      this.problem(`${chain.links} links with codes of ${chain.bits} bits`);
    this.use(s.weight, "vu8", "the weight");
    this.use(s.activation, "vi8", "the activation");
    if (s.op === "dot" && bits > 7) this.problem("weights of 8 bits need dot8");
    if (s.result.type !== "vsum") this.problem(`results in ${s.result.type}, must be vsum`);
    this.define(s.result);
  }

  private close(s: Of<"close">): void {
    const chain = this.extend(s.op, s.sum);
    const inPlace = this.kernel.target.dotLinks(chain.bits) === Number.POSITIVE_INFINITY;
    if (s.accumulator !== undefined) this.use(s.accumulator, "vi32", "the accumulator");
    if (inPlace !== (s.accumulator === undefined))
      this.problem(inPlace ? "the accumulator is added twice" : "the accumulator is missing");
    if (s.result.type !== "vi32") this.problem(`results in ${s.result.type}, must be vi32`);
    this.define(s.result);
  }

  /** A chain before its first link, which has the accumulator exactly where the target adds in place. */
  private open({ op, sum }: Of<"dot">, bits: number): OpenChain {
    const inPlace = this.kernel.target.dotLinks(bits) === Number.POSITIVE_INFINITY;
    if (sum !== undefined) this.use(sum, "vi32", "the accumulator");
    if (inPlace !== (sum !== undefined))
      this.problem(`the first link has ${inPlace ? "no" : "an"} accumulator`);
    return { op, links: 0, bits, scope: this.scopeId };
  }

  /** The open chain that a sum belongs to. A sum is used once, in the block that opened its chain. */
  private extend(op: DotOpName, sum: Value): OpenChain {
    this.use(sum, "vsum", "the sum");
    const chain = this.chains.get(sum.id);
    this.chains.delete(sum.id);
    if (chain === undefined) this.problem("the sum is not that of an open chain");
    if (chain !== undefined && chain.scope !== this.scopeId)
      this.problem("the chain was opened in another block");
    if (chain !== undefined && chain.op !== op) this.problem(`a chain of ${chain.op}`);
    return chain ?? { op, links: 0, bits: 1, scope: this.scopeId };
  }

  /** Two chains become one, in which codes of the second are shifted down. */
  private join({ operands, attributes, result }: Of<"op">): void {
    const [low, high] = operands.map((sum) => this.extend("dot", sum));
    if (low === undefined || high === undefined || result === undefined) return;
    const bits = Math.max(low.bits, high.bits - Number(attributes.shift));
    const links = low.links + high.links;
    if (links > this.kernel.target.dotLinks(bits))
      this.problem(`${links} joined links with codes of ${bits} bits`);
    this.chains.set(result.id, { ...low, links, bits });
  }

  private assign(s: Of<"assign">): void {
    const variable = this.visible.get(s.variable.id);
    if (variable === undefined) this.problem(`${s.variable.name ?? "the variable"} is not in scope`);
    this.use(s.value, s.variable.type, "the value");
    if ((s.value.bits ?? 0) > (s.variable.bits ?? 0))
      this.problem(`the value is ${describe(s.value)}, the variable ${describe(s.variable)}`);
    this.assigned.set(s.variable.id, s.id);
  }

  private loop(s: Of<"loop">): void {
    this.use(s.start, "i32", "the start");
    this.use(s.end, "i32", "the end");
    this.use(s.step, "i32", "the step");
    const step = this.constants.get(s.step.id);
    if (step !== undefined && step < 1) this.problem(`the step is ${step}`);
    if (s.index.type !== "i32") this.problem(`the index is ${s.index.type}`);
    // In any trip but the first, the assignments of the whole body have run: reads from before the loop are stale.
    for (const id of assignedIn(s.body))
      this.assigned.set(id, Math.max(this.assigned.get(id) ?? 0, s.index.id));
    this.define(s.index);
    this.scope(s.body);
    this.visible.delete(s.index.id);
  }

  private branch(s: Of<"if">): void {
    this.use(s.condition, "i32", "the condition");
    const before = this.assigned;
    this.assigned = new Map(before);
    this.scope(s.body);
    const afterBody = this.assigned;
    this.assigned = new Map(before);
    this.scope(s.otherwise);
    for (const [variable, id] of afterBody)
      this.assigned.set(variable, Math.max(this.assigned.get(variable) ?? 0, id));
  }
}

function describe(value: Value | Variable): string {
  return value.bits === undefined ? value.type : `${value.type} of ${value.bits} bits`;
}

function assignedIn(statements: readonly Statement[]): Set<number> {
  const ids = new Set<number>();
  for (const s of statements) {
    if (s.kind === "assign") ids.add(s.variable.id);
    const nested = s.kind === "loop" ? [s.body] : s.kind === "if" ? [s.body, s.otherwise] : [];
    for (const body of nested) for (const id of assignedIn(body)) ids.add(id);
  }
  return ids;
}
