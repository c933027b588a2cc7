import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import type { Writer } from "../../src/api/generation.ts";
import { FileAccessError } from "../../src/base/errors.ts";
import { type EngineOptions, loadEngine, openModel } from "../../src/engine/load-model.ts";
import { KeptBase } from "../../src/evaluation/kept-base.ts";
import { measurePerplexity } from "../../src/evaluation/perplexity.ts";
import { baseOf } from "../../src/evaluation/scoring.ts";
import { describeMachine } from "../../src/host/describe-machine.ts";
import { saveGguf, temporaryFolder, tinyLlama } from "../cli/harness.ts";

const folder = temporaryFolder();
const path = join(folder, "tiny.gguf");
const TEXT = "bada gigi lo nu ".repeat(20);
const PROTOCOL = { protocol: "gptq", context: 32, bos: "window", chunks: 3 } as const;
const open: Writer[] = [];

beforeAll(async () => {
  await saveGguf(path, tinyLlama({}, "F32"));
});

afterEach(async () => {
  for (const { engine } of open.splice(0)) await engine.dispose();
});

async function load(options: EngineOptions): Promise<Writer> {
  const opened = await openModel(path);
  const engine = await loadEngine(opened, await describeMachine(), { backend: "wasm", ...options });
  await opened.close();
  const writer = {
    path,
    tokenizer: opened.tokenizer(),
    engine,
    text: { sequence: engine.open(), tokens: [] },
  };
  open.push(writer);
  return writer;
}

describe("a base that was run once", () => {
  test("is the same to a model as one that runs beside it, as often as it is asked", async () => {
    const base = await load({ kv: "f32" });
    const live = await measurePerplexity(await load({ quantize: "Q4_0" }), baseOf(base), TEXT, PROTOCOL);
    const place = { path: join(folder, "logits"), most: 3 * 32 };
    const kept = await KeptBase.record(base, TEXT, PROTOCOL, place);
    await base.engine.dispose();
    expect(kept.result.perplexity).toEqual(live.comparison?.perplexity);
    expect(statSync(place.path).size).toBeGreaterThanOrEqual(4 * 300 * kept.result.scored);
    for (const quantize of ["Q4_0", "Q8_0", "Q4_0"]) {
      const model = await load({ quantize });
      const { comparison, perplexity } = await measurePerplexity(model, kept.reader(), TEXT, PROTOCOL);
      expect(comparison?.perplexity).toEqual(live.comparison?.perplexity);
      if (quantize === "Q4_0") expect({ comparison, perplexity }).toEqual(pick(live));
      else expect(comparison?.divergence.value).toBeLessThan(live.comparison?.divergence.value as number);
    }
    await kept.close();
  });

  test("wants space for its logits", async () => {
    const place = { path: join(folder, "large"), most: 1e15 };
    const recorded = KeptBase.record(await load({}), TEXT, PROTOCOL, place);
    await expect(recorded).rejects.toThrow(FileAccessError);
    expect(existsSync(place.path)).toBe(false);
  });
});

function pick({ comparison, perplexity }: Awaited<ReturnType<typeof measurePerplexity>>) {
  return { comparison, perplexity };
}
