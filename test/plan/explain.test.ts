import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { avx2 } from "../../src/isa/avx2.ts";
import { ISAS } from "../../src/isa/index.ts";
import { explainModel, explainProjection } from "../../src/plan/explain.ts";
import { genericMachine } from "../../src/plan/machine.ts";
import { planModel } from "../../src/plan/model-plan.ts";
import { planProjection } from "../../src/plan/projection-plan.ts";
import { bytesText, digits, secondsText, table } from "../../src/plan/text.ts";
import { anyIsa, anyMachine, anyShape, anyTokens } from "./arbitraries.ts";
import { llama, projectionOf } from "./llama.ts";

const widest = (text: string) => Math.max(...text.split("\n").map((line) => line.length));

describe("explainProjection", () => {
  it("reads like this", () => {
    const { shape } = projectionOf("down", "4bit-g128", 4096, 11008);
    const machine = genericMachine();
    const plan = planProjection(machine, avx2, shape, { tokens: 1, tu: 16 });
    expect(explainProjection(plan, machine)).toMatchInlineSnapshot(`
      "weights       4bit-g128, 4096 outputs x 11008 inputs, 4.19 bits a weight, 22.5 MiB packed
      inputs        1 token, int8, one scale per 128 inputs
      machine       avx2, 4 threads
      caches        L1 32.0 KiB, L2 256 KiB, L3 8.00 MiB for 4 cores
      speeds        3.00 GHz (assumed), memory 40.0 GB/s, 10.0 for one thread (assumed)
      mini-GEMV     mb 11008 inputs x tb 16 outputs
      micro-GEMV    mu 32 inputs x tu 16 outputs x nu 1 token
      loops         row blocks          64  x 16 outputs
                    input blocks         1  x 11008 inputs
                    tokens               1  x 1 tokens
                    row tiles            1  x 16 outputs
                    micro-GEMV inputs  344  x 32 inputs
      working sets  weights mb x tb, read once  90.0 KiB  streamed from memory
                    activations nu x mb         11.4 KiB  in 16.0 KiB of L1
                    outputs nu x tu               64.0 B  in 16.0 KiB of L1
      registers     10 values alive, 16 registers
      predicted     778 µs, limited by memory bandwidth
                    30.3 GB/s of weights, 116 Gop/s
                    computing   184 µs
                    memory      743 µs
                    L2 and L3  7.81 µs
                    overhead   6.12 µs
      "
    `);
  });

  it("fits 100 columns and says nothing undefined", () => {
    fc.assert(
      fc.property(anyMachine, anyIsa, anyShape, anyTokens, (machine, isa, shape, tokens) => {
        const text = explainProjection(planProjection(machine, isa, shape, { tokens }), machine);
        expect(widest(text)).toBeLessThanOrEqual(100);
        expect(text).not.toMatch(/undefined|NaN|Infinity/);
      }),
      { numRuns: 60 },
    );
  });
});

describe("explainModel", () => {
  it("reads like this", () => {
    const machine = genericMachine();
    expect(explainModel(planModel(machine, avx2, llama("Q4_0")), machine)).toMatchInlineSnapshot(`
      "machine  generic
               avx2, 4 threads
      caches   L1 32.0 KiB, L2 256 KiB, L3 8.00 MiB for 4 cores
      speeds   3.00 GHz (assumed), memory 40.0 GB/s, 10.0 for one thread (assumed)

      matrices                       outputs  inputs  weights  inputs as      packed
      query, attention-output  64 x     4096    4096  Q4_0     int8 per 32   576 MiB
      key, value               64 x     1024    4096  Q4_0     int8 per 32   144 MiB
      gate, up                 64 x    14336    4096  Q4_0     int8 per 32  1.97 GiB
      down                     32 x     4096   14336  Q4_0     int8 per 32  1008 MiB
      output                    1 x   128256    4096  Q8_0     int8 per 32   532 MiB

      blocking                 mb x tb              mu x tu x nu
      query, attention-output  4096 x 16 expanded   32 x 16 x 4
      key, value               4096 x 16 expanded   32 x 16 x 4
      gate, up                 4096 x 16 expanded   32 x 16 x 4
      down                     14336 x 64 expanded  32 x 16 x 4
      output                   4096 x 16            32 x 16 x 4

      decode, 1 token              one  GB/s  Gop/s  limit
      query, attention-output   314 µs  30.0    107  memory
      key, value               79.3 µs  29.8    106  memory
      gate, up                 1.10 ms  30.1    107  memory
      down                     1.09 ms  30.4    108  memory
      output                   18.2 ms  30.6   57.6  memory

      prefill, 256 tokens          one   GB/s  Gop/s  limit
      query, attention-output  12.6 ms  0.748    680  arithmetic
      key, value               3.16 ms  0.747    680  arithmetic
      gate, up                 44.2 ms  0.748    680  arithmetic
      down                     45.6 ms  0.725    660  arithmetic
      output                    735 ms  0.760    366  arithmetic

      weights  4.18 GiB packed
      decode   148 ms for 1 token: 6.74 tokens/s, weights at 30.2 GB/s
      batches  152 ms for 2 tokens: 13.2 tokens/s, weights at 29.5 GB/s
               160 ms for 4 tokens: 25.0 tokens/s, weights at 28.0 GB/s
               241 ms for 8 tokens: 33.2 tokens/s, weights at 18.6 GB/s
               434 ms for 16 tokens: 36.9 tokens/s, weights at 10.3 GB/s
      prefill  5.31 s for 256 tokens: 48.2 tokens/s, weights at 0.844 GB/s
      "
    `);
  });

  it("fits 100 columns", () => {
    for (const isa of ISAS) {
      for (const format of ["Q4_0", "4bit-g128-sym", "8bit-row", "F32"]) {
        const machine = genericMachine({ name: "x".repeat(256) });
        expect(widest(explainModel(planModel(machine, isa, llama(format)), machine))).toBeLessThanOrEqual(
          100,
        );
      }
    }
  });
});

describe("text", () => {
  it("has three digits and a unit", () => {
    expect([0, 0.01234, 1.234, 12.34, 123.4, 1234].map(digits)).toEqual([
      "0",
      "0.0123",
      "1.23",
      "12.3",
      "123",
      "1234",
    ]);
    expect([0, 100, 17920, 3 * 2 ** 30].map(bytesText)).toEqual(["0 B", "100 B", "17.5 KiB", "3.00 GiB"]);
    expect([0, 8.5e-7, 1.23e-5, 0.00456, 1.23].map(secondsText)).toEqual([
      "0 ns",
      "850 ns",
      "12.3 µs",
      "4.56 ms",
      "1.23 s",
    ]);
  });

  it("aligns columns", () => {
    expect(
      table(
        [
          ["a", "1", "x"],
          ["bb", "22", ""],
        ],
        [1],
      ),
    ).toEqual(["a    1  x", "bb  22"]);
  });
});
