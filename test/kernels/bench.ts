import { afterAll, describe, expect, test } from "vitest";
import { assert } from "../../src/base/assert.ts";
import { alignUp } from "../../src/base/bytes.ts";
import type { Backend, Region, Step } from "../../src/engine/backend.ts";
import { Interpreter } from "../../src/ir/interp.ts";
import { printKernel } from "../../src/ir/print.ts";
import { ARGUMENT_SLOT_BYTES, type Kernel } from "../../src/ir/types.ts";
import { verify } from "../../src/ir/verify.ts";
import type { Isa } from "../../src/isa/isa.ts";
import { need, TARGETS, type TestTarget } from "../backends.ts";

/** A part of memory that kernels get the address of. */
export interface Part {
  readonly name: string;
  /** What it holds at the start. */
  readonly bytes: Uint8Array;
  /** Whether kernels may write it; others must be as they were after the run. */
  readonly writable: boolean;
}

/** Kernels run one after the other on parts of memory, and what they must leave there. */
export interface Work {
  readonly steps: readonly { readonly kernel: Kernel; readonly arguments: readonly (Part | number)[] }[];
  /** Throws if the parts are not what an oracle says. */
  check(after: After): void;
}

/** What a part holds after the run. */
export type After = (part: Part) => Uint8Array;

export interface KernelCase {
  readonly name: string;
  /** 1 if not given. */
  readonly threads?: number;
  /** Called once, and not at all on targets that this machine lacks. */
  make(): Work;
}

const bytesOf = (data: ArrayBufferView) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);

export function input(name: string, data: ArrayBufferView): Part {
  return { name, bytes: bytesOf(data).slice(), writable: false };
}

/** `initial` is the content at the start, or a number of bytes of poison. */
export function output(name: string, initial: ArrayBufferView | number): Part {
  const bytes = typeof initial === "number" ? new Uint8Array(initial).fill(POISON) : bytesOf(initial).slice();
  return { name, bytes, writable: true };
}

export const i32 = (...values: readonly number[]) => Int32Array.from(values);

/** A copy of bytes as f32. */
export const floatsOf = (bytes: Uint8Array) => new Float32Array(bytes.slice().buffer);

/** What lies between parts, and in outputs before the run; an ordinary number as f32, i32 and i8. */
export const POISON = 0xa5;
/** Kernels may read up to a register past a part. */
const GUARD = 128;

/** The memory of a case: its parts, apart from each other. */
class Image {
  readonly offsets = new Map<Part, number>();
  readonly bytes: Uint8Array<ArrayBuffer>;

  constructor({ steps }: Work) {
    let end = GUARD;
    for (const part of steps.flatMap((step) => step.arguments))
      if (typeof part !== "number" && !this.offsets.has(part)) {
        this.offsets.set(part, end);
        end = alignUp(end + part.bytes.length + GUARD, 64);
      }
    this.bytes = new Uint8Array(end).fill(POISON);
    for (const [part, offset] of this.offsets) this.bytes.set(part.bytes, offset);
  }

  /** The step's arguments where the image lies at `base`. */
  values(step: Work["steps"][number], base: number): number[] {
    return step.arguments.map((a) => (typeof a === "number" ? a : base + (this.offsets.get(a) as number)));
  }

  part(memory: Uint8Array, part: Part): Uint8Array {
    const offset = this.offsets.get(part);
    assert(offset !== undefined, `${part.name} is no argument`);
    return memory.slice(offset, offset + part.bytes.length);
  }

  /** The part that byte `i` belongs to, for messages. */
  describe(i: number): string {
    for (const [part, offset] of this.offsets)
      if (i >= offset - GUARD && i < offset + part.bytes.length + GUARD) return `${part.name}[${i - offset}]`;
    return `byte ${i}`;
  }

  /** The first byte changed where nothing may be written. */
  stray(after: Uint8Array): string | undefined {
    const writable = new Uint8Array(after.length);
    for (const [part, offset] of this.offsets)
      if (part.writable) writable.fill(1, offset, offset + part.bytes.length);
    const at = after.findIndex((byte, i) => writable[i] === 0 && byte !== this.bytes[i]);
    return at < 0 ? undefined : `${this.describe(at)} was written`;
  }
}

/** What the interpreter makes of it. */
function interpret({ steps }: Work, image: Image, threads: number): Uint8Array {
  const block = alignUp(image.bytes.length, ARGUMENT_SLOT_BYTES);
  const memory = new Uint8Array(block + 32 * ARGUMENT_SLOT_BYTES);
  memory.set(image.bytes);
  const view = new DataView(memory.buffer);
  for (const step of steps) {
    image.values(step, 0).forEach((value, i) => {
      view.setBigInt64(block + ARGUMENT_SLOT_BYTES * i, BigInt(value), true);
    });
    new Interpreter(step.kernel).run(memory.buffer, block, threads);
  }
  return memory.slice(0, image.bytes.length);
}

/** The first byte in which two memories differ. */
function difference(image: Image, expected: Uint8Array, actual: Uint8Array): string | undefined {
  const at = expected.findIndex((byte, i) => byte !== actual[i]);
  if (at < 0) return undefined;
  const word = at & ~3;
  const show = (m: Uint8Array) =>
    `${new DataView(m.buffer, m.byteOffset).getFloat32(word, true)} (${[...m.subarray(word, word + 4)]})`;
  return `${image.describe(at)} is ${show(actual)}, interpreted ${show(expected)}`;
}

/** Every kernel once. Kernels of one name must be the same kernel: they share the compiled function. */
function kernelsOf(works: Iterable<Work>): Kernel[] {
  const kernels = new Map<string, Kernel>();
  for (const work of works)
    for (const { kernel } of work.steps) {
      const known = kernels.get(kernel.name);
      if (known === undefined) {
        verify(kernel);
        kernels.set(kernel.name, kernel);
      } else if (known !== kernel) {
        assert(printKernel(known) === printKernel(kernel), `two kernels are named ${kernel.name}`);
      }
    }
  return [...kernels.values()];
}

interface Running {
  readonly backend: Backend;
  readonly memory: Region;
}

/** Runs the cases of a file on one target: one compilation, one backend for each size of team. */
class Bench {
  private works: ReadonlyMap<KernelCase, Work> | undefined;
  private readonly backends = new Map<number, Promise<Running>>();

  constructor(
    private readonly target: TestTarget,
    private readonly cases: readonly KernelCase[],
  ) {}

  private work(c: KernelCase): Work {
    this.works ??= new Map(this.cases.map((known) => [known, known.make()]));
    return this.works.get(c) as Work;
  }

  private backend(threads: number): Promise<Running> {
    const known = this.backends.get(threads);
    if (known !== undefined) return known;
    const works = [...(this.works?.values() ?? [])];
    const kernels = kernelsOf(works);
    const bytes = Math.max(...works.map((work) => new Image(work).bytes.length));
    const stepBytes = 1024 * works.reduce((sum, { steps }) => sum + steps.length, 1);
    const made = this.target
      .create({ threads, kernels, capacity: bytes + stepBytes })
      .then((backend) => ({ backend, memory: backend.allocate(bytes, "working") }));
    this.backends.set(threads, made);
    return made;
  }

  async run(c: KernelCase): Promise<void> {
    const work = this.work(c);
    const image = new Image(work);
    const { backend, memory } = await this.backend(c.threads ?? 1);
    memory.view(0, image.bytes.length).set(image.bytes);
    const steps: Step[] = work.steps.map((step) => ({
      kernel: step.kernel.name,
      arguments: image.values(step, memory.address),
      barrier: true,
    }));
    await backend.run(backend.prepare(steps));
    const after = memory.view(0, image.bytes.length).slice();
    expect(image.stray(after)).toBeUndefined();
    work.check((part) => image.part(after, part));
    if (backend.kind === "interpreter") return;
    expect(difference(image, interpret(work, image, backend.threads), after)).toBeUndefined();
  }

  async dispose(): Promise<void> {
    for (const made of this.backends.values())
      await made.then(
        ({ backend }) => backend.dispose(),
        () => undefined, // a test has reported it
      );
  }
}

/** Runs the work in the interpreter, and gives what it left. */
export function interpreted(work: Work): After {
  const image = new Image(work);
  const after = interpret(work, image, 1);
  return (part) => image.part(after, part);
}

/**
 * Tests of kernels: every case on every target. Its oracle is asked, nothing else may be written, and compiled code
 * must leave the same bytes as the interpreter.
 */
export function describeKernels(what: string, casesOf: (isa: Isa) => readonly KernelCase[]): void {
  describe.each(TARGETS.map((target) => [target.name, target] as const))(`${what} on %s`, (_, target) => {
    const cases = casesOf(target.isa);
    const bench = new Bench(target, cases);
    afterAll(() => bench.dispose());
    test.for(cases.map((c) => [c.name, c] as const))("%s", async ([, c], context) => {
      await need(target, context);
      await bench.run(c);
    });
  });
}
