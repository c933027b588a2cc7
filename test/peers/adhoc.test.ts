import { readFileSync } from "node:fs";
import { it } from "vitest";
import { Comparison, EXACT_THEIRS, EXACT_OURS, CONTEXT } from "./comparison.ts";
import { klDivergence, meanKl } from "./divergence.ts";
import { openModel } from "../../src/engine/load-model.ts";
import { tokenizerFromGguf } from "../../src/text/gguf-tokenizer.ts";
import { quantizedTensor, rewriteModel } from "./model-files.ts";
it("adhoc", async () => {
  const log = (...a: unknown[]) => process.stderr.write(`${a.join(" ")}\n`);
  const src = "/work/shared/models/tales/tales-5.8m-f16.gguf";
  const c = await Comparison.open();
  const all = readFileSync("/work/shared/models/tales/val.txt", "utf8");
  const { source, file } = await openModel(src); await source.close();
  const tok = tokenizerFromGguf(file.metadata);
  const texts = [0, 20000, 50000, 90000, 130000, 200000].map(o => [...tok.encode(all.slice(o, o + 1600))].slice(0, 256));
  for (const type of ["Q8_0", "Q4_0"] as const) {
    const path = c.path("t");
    await rewriteModel(src, path, (t, s) => quantizedTensor(t, s, type));
    const deq = await c.dequantized(path);
    const truth = await c.theirs(deq, EXACT_THEIRS, texts);
    const n = texts.map(t => t.length); log(n.join());
    const per = (q: readonly Float64Array[]) => { let at = 0; return n.map(k => { const r = meanKl(truth.slice(at, at + k), q.slice(at, at + k)); at += k; return r.toExponential(2); }).join(" "); };
    const base = await c.ours(deq, { ...EXACT_OURS, threads: 1 }, texts);
    log("base vs truth", meanKl(truth, base));
    for (const [name, options] of [["t1 again", {...EXACT_OURS, threads: 1}], ["t2", {...EXACT_OURS, threads: 2}], ["t2", {...EXACT_OURS, threads: 2}], ["t1 kv16", {...EXACT_OURS, kv: "f16", threads: 1}], ["t2 kv16", {...EXACT_OURS, kv: "f16", threads: 2}], ["wasm", {...EXACT_OURS, backend: "wasm"}]] as const) {
      const q = await c.ours(deq, options, texts);
      const kls = base.map((t, i) => klDivergence(t, q[i]!));
      log(name, meanKl(base, q).toExponential(2), "outliers", kls.flatMap((k, i) => k > 3e-6 ? [`${i >> 8}:${i & 255}=${k.toExponential(1)}`] : []).join(" "));
    }
    break;
  }
  await c.dispose();
}, 600000);
