import { assert } from "../base/assert.ts";
import type { Statement, Value } from "../ir/types.ts";
import type { Isa } from "../isa/isa.ts";
import type { Blocking } from "../kernels/blocking.ts";
import { expansionAlone, microGemvAlone } from "../kernels/projection.ts";
import { CHUNK } from "../quant/formats.ts";
import { inputUnit } from "./candidates.ts";
import { closeCost, costOf, isVector, linkCost, type OpCost, PRODUCT_LATENCY } from "./op-costs.ts";
import { allocate, type RegisterUse, type Use } from "./register-allocation.ts";
import type { ProjectionShape } from "./shape.ts";
import { innerOf, type Loop, type Op, ValueNumbers } from "./value-numbers.ts";

/** Code without loops of its own, and what one run of it takes. */
export interface Region {
  /** Runs in one micro-GEMV over all inputs. */
  readonly times: number;
  /** Micro-ops: vector arithmetic; loads and stores, spilled values included; addresses, counters, branches. */
  readonly arithmetic: number;
  /** Of the arithmetic, products. */
  readonly products: number;
  readonly loads: number;
  readonly stores: number;
  readonly scalar: number;
  /** Cycles that instructions wait for one another, however many could be started at once. */
  readonly latency: number;
  readonly registers: RegisterUse;
}

/** What is counted: a micro-GEMV that reads weights as packed or expanded, or the expansion of one row tile. */
export type Piece = "packed" | "expanded" | "expansion";

/**
 * The code of one micro-GEMV, `tu` outputs × `nu` tokens × all inputs, or of the expansion of its weights, counted in
 * what is generated for it: what is outside the loop over groups first. Counted once in a process, for all numbers of
 * inputs: that takes some milliseconds.
 */
export function instructionsOf(
  isa: Isa,
  shape: ProjectionShape,
  { mu, tu, nu }: Pick<Blocking, "mu" | "tu" | "nu">,
  piece: Piece = "packed",
): readonly Region[] {
  const { format, activations } = shape;
  const cols = countedCols(shape);
  const key = JSON.stringify([piece, format, cols, activations, mu, tu, nu]);
  const known = counted.get(isa) ?? new Map<string, readonly Region[]>();
  counted.set(isa, known);
  const regions = known.get(key) ?? count(isa, { ...shape, cols }, { mb: cols, tb: tu, mu, tu, nu }, piece);
  known.set(key, regions);
  const scale = shape.cols / cols;
  return scale === 1 ? regions : regions.map((r) => (r.times > 1 ? { ...r, times: scale * r.times } : r));
}

/** Rows of whole units differ in the rounds of their loops only: two of them are enough to see which code is in loops. */
function countedCols(shape: ProjectionShape): number {
  const unit = shape.format.kind === "float" ? CHUNK : inputUnit(shape);
  return shape.cols % unit === 0 ? Math.min(shape.cols, 2 * unit) : shape.cols;
}

/** The registers of the region that has the most values alive. */
export function registersOf(regions: readonly Region[]): RegisterUse {
  return regions.map(({ registers }) => registers).reduce((a, b) => (b.alive > a.alive ? b : a));
}

const counted = new WeakMap<Isa, Map<string, readonly Region[]>>();

function count(
  isa: Isa,
  { format, cols, activations }: ProjectionShape,
  blocking: Blocking,
  piece: Piece,
): Region[] {
  const spec = { format, cols, activations, blocking };
  const body =
    piece === "expansion" ? expansionAlone(spec, isa) : microGemvAlone(spec, piece === "expanded", isa);
  return new Counter(isa, body).regions(body);
}

class Counter {
  private readonly numbers: ValueNumbers;
  private readonly found: Region[] = [];

  constructor(
    private readonly isa: Isa,
    code: readonly Statement[],
  ) {
    this.numbers = new ValueNumbers(code);
  }

  regions(body: readonly Statement[]): Region[] {
    this.region(body, 1, false);
    return this.found;
  }

  private region(body: readonly Statement[], times: number, isLoop: boolean): void {
    const code = new Code(this.isa, this.numbers);
    const loops = code.write(body);
    this.found.push(code.region(times, isLoop));
    for (const loop of loops) this.region(loop.body, times * this.trips(loop), true);
  }

  private trips({ start, end, step }: Loop): number {
    const [from, to, by] = [start, end, step].map((value) => this.numbers.constant(value));
    assert(from !== undefined && to !== undefined && by !== undefined, "a micro-GEMV has constant loops");
    return Math.max(0, Math.ceil((to - from) / by));
  }
}

/** An instruction: what it costs, and after how many cycles of each value that it reads its result is there. */
interface Instruction extends Use {
  readonly cost: OpCost;
  readonly after: readonly number[];
}

/** The instructions of a region in the order of the generated code: what is used once stands where it is used. */
class Code {
  private readonly instructions: Instruction[] = [];
  private readonly waiting = new Map<number, () => void>();

  constructor(
    private readonly isa: Isa,
    private readonly numbers: ValueNumbers,
  ) {}

  /** Appends the statements; returns their loops, whose bodies are other regions. */
  write(body: readonly Statement[]): Loop[] {
    return body.flatMap((s) => {
      if (s.kind === "op") this.op(s);
      if (s.kind === "dot") this.link(s);
      if (s.kind === "close") this.close(s);
      if (s.kind === "variable") this.move(s.initial, s.variable.id);
      if (s.kind === "assign") this.move(s.value, s.variable.id);
      if (s.kind === "if") return innerOf(s).flatMap((inner) => this.write(inner));
      if (s.kind !== "loop") return [];
      for (const key of [...this.waiting.keys()]) this.place(key);
      return [s];
    });
  }

  private op(s: Op): void {
    if (this.numbers.isRepeated(s)) return;
    const cost = this.reloaded(s, costOf(this.isa, s));
    const emit = () => {
      const reads = this.read(s.operands);
      const writes = s.result && isVector(s.result) && !isConstant(s) ? [this.numbers.of(s.result)] : [];
      this.instructions.push({ reads, writes, cost, after: reads.map(() => cost.latency) });
    };
    if (s.result === undefined) emit();
    else this.later(s.result, emit);
  }

  /** What is multiplied as it is loaded costs more loads where the compiler prefers them to a register. */
  private reloaded({ op, result }: Op, cost: OpCost): OpCost {
    if (op !== "vu8load" || result === undefined || this.isa.syntax !== "c") return cost;
    const uses = this.numbers.usesOf(result);
    return uses <= RELOADED_USES ? { ...cost, loads: cost.loads * uses } : cost;
  }

  private later(result: Value, emit: () => void): void {
    if (isVector(result) && result.name === undefined && this.numbers.usesOf(result) === 1)
      this.waiting.set(this.numbers.of(result), emit);
    else emit();
  }

  private place(key: number): void {
    const emit = this.waiting.get(key);
    this.waiting.delete(key);
    emit?.();
  }

  /** The vectors among the values, in registers. */
  private read(values: readonly Value[]): number[] {
    const keys = values.filter(isVector).map((value) => this.numbers.of(value));
    for (const key of keys) this.place(key);
    return [...new Set(keys)];
  }

  private move(value: Value, variable: number): void {
    const reads = this.read([value]);
    const writes = isVector(value) ? [-1 - variable] : [];
    this.instructions.push({
      reads,
      writes,
      cost: costOf(this.isa, MOVE),
      after: reads.map(() => 0),
    });
  }

  /** One link of a chain into its sum. */
  private link(s: Extract<Statement, { kind: "dot" }>): void {
    const cost = linkCost(this.isa, s.op);
    const factors = this.read([s.weight, s.activation]);
    const before = s.sum === undefined ? [] : this.read([s.sum]);
    const after = [
      ...factors.map(() => Math.max(PRODUCT_LATENCY, cost.latency)),
      ...before.map(() => cost.latency),
    ];
    this.instructions.push({
      reads: [...factors, ...before],
      writes: [this.numbers.of(s.result)],
      cost,
      after,
    });
  }

  /** The sum of a chain, widened and added to the accumulator, unless it was added in place. */
  private close(s: Extract<Statement, { kind: "close" }>): void {
    if (s.accumulator === undefined) return;
    const cost = closeCost(this.isa);
    const sum = this.numbers.of(s.result);
    const before = this.read([s.accumulator]);
    const after = [cost.latency, ...before.map(() => 1)];
    this.instructions.push({ reads: [sum, ...before], writes: [sum], cost, after });
  }

  region(times: number, isLoop: boolean): Region {
    const { isa } = this;
    const registers = allocate(this.instructions, isa.registers, isLoop);
    const sum = (of: (cost: OpCost) => number) => this.instructions.reduce((n, { cost }) => n + of(cost), 0);
    const price = SPILL_MICRO_OPS[isa.syntax];
    return {
      times,
      arithmetic: sum((cost) => cost.arithmetic) + price * (registers.reloads + registers.stores),
      products: sum((cost) => cost.products),
      loads: sum((cost) => cost.loads) + registers.reloads,
      stores: sum((cost) => cost.stores) + registers.stores,
      scalar: sum((cost) => cost.scalar) + (isLoop ? LOOP_MICRO_OPS : 0),
      latency: Math.max(this.stall(), isLoop ? this.recurrence() : 0),
      registers,
    };
  }

  /**
   * The out-of-order window holds so many instructions of the program: of these, and of no others, independent chains
   * advance together. So a stretch of the program takes at least its longest chain; of a short loop, several rounds do.
   */
  private stall(): number {
    let cycles = 0;
    let held = 0;
    let depth = new Map<number, number>();
    let longest = 0;
    for (const instruction of this.instructions) {
      longest = Math.max(longest, advance(depth, instruction));
      held += microOps(instruction.cost);
      if (held < WINDOW) continue;
      cycles += longest;
      [held, longest, depth] = [0, 0, new Map()];
    }
    return cycles + (longest * held) / WINDOW;
  }

  /** By how much a second round makes the longest chain through a variable longer. */
  private recurrence(): number {
    const depth = new Map<number, number>();
    for (const instruction of this.instructions) advance(depth, instruction);
    const once = new Map([...depth].filter(([key]) => key < 0));
    for (const instruction of this.instructions) advance(depth, instruction);
    return Math.max(0, ...[...once].map(([key, at]) => (depth.get(key) as number) - at));
  }
}

/** When the instruction's results are there, if its operands are there when `depth` says; notes it. */
function advance(depth: Map<number, number>, { reads, writes, cost, after }: Instruction): number {
  const ready = reads.map((key, i) => (depth.get(key) ?? 0) + (after[i] as number));
  const at = Math.max(cost.latency, ...ready);
  for (const key of writes) depth.set(key, at);
  return at;
}

function microOps({ arithmetic, loads, stores, scalar }: OpCost): number {
  return arithmetic + loads + stores + scalar;
}

/** Micro-ops that the out-of-order window holds: 224 (Skylake), 256 (Zen 3), 512 (Golden Cove). */
const WINDOW = 256;
const isConstant = ({ op }: Op) => op === "vfconst" || op === "viconst" || op === "fconst";
/** gcc 12 loads codes again for every product with this many tokens or fewer, and keeps them in a register for more. */
const RELOADED_USES = 3;
/** Costs nothing: registers are renamed. */
const MOVE = { kind: "op", op: "vbytes", operands: [], attributes: {} } as const;
/** Counter, comparison with branch. */
const LOOP_MICRO_OPS = 2;
/**
 * What a value that waits in the stack costs besides its store and its reload, in micro-ops each: V8 spills much more than
 * it must. Fitted with gcc 12 on Zen 4, Node 20 on Zen 3.
 */
const SPILL_MICRO_OPS = { c: 0, wasm: 4 } as const satisfies Record<Isa["syntax"], number>;
