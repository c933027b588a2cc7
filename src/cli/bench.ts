import type { Command } from "commander";
import type { BenchmarkResult, BenchmarkTest } from "../api/benchmark.ts";
import { bytesText, digits, secondsText } from "../plan/text.ts";
import { columns, formatCount } from "./format.ts";
import { localModel } from "./hub-model.ts";
import { type Io, write, writeJson } from "./io.ts";
import { addEngineOptions, addExamples, type EngineFlags, engineOptions, wholeNumber } from "./options.ts";
import { progressOn, Status } from "./status.ts";
import { addSubject, type SubjectFlags, subjectOf } from "./subject.ts";

interface BenchFlags extends EngineFlags, SubjectFlags {
  readonly promptTokens?: number;
  readonly genTokens?: number;
  readonly depth?: number;
  readonly repeat?: number;
  readonly json?: boolean;
}

export function addBench(program: Command, io: Io): void {
  const command = program
    .command("bench")
    .description("Time prefill and decode, and compare them with what this machine was measured to do.");
  addSubject(command)
    .option("--prompt-tokens <n>", "tokens of the prefill test (default: 512)", wholeNumber)
    .option("--gen-tokens <n>", "tokens of the decode test (default: 64)", wholeNumber)
    .option("--depth <n>", "tokens of context before each test, filled untimed (default: 0)", wholeNumber)
    .option("--repeat <n>", "how often (default: 3)", wholeNumber)
    .option("--json", "as JSON");
  addEngineOptions(command);
  addExamples(command, [
    ["the usual case", "qigen bench model.gguf"],
    ["one thread, late in a long text", "qigen bench model.gguf --threads 1 --depth 2048 --repeat 5"],
    ["any shape in any format, without a file", "qigen bench --synthetic llama-2-7b --format 3bit-g128"],
    ["with a comparison to this machine's peaks", "qigen doctor --measure && qigen bench model.gguf"],
  ]);
  command.action((model: string | undefined, flags: BenchFlags) => bench(model, flags, io));
}

async function bench(path: string | undefined, flags: BenchFlags, io: Io): Promise<void> {
  const subject = await localModel(subjectOf(path, flags), io);
  const [{ benchmarkModel }, { modelName }] = await Promise.all([
    import("../api/benchmark.ts"),
    import("../engine/synthetic.ts"),
  ]);
  const { promptTokens, genTokens, depth, repeat, json } = flags;
  const status = new Status(io.stderr, "preparing kernels");
  try {
    const result = await benchmarkModel(subject, {
      ...engineOptions(flags),
      promptTokens,
      genTokens,
      depth,
      repeat,
      onNotice: (line) => status.note(line),
      onProgress: progressOn(status),
      onPhase: (what) => status.show(() => what),
      signal: io.interrupts.signal,
    });
    status.done();
    if (json) await writeJson(io, { model: modelName(subject), ...result });
    else await write(io.stdout, benchText(result));
  } finally {
    status.done();
  }
}

/** What `qigen bench` prints for people. */
export function benchText(result: BenchmarkResult): string {
  const { depth, prefill, decode, memory, machine } = result;
  const { int8Gops, readGBs } = machine;
  const hasPeaks = int8Gops !== undefined || readGBs !== undefined;
  const rows = [
    ["", "", "tokens/s", "min – max", "", hasPeaks ? "of the measured peak" : ""],
    testRow("prefill", prefill, `${digits(prefill.gops)} GOPS`, percent(prefill.gops, int8Gops)),
    testRow("decode", decode, `${digits(decode.gbs)} GB/s`, percent(decode.gbs, readGBs)),
  ];
  const { weights, kvCache } = decode.bytesPerToken;
  const facts = [
    ["context", `${formatCount(depth)} tokens before each test`],
    ["load", secondsText(result.loadSeconds)],
    [
      "read per token",
      `${bytesText(weights)} of weights, ${bytesText(Math.round(kvCache))} of KV cache (${result.kv})`,
    ],
    [
      "memory",
      `${bytesText(memory.weights)} of weights, ${bytesText(memory.kvCache)} of KV cache, peak ${bytesText(memory.peak)}`,
    ],
  ];
  const hint = hasPeaks ? "" : "\nFor a comparison with what this machine can do: qigen doctor --measure\n";
  return `${columns(rows, [1, 2, 3, 4, 5])}\n${columns(facts)}${hint}`;
}

function testRow(name: string, test: BenchmarkTest, amount: string, peak: string): string[] {
  const { median, min, max } = test.tokensPerSecond;
  const range = `${digits(min)} – ${digits(max)}`;
  return [name, `${formatCount(test.tokens)} tokens`, digits(median), range, amount, peak];
}

function percent(value: number, peak: number | undefined): string {
  return peak === undefined ? "" : `${Math.round((100 * value) / peak)} % of ${digits(peak)}`;
}
