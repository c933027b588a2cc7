import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { it } from "vitest";
import { loadModel } from "../../src/api/index.ts";
import { Rng } from "../../src/base/rng.ts";
import { randomLlama } from "../../src/models/random-llama.ts";
import { disagreements, logProbabilities, meanKl, spread, top } from "./divergence.ts";
import { LlamaCpp, type PeerOptions } from "./llama-cpp.ts";
import { dequantizedTensor, rewriteModel, writeModel } from "./model-files.ts";

const SHAPE = {
  layers: 4,
  hiddenSize: 256,
  intermediateSize: 768,
  heads: 8,
  vocabularySize: 32000,
  contextLength: 256,
};
it("explore", async () => {
  const dir = mkdtempSync(join(tmpdir(), "peer-"));
  const llama = await LlamaCpp.open();
  const rng = new Rng(7);
  const prompts = [1, 5, 33, 100].map((n) =>
    Array.from({ length: n }, (_, i) => (i === 0 ? 1 : rng.integer(32000))),
  );
  const ours = async (path: string, options: object) => {
    const m = await loadModel(path, { threads: 1, ...options });
    const all: Float64Array[] = [];
    for (const p of prompts) for (const l of await m.evaluate(p)) all.push(logProbabilities(l));
    await m.dispose();
    return all;
  };
  const theirs = async (path: string, options: Partial<PeerOptions>) => {
    const m = await llama.load(path, { contextLength: 256, ...options });
    const all: Float64Array[] = [];
    for (const p of prompts) all.push(...(await m.evaluate(p)));
    await m.dispose();
    return all;
  };
  for (const tied of [false, true])
    for (const format of ["F32", "F16", "Q4_0"] as const) {
      const path = join(dir, "m.gguf"),
        deq = join(dir, "d.gguf");
      let t = performance.now();
      await writeModel(path, randomLlama({ ...SHAPE, kvHeads: tied ? 8 : 2, tied, format, seed: 3 }));
      if (format !== "F32") await rewriteModel(path, deq, dequantizedTensor);
      const log = (...a: unknown[]) => process.stderr.write(`${a.join(" ")}\n`);
      log(format, tied, "write", (performance.now() - t) | 0);
      t = performance.now();
      const ref = await theirs(format === "F32" ? path : deq, { kv: "f32", flashAttention: false });
      log(
        "ref spread",
        spread(ref[0]!),
        spread(ref[138]!),
        "top",
        JSON.stringify(top(ref[138]!)),
        (performance.now() - t) | 0,
      );
      t = performance.now();
      const line = (name: string, q: Float64Array[]) => {
        log(
          "  ",
          name.padEnd(24),
          "KL",
          meanKl(ref, q).toExponential(3),
          "max",
          Math.max(...ref.map((p, i) => meanKl([p], [q[i]!]))).toExponential(2),
          "disagree",
          JSON.stringify(disagreements(ref, q, 0.1).map((d) => +d.margin.toFixed(2))),
          (performance.now() - t) | 0,
        );
        t = performance.now();
      };
      for (const kv of ["f32", "f16"] as const) {
        line(`ours f32 kv ${kv}`, await ours(path, { activations: "f32", kv }));
        if (format.startsWith("Q")) line(`ours int8 kv ${kv}`, await ours(path, { activations: "int8", kv }));
        for (const flashAttention of [true, false])
          line(`theirs ${flashAttention} kv ${kv}`, await theirs(path, { kv, flashAttention }));
      }
    }
  await llama.dispose();
  rmSync(dir, { recursive: true });
}, 3000000);
