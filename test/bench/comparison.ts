import type { Probe, Results, Run } from "../../bench/compare/results.mjs";

/** Reads of 20 and 40 GB/s and 500 and 1,000 GOPS with one and two threads, times `speed`. */
export function probe(speed = 1): Probe {
  const read = (threads: number, hugePages: boolean, gbs: number) => ({
    threads,
    hugePages,
    prefetchBytes: 0,
    gbs: { median: gbs * speed, min: 1, max: 100 },
  });
  return {
    reads: [read(1, false, 15), read(1, true, 20), read(2, false, 40), read(2, true, 30)],
    int8: [
      { isa: "avx2", threads: 1, gops: 500 * speed },
      { isa: "avx2", threads: 2, gops: 1000 * speed },
    ],
  };
}

export function run(engine: string, prefill: number[], decode: number[], more: Partial<Run> = {}): Run {
  const rates = { ...(prefill.length > 0 ? { prefill } : {}), ...(decode.length > 0 ? { decode } : {}) };
  return { engine, settings: "", command: engine, seconds: 1, tokensPerSecond: rates, ...more };
}

/** Two threads, two rounds: the second at half the speed. A peer with two settings, and one that fails. */
export function comparison(): Results {
  const work = { bytesPerToken: 5e8, operationsPerToken: 2e9 };
  return {
    started: "2026-11-22T16:00:00.000Z",
    finished: "2026-11-22T17:00:00.000Z",
    command: "npm run bench:compare -- --quick",
    machine: "Some CPU <A&B>",
    description: {},
    versions: { qigen: "0.1.0", node: "v20.0.0" },
    tests: { promptTokens: 512, genTokens: 64 },
    engines: ["qigen", "llama-bench", "node-llama-cpp"],
    cases: [
      {
        shape: "tinyllama-1.1b",
        format: "Q4_0",
        threads: 2,
        depth: 2048,
        rounds: [
          {
            probe: probe(),
            runs: [
              run("qigen", [200, 220], [60, 60], { work }),
              run("llama-bench", [100, 100], [30, 30], { settings: "-fa 0" }),
              run("llama-bench", [90, 90], [40, 40], { settings: "-fa 1" }),
              run("node-llama-cpp", [], [], { error: "exit code 1: out of\nmemory | swap" }),
            ],
          },
          {
            probe: probe(0.5),
            runs: [
              run("qigen", [100, 100], [33, 33], { work }),
              run("llama-bench", [40, 40], [], { settings: "-fa 0" }),
              run("llama-bench", [], [20, 20], { settings: "-fa 1" }),
              run("node-llama-cpp", [], [], { error: "exit code 1: out of\nmemory | swap" }),
            ],
          },
        ],
      },
      {
        shape: "llama-2-7b",
        format: "3bit-g128",
        threads: 1,
        depth: 0,
        rounds: [{ probeError: "no compiler", runs: [run("qigen", [20, 22], [8, 8.5], { work })] }],
      },
    ],
  };
}
