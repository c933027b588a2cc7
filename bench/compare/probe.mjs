/**
 * Measures what this machine can do right now, as one JSON document: streaming reads in every variant (threads, pages,
 * prefetch; buffers of 1 GiB or more) and int8 dot products of every instruction set it has.
 *
 *     node bench/compare/probe.mjs [--threads 2] [--passes 5]
 */
import { parseArgs } from "node:util";
import {
  Bench,
  measuringSubject,
  pageKinds,
  readBufferBytes,
  SPARE_BYTES,
  threadCounts,
} from "../../dist/engine/measure.js";
import { FULL_EFFORT } from "../../dist/engine/stopwatch.js";
import { describeMachine } from "../../dist/host/describe-machine.js";
import {
  int8Peak,
  MEASURE_PAGE,
  READ_PREFETCHES,
  readBandwidth,
  touchPages,
} from "../../dist/kernels/measure.js";
import { spread } from "../statistics.mjs";

const { values } = parseArgs({
  options: { threads: { type: "string" }, passes: { type: "string", default: `${FULL_EFFORT.passes}` } },
});
const machine = await describeMachine();
const subject = await measuringSubject(machine);
const threads = Math.min(subject.threads, Number(values.threads ?? subject.threads));
const effort = { ...FULL_EFFORT, passes: Number(values.passes) };
const counts = threadCounts(threads);

console.log(JSON.stringify({ reads: await probeReads(), int8: await probeInt8() }));

async function withBench(isa, kernels, capacity, body) {
  const backend = await subject.open({ isa, threads, kernels, capacity: capacity + SPARE_BYTES });
  try {
    return await body(new Bench(backend, effort));
  } finally {
    await backend.dispose();
  }
}

async function probeReads() {
  const [isa] = subject.isas;
  const kernels = READ_PREFETCHES.map((prefetch) => ({
    prefetchBytes: prefetch?.ahead ?? 0,
    kernel: readBandwidth(isa, prefetch),
  }));
  const bytes = readBufferBytes(machine, subject.kind);
  const pages = pageKinds(machine, subject.kind);
  const all = [...kernels.map(({ kernel }) => kernel), touchPages(isa)];
  return withBench(isa, all, bytes * pages.length, async (bench) => {
    const reads = [];
    for (const hugePages of pages) {
      const data = await bench.touched(bytes, hugePages);
      for (const threads of counts) {
        for (const { prefetchBytes, kernel } of kernels) {
          const rates = await bench.rates(threads, kernel, [data.address, bytes / MEASURE_PAGE]);
          const gbs = spread(rates.map((perSecond) => (perSecond * bytes) / 1e9));
          reads.push({ threads, hugePages, prefetchBytes, gbs });
        }
      }
      bench.backend.release(data);
    }
    return reads;
  });
}

async function probeInt8() {
  const found = [];
  for (const isa of subject.isas) {
    const peak = int8Peak(isa);
    await withBench(isa, [peak.kernel], 0, async (bench) => {
      for (const threads of counts) {
        found.push({ isa: isa.name, threads, gops: await bench.peak(threads, peak) });
      }
    });
  }
  return found;
}
