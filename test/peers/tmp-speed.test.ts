import { it } from "vitest";
import { LLAMA_SHAPES, randomLlama } from "../../src/models/random-llama.ts";
import { writeGguf } from "../../src/files/gguf-writer.ts";
it("speed", async () => {
  for (const weights of ["gaussian", "codes"] as const)
  for (const format of ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1"] as const) {
    const t = performance.now();
    const n = await writeGguf(async () => {}, randomLlama({ ...LLAMA_SHAPES["tinyllama-1.1b"], layers: 1, format, weights }));
    console.log(weights, format, (n / 1e3 / (performance.now() - t)).toFixed(0), "MB/s", n);
  }
});
