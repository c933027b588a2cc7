import { InternalError } from "../base/errors.ts";
import {
  failure,
  type Memory,
  nothing,
  Operation,
  Registers,
  type Row,
  type Step,
  wordsOf,
} from "./interp-machine.ts";
import { SCALAR_ROWS } from "./interp-scalar.ts";
import { VECTOR_ROWS } from "./interp-vector.ts";
import { ARGUMENT_SLOT_BYTES, type Kernel, type Statement, type Value, type Variable } from "./types.ts";

type Of<K extends Statement["kind"]> = Extract<Statement, { kind: K }>;

/** Statements that contain a barrier: they yield it, and go on when the whole team has reached it. */
type Pausing = () => Generator<Statement, void>;

/** Compiled statements. Only what contains a barrier is a generator. */
type Part = { readonly run: Step } | { readonly pause: Pausing };

const ROWS: { readonly [op: string]: Row } = { ...SCALAR_ROWS, ...VECTOR_ROWS };

/** A kernel compiled for the registers of one thread. */
export class Program {
  private readonly registers: Registers;
  private readonly body: Part;

  constructor(
    private readonly kernel: Kernel,
    private readonly memory: Memory,
    /** Whether barriers wait for other programs. */
    private readonly waits: boolean,
  ) {
    this.registers = new Registers(kernel);
    this.body = this.block(kernel.body);
  }

  run(argumentsAddress: number, thread: number, threads: number): void {
    this.load(argumentsAddress, thread, threads);
    if ("run" in this.body) this.body.run();
  }

  *start(argumentsAddress: number, thread: number, threads: number): Generator<Statement, void> {
    this.load(argumentsAddress, thread, threads);
    yield* pausing(this.body)();
  }

  private load(argumentsAddress: number, thread: number, threads: number): void {
    const { i32, f64 } = this.registers;
    const { name, parameterValues } = this.kernel;
    const end = argumentsAddress + ARGUMENT_SLOT_BYTES * parameterValues.length;
    if (!(argumentsAddress >= 0 && end <= this.memory.size))
      throw new InternalError(`kernel ${name}: the arguments at ${argumentsAddress} are outside the memory`);
    const { view } = this.memory;
    parameterValues.forEach((value, i) => {
      const p = argumentsAddress + ARGUMENT_SLOT_BYTES * i;
      const slot = this.registers.slot(value);
      if (value.type === "ptr")
        f64[slot >> 1] = view.getUint32(p, true) + 2 ** 32 * view.getUint32(p + 4, true);
      else i32[slot] = view.getInt32(p, true);
    });
    i32[this.registers.slot(this.kernel.thread)] = thread;
    i32[this.registers.slot(this.kernel.threads)] = threads;
  }

  private block(statements: readonly Statement[]): Part {
    const parts = statements.map((s) => this.statement(s)).filter((p) => !("run" in p && p.run === nothing));
    const steps = parts.flatMap((p) => ("run" in p ? [p.run] : []));
    if (steps.length === parts.length) return { run: sequence(steps) };
    const runs = parts.map(pausing);
    return {
      *pause() {
        for (const run of runs) yield* run();
      },
    };
  }

  private statement(s: Statement): Part {
    switch (s.kind) {
      case "op":
        return this.operation(s);
      case "dot":
        return { run: this.dot(s) };
      case "close":
        return { run: this.close(s) };
      case "variable":
        return { run: this.copy(s.variable, s.initial) };
      case "assign":
        return { run: this.copy(s.variable, s.value) };
      case "loop":
        return this.loop(s);
      case "if":
        return this.branch(s);
      case "comment":
        return { run: nothing };
    }
  }

  private operation(s: Of<"op">): Part {
    if (s.op === "barrier") return this.waits ? { pause: () => arrival(s) } : { run: nothing };
    const row = ROWS[s.op];
    if (row === undefined) return failure(this.kernel, s, "is not an op");
    return { run: row(new Operation(this.registers, this.memory, s)) };
  }

  private dot(s: Of<"dot">): Step {
    const { i32, u8, i8, dotOrder } = this.registers;
    const { lanes, dot8Offset } = this.kernel.target;
    const isSigned = s.op !== "dot" && dot8Offset === 128;
    const codes = isSigned ? i8 : u8;
    const lowest = isSigned && s.op === "dot8n" ? -127 : -128;
    const r = this.registers.slot(s.result);
    const a = s.sum === undefined ? undefined : this.registers.slot(s.sum);
    const [weight, activation] = [4 * this.registers.slot(s.weight), 4 * this.registers.slot(s.activation)];
    return () => {
      for (let lane = 0; lane < lanes; lane++) {
        let sum = a === undefined ? 0 : i32[a + lane]!;
        for (let k = 4 * lane; k < 4 * lane + 4; k++) {
          const byte = dotOrder[k]!;
          const x = i8[activation + byte]!;
          if (x === -128) failure(this.kernel, s, "the activation holds −128");
          const code = codes[weight + byte]!;
          if (code < lowest) failure(this.kernel, s, "the weight holds −128");
          sum += code * x;
        }
        i32[r + lane] = sum;
      }
    };
  }

  private close(s: Of<"close">): Step {
    const { i32 } = this.registers;
    const { lanes } = this.kernel.target;
    const [from, r] = [this.registers.slot(s.sum), this.registers.slot(s.result)];
    const a = s.accumulator === undefined ? undefined : this.registers.slot(s.accumulator);
    return () => {
      for (let lane = 0; lane < lanes; lane++)
        i32[r + lane] = i32[from + lane]! + (a === undefined ? 0 : i32[a + lane]!);
    };
  }

  private copy(to: Variable, from: Value): Step {
    const { i32 } = this.registers;
    const [a, r] = [this.registers.slot(from), this.registers.slot(to)];
    const words = wordsOf(to.type, this.kernel.target.lanes);
    return () => {
      for (let i = 0; i < words; i++) i32[r + i] = i32[a + i]!;
    };
  }

  private loop(s: Of<"loop">): Part {
    const { i32 } = this.registers;
    const index = this.registers.slot(s.index);
    const body = this.block(s.body);
    const bounds = this.bounds(s);
    if ("run" in body) {
      const { run } = body;
      return {
        run: () => {
          const [start, end, step] = bounds();
          for (let i = start; i < end; i += step) {
            i32[index] = i;
            run();
          }
        },
      };
    }
    return {
      *pause() {
        const [start, end, step] = bounds();
        for (let i = start; i < end; i += step) {
          i32[index] = i;
          yield* body.pause();
        }
      },
    };
  }

  /** Reads and checks the bounds of a loop, at its start. */
  private bounds(s: Of<"loop">): () => [start: number, end: number, step: number] {
    const { i32 } = this.registers;
    const slots = [s.start, s.end, s.step].map((v) => this.registers.slot(v)) as [number, number, number];
    return () => {
      const [start, end, step] = [i32[slots[0]]!, i32[slots[1]]!, i32[slots[2]]!];
      if (step < 1) failure(this.kernel, s, `step ${step}`);
      const trips = Math.ceil((end - start) / step);
      if (trips > 0 && start + trips * step >= 2 ** 31) failure(this.kernel, s, "the index overflows");
      return [start, end, step];
    };
  }

  private branch(s: Of<"if">): Part {
    const { i32 } = this.registers;
    const condition = this.registers.slot(s.condition);
    const [body, otherwise] = [this.block(s.body), this.block(s.otherwise)];
    if ("run" in body && "run" in otherwise) {
      const [yes, no] = [body.run, otherwise.run];
      return {
        run: () => {
          if (i32[condition] !== 0) yes();
          else no();
        },
      };
    }
    const [yes, no] = [pausing(body), pausing(otherwise)];
    return { pause: () => (i32[condition] !== 0 ? yes() : no()) };
  }
}

function* arrival(barrier: Statement): Generator<Statement, void> {
  yield barrier;
}

function pausing(part: Part): Pausing {
  if ("pause" in part) return part.pause;
  const { run } = part;
  // biome-ignore lint/correctness/useYield: runs through without a barrier
  return function* () {
    run();
  };
}

function sequence(steps: readonly Step[]): Step {
  const [first] = steps;
  if (first === undefined) return nothing;
  if (steps.length === 1) return first;
  return () => {
    for (let i = 0; i < steps.length; i++) steps[i]!();
  };
}
