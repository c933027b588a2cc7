import { z } from "zod";
import type { RunCommand } from "./command.ts";
import type { Method, ReportRow, TaskScore } from "./report.ts";

/** What every model of a sweep is measured with. */
export interface Measurement {
  /** Text that perplexity is of, with the tokens of a window and how many windows. */
  readonly text: string;
  readonly context: number;
  readonly windows: number;
  /** Whether every window is led by the start token. */
  readonly bos: boolean;
  /** Files of tasks. */
  readonly tasks: readonly string[];
  /** Tokens of the tests of speed. */
  readonly promptTokens: number;
  readonly genTokens: number;
}

const estimate = z.object({ value: z.number(), error: z.number() });

const perplexity = z.object({
  perplexity: estimate,
  scored: z.number(),
  comparison: z.object({ divergence: estimate, sameTop: estimate }).optional(),
});
const speed = z.object({ tokensPerSecond: z.object({ median: z.number() }) });
const bench = z.object({
  prefill: speed,
  decode: speed,
  memory: z.object({ weights: z.number(), peak: z.number() }),
});
const predicted = z.object({ tokensPerSecond: z.number() });
const plan = z.object({
  prefill: predicted,
  decode: predicted,
  shapes: z.array(
    z.object({
      names: z.array(z.string()),
      count: z.number(),
      shape: z.object({ rows: z.number(), cols: z.number() }),
      weights: z.object({ decode: z.object({ predicted: z.object({ bytes: z.number() }) }) }),
    }),
  ),
});
const task = z.object({ accuracy: estimate, accuracyNormalized: estimate.optional() });

/** A row, and what the report says of the whole. */
export interface Measured {
  readonly row: ReportRow;
  /** Weights of the projections of all layers. */
  readonly projectionWeights: number;
  /** Tokens whose probability counted. */
  readonly scored: number;
}

/** Measures the model at a path, and compares its predictions with the base's, if there is one. */
export async function measureModel(
  run: RunCommand,
  model: { readonly path: string; readonly setting: string; readonly method: Method },
  base: string | undefined,
  { text, context, windows, bos, tasks, promptTokens, genTokens }: Measurement,
): Promise<Measured> {
  const { path, setting, method } = model;
  const led = bos ? ["--bos", "window"] : [];
  const protocol = ["--protocol", "gptq", "--context", String(context), ...led];
  const compared = base === undefined ? [] : ["--base", base];
  const predictions = perplexity.parse(
    await run(["perplexity", path, "--text", text, ...protocol, "--chunks", String(windows), ...compared]),
  );
  const scores: TaskScore[] = [];
  for (const file of tasks) {
    const { accuracy, accuracyNormalized } = task.parse(await run(["eval", path, "--task", file]));
    scores.push({ task: taskName(file), accuracy: accuracyNormalized ?? accuracy });
  }
  const tests = ["--prompt-tokens", String(promptTokens), "--gen-tokens", String(genTokens)];
  const times = bench.parse(await run(["bench", path, ...tests]));
  const planned = plan.parse(await run(["explain", path, "--prompt-tokens", String(promptTokens)]));
  const { bytes, weights } = projectionsOf(planned);
  return {
    row: {
      setting,
      method,
      bitsPerWeight: (8 * bytes) / weights,
      projectionBytes: bytes,
      weightBytes: times.memory.weights,
      peakBytes: times.memory.peak,
      perplexity: predictions.perplexity,
      divergence: predictions.comparison?.divergence ?? { value: 0, error: 0 },
      sameTop: predictions.comparison?.sameTop.value ?? 1,
      tasks: scores,
      prefill: { measured: times.prefill.tokensPerSecond.median, predicted: planned.prefill.tokensPerSecond },
      decode: { measured: times.decode.tokensPerSecond.median, predicted: planned.decode.tokensPerSecond },
    },
    projectionWeights: weights,
    scored: predictions.scored,
  };
}

/** What `explain` calls the one projection that is in no layer. */
const HEAD = "output head";

/** Bytes and weights of the projections of all layers. */
function projectionsOf({ shapes }: z.infer<typeof plan>): { bytes: number; weights: number } {
  let [bytes, weights] = [0, 0];
  for (const { names, count, shape, weights: planned } of shapes) {
    const ofLayers = names.includes(HEAD) ? count - 1 : count;
    bytes += ofLayers * planned.decode.predicted.bytes;
    weights += ofLayers * shape.rows * shape.cols;
  }
  return { bytes, weights };
}

/** A file's name without folders and endings. */
function taskName(path: string): string {
  const file = path.split(/[/\\]/).at(-1) ?? path;
  return file.replace(/\.jsonl?$/, "");
}
