import { InternalError } from "../base/errors.ts";
import { Memory } from "./interp-machine.ts";
import { Program } from "./interp-program.ts";
import type { Kernel, Statement } from "./types.ts";

/**
 * Runs a kernel in plain TypeScript: the executable meaning of the IR, which every other target is tested against.
 * Expects a verified kernel. Beyond the meaning it checks what a kernel may not do: access outside the memory, codes
 * that exceed their bits, conversions and shifts out of range, −128 as an activation, threads that part at a barrier.
 *
 * A kernel is compiled to closures over a register file once, so that running it again is fast.
 */
export class Interpreter {
  private readonly memory = new Memory();
  /** For a team of one: barriers are no-ops, so there are no generators. Also runs teams without barriers. */
  private readonly alone: Program;
  /** One program for each thread of a team that meets at barriers. */
  private readonly team: Program[] = [];
  private readonly meets: boolean;

  constructor(readonly kernel: Kernel) {
    this.meets = kernel.body.some(containsBarrier);
    this.alone = new Program(kernel, this.memory, false);
  }

  /**
   * Runs the kernel as a team of `threads`. Addresses are byte offsets in `memory`, `argumentsAddress` that of the
   * argument block. Threads run one after the other, from barrier to barrier.
   */
  run(memory: ArrayBufferLike, argumentsAddress: number, threads: number): void {
    this.memory.attach(memory);
    if (this.meets && threads > 1) {
      this.runTeam(argumentsAddress, threads);
      return;
    }
    for (let thread = 0; thread < threads; thread++) this.alone.run(argumentsAddress, thread, threads);
  }

  private runTeam(argumentsAddress: number, threads: number): void {
    while (this.team.length < threads) this.team.push(new Program(this.kernel, this.memory, true));
    const members = this.team
      .slice(0, threads)
      .map((program, thread) => program.start(argumentsAddress, thread, threads));
    for (;;) {
      const arrivals = members.map((member) => member.next());
      const [first] = arrivals;
      const apart = arrivals.findIndex((a) => a.done !== first?.done || a.value !== first?.value);
      if (apart >= 0)
        throw new InternalError(
          `kernel ${this.kernel.name}: thread ${apart} is not at the barrier of thread 0`,
        );
      if (first?.done !== false) return;
    }
  }
}

function containsBarrier(s: Statement): boolean {
  if (s.kind === "op") return s.op === "barrier";
  if (s.kind === "loop") return s.body.some(containsBarrier);
  return s.kind === "if" && (s.body.some(containsBarrier) || s.otherwise.some(containsBarrier));
}
