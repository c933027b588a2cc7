import { it } from "vitest";
import { loadModel } from "../../src/api/index.ts";
import { LlamaCpp } from "./llama-cpp.ts";
import { disagreements, logProbabilities, meanKl, spread } from "./divergence.ts";
it("adhoc", async () => {
  const log = (...a: unknown[]) => process.stderr.write(`${a.join(" ")}\n`);
  const ids = Array.from({length: 40}, (_, i) => 300 + i * 701);
  const path = "/tmp/tl-q4_0.gguf";
  const get = async (o: object) => { await using m = await loadModel(path, { contextLength: 256, ...o }); return (await m.evaluate(ids)).map(logProbabilities); };
  const exact = await get({ activations: "f32", kv: "f32" }), usual = await get({});
  const llama = await LlamaCpp.open();
  const m = await llama.load(path, { contextLength: 256 });
  const theirs = await m.evaluate(ids); await m.dispose(); await llama.dispose();
  log("spread", spread(exact[0]!), spread(exact[39]!), "usual", meanKl(exact, usual), "llama", meanKl(exact, theirs), JSON.stringify(disagreements(exact, usual, .1)), JSON.stringify(disagreements(exact, theirs, .1)));
}, 600000);
