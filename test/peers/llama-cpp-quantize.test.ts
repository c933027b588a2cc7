import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { openModel } from "../../src/engine/load-model.ts";
import { quantize } from "../../src/quantize/quantize.ts";
import { shared } from "../files/gguf-fixtures.ts";
import { CONTEXT, comparisonOfFile, EXACT_OURS, EXACT_THEIRS } from "./comparison.ts";
import { meanKl } from "./divergence.ts";

/** What llama.cpp's int8 activations may cost. */
const CLOSE = 1e-3;

const comparison = comparisonOfFile();

test.for(["f16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "q4_k", "q5_k", "q6_k"])(
  "a folder quantized to gguf:%s is the same model in llama.cpp",
  { timeout: 300_000 },
  async (type, context) => {
    const from = shared(context, "models/tales/hf");
    const text = readFileSync(shared(context, "models/tales/val.txt"), "utf8").slice(0, 1500);
    const path = comparison.path(`tales-${type}`);
    await quantize(from, path, { method: "rtn", format: `gguf:${type}` });
    const opened = await openModel(path);
    await opened.close();
    const texts = [opened.tokenizer().encode(text).slice(0, CONTEXT)];
    const folder = await openModel(from);
    await folder.close();
    expect(texts).toEqual([folder.tokenizer().encode(text).slice(0, CONTEXT)]);
    const kl = meanKl(
      await comparison.theirs(path, EXACT_THEIRS, texts),
      await comparison.ours(path, EXACT_OURS, texts),
    );
    console.log(`gguf:${type}: ${kl.toExponential(2)}`);
    expect(kl).toBeLessThan(CLOSE);
  },
);
