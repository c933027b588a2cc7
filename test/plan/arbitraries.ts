import fc from "fast-check";
import { ISAS } from "../../src/isa/index.ts";
import type { Isa } from "../../src/isa/isa.ts";
import { nests } from "../../src/kernels/activations.ts";
import { type CacheLevel, genericMachine, type Machine, type Measurements } from "../../src/plan/machine.ts";
import type { ProjectionShape } from "../../src/plan/shape.ts";
import { FORMATS, type Format, familyFormat, groupSize } from "../../src/quant/formats.ts";

/** Counterexamples show the name, not the table. */
export const anyIsa: fc.Arbitrary<Isa> = fc.constantFrom(
  ...ISAS.map((isa) => ({ ...isa, [fc.toStringMethod]: () => isa.name })),
);

export const anyFormat: fc.Arbitrary<Format> = fc.oneof(
  fc.constantFrom(...FORMATS.values()),
  fc.constantFrom(96, 192, 256, 512).map((group) => familyFormat(4, group, false)),
);

/** Formats that have blocks of several groups know no parts of blocks. */
function wholeBlocks(format: Format, cols: number): number {
  const size = format.kind === "quantized" ? (format.block ?? 1) : 1;
  return size * Math.ceil(cols / size);
}

/** Matrices from tiny to large, ragged ones too, with every kind of activations that nests in the groups. */
export const anyShape: fc.Arbitrary<ProjectionShape> = fc
  .record({
    format: anyFormat,
    rows: fc.oneof(fc.integer({ min: 1, max: 300 }), fc.constantFrom(1024, 4096, 11008, 32000, 128256)),
    cols: fc.oneof(fc.integer({ min: 1, max: 700 }), fc.constantFrom(2048, 4096, 11008, 14336)),
    block: fc.constantFrom(32, 64, 128, 256, "row" as const),
    f32: fc.boolean(),
  })
  .filter(({ format, cols, block }) => {
    if (format.kind === "float" || block === "row") return true;
    return nests(groupSize(format, cols), block, cols);
  })
  .map(({ format, rows, cols: any, block, f32 }) => {
    const cols = wholeBlocks(format, any);
    const activations =
      f32 || format.kind === "float" ? ({ kind: "f32" } as const) : ({ kind: "int8", block } as const);
    return { format, rows, cols, activations };
  });

const caches: fc.Arbitrary<CacheLevel[]> = fc
  .record({
    l1: fc.constantFrom(16, 32, 48, 128),
    l2: fc.constantFrom(256, 512, 1024, 4096),
    l2SharedBy: fc.constantFrom(1, 2, 4),
    l3: fc.option(fc.constantFrom(4, 8, 32, 256)),
    cores: fc.integer({ min: 1, max: 64 }),
  })
  .map(({ l1, l2, l2SharedBy, l3, cores }) => [
    { level: 1, bytes: l1 * 1024, lineBytes: 64, sharedBy: 1 },
    { level: 2, bytes: l2 * 1024, lineBytes: 64, sharedBy: l2SharedBy },
    ...(l3 === null ? [] : [{ level: 3 as const, bytes: l3 * 2 ** 20, lineBytes: 64, sharedBy: cores }]),
  ]);

/** Memory is slower than caches: 1 … 25 GB/s a thread, and clocks that give L3 more. */
const measurements: fc.Arbitrary<Measurements> = fc
  .record({
    gbs: fc.double({ min: 1, max: 25, noNaN: true }),
    gops: fc.double({ min: 400, max: 1500, noNaN: true }),
    threads: fc.integer({ min: 1, max: 64 }),
    hugePages: fc.boolean(),
  })
  .map(({ gbs, gops, threads, hugePages }) => ({
    readGBs: [{ threads, hugePages, gbs: gbs * threads }],
    int8Gops: ISAS.map(({ name }) => ({ isa: name, threads, gops: gops * threads })),
    f32Gflops: [],
    at: "2026-01-01T00:00:00Z",
  }));

export const anyMachine: fc.Arbitrary<Machine> = fc
  .record({
    caches,
    threads: fc.integer({ min: 1, max: 64 }),
    hugePages: fc.constantFrom("always", "madvise", "never", "unknown"),
    measured: fc.option(measurements),
  })
  .map(({ caches, threads, hugePages, measured }) =>
    genericMachine({
      caches,
      threads,
      physicalCores: threads,
      logicalCores: threads,
      hugePages,
      ...(measured === null ? {} : { measured }),
    }),
  );

export const anyTokens: fc.Arbitrary<number> = fc.oneof(
  fc.constantFrom(1, 2, 256),
  fc.integer({ min: 1, max: 512 }),
);
