import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { emitRuntime } from "../../src/emit/c-runtime.ts";
import { findCompilers } from "../../src/host/compilers.ts";
import { KernelBuilder } from "../../src/ir/builder.ts";
import { Interpreter } from "../../src/ir/interp.ts";
import type { Kernel, Target } from "../../src/ir/types.ts";
import { verify } from "../../src/ir/verify.ts";
import { NATIVE_TARGETS, need } from "../backends.ts";
import { temporaryFolder } from "../cli/harness.ts";

const folder = temporaryFolder();

const ROUNDS = 40;
const MOST_THREADS = 7;
/** A line for each thread's number, one for each thread's result, one for the counter. */
const LINE = 64;
const BYTES = LINE * (2 * MOST_THREADS + 1);
const COUNTER = LINE * 2 * MOST_THREADS;

/**
 * In every round each thread writes its number, and after a barrier reads those of all: a thread that runs ahead or
 * lags behind sees a number of another round. Every round is also counted in one place by all.
 */
function gossip(target: Target): Kernel {
  const b = new KernelBuilder(target);
  const { op } = b;
  const memory = b.parameter("memory", "ptr", "numbers, results, counter");
  const start = b.parameter("start", "i32", "first number");
  const own = op.addr(memory, b.thread, { stride: LINE, offset: 0 });
  const hash = b.variable("hash", start);
  b.loop("round", 0, ROUNDS, 1, (round) => {
    op.istore(own, op.iadd(op.iadd(start, op.imul(round, b.i(1000))), b.thread), { offset: 0 });
    op.barrier();
    b.loop("other", 0, b.threads, 1, (other) => {
      const number = op.iload(op.addr(memory, other, { stride: LINE, offset: 0 }), { offset: 0 });
      hash.set(op.iadd(op.imul(hash.get(), b.i(31)), number));
    });
    op.atomicadd(memory, b.i(1), { offset: COUNTER });
    op.barrier();
  });
  op.istore(own, hash.get(), { offset: LINE * MOST_THREADS });
  const kernel = b.build("gossip", ["every thread hears every other"]);
  verify(kernel);
  return kernel;
}

describe.each(NATIVE_TARGETS.map((target) => [target.name, target] as const))("teams on %s", (_, target) => {
  const kernel = gossip(target.isa);

  test.for([1, 2, 3, MOST_THREADS])("%i threads meet at barriers", async (threads, context) => {
    await need(target, context);
    const starts = Array.from({ length: 25 }, (_, i) => i * 7);
    const expected = new ArrayBuffer(BYTES + 16);
    const backend = await target.create({ threads, kernels: [kernel], capacity: BYTES + 4096 });
    try {
      const memory = backend.allocate(BYTES, "working");
      const step = (start: number) => ({
        kernel: kernel.name,
        arguments: [memory.address, start],
        barrier: true,
      });
      await backend.run(backend.prepare(starts.map(step)));
      const interpreter = new Interpreter(kernel);
      for (const start of starts) {
        new DataView(expected).setInt32(BYTES + 8, start, true);
        interpreter.run(expected, BYTES, threads);
      }
      expect(memory.view(0, BYTES).slice()).toEqual(new Uint8Array(expected, 0, BYTES));
      const counter = new DataView(expected).getInt32(COUNTER, true);
      expect(counter).toBe(starts.length * ROUNDS * threads);
    } finally {
      await backend.dispose();
    }
  });
});

/** A system that starts two threads and no more, and counts those that have ended. */
const SCARCE = `
static int left = 2, joined;
static int scarce(pthread_t *thread, const pthread_attr_t *how, void *(*work)(void *), void *argument) {
  return left-- > 0 ? pthread_create(thread, how, work, argument) : 11;
}
static int counted(pthread_t thread, void **result) {
  joined++;
  return pthread_join(thread, result);
}
#define pthread_create scarce
#define pthread_join counted
`;

test("a team that the system has not enough threads for leaves none behind", async (context) => {
  const [compiler] = (await findCompilers()).working;
  if (compiler === undefined) return context.skip("no C compiler works");
  const [source, program] = [join(folder, "scarce.c"), join(folder, "scarce")];
  const main = "int main(void) { return qigen_team_create(8) == NULL && joined == 2 ? 0 : 1; }\n";
  const last = "#include <time.h>\n";
  writeFileSync(source, emitRuntime([]).replace(last, last + SCARCE) + main);
  const options = [...compiler.args, "-O1", "-pthread", "-w", source, "-o", program];
  const compiled = spawnSync(compiler.path, options, { encoding: "utf8" });
  expect(compiled.stderr).toBe("");
  expect(spawnSync(program, { timeout: 20_000 }).status).toBe(0);
});
