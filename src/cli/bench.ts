import type { Command } from "commander";
import type { BenchmarkResult, Spread } from "../api/benchmark.ts";
import { bytesText, digits, secondsText } from "../plan/text.ts";
import { columns, formatCount } from "./format.ts";
import { type Io, write, writeJson } from "./io.ts";
import { addEngineOptions, addExamples, type EngineFlags, engineOptions, wholeNumber } from "./options.ts";
import { progressOn, Status } from "./status.ts";

interface BenchFlags extends EngineFlags {
  readonly promptTokens?: number;
  readonly genTokens?: number;
  readonly repeat?: number;
  readonly json?: boolean;
}

export function addBench(program: Command, io: Io): void {
  const command = program
    .command("bench")
    .description("Time prefill and decode, and compare them with what this machine was measured to do.")
    .argument("<model>", "GGUF file")
    .option("--prompt-tokens <n>", "tokens of the prompt (default: 512)", wholeNumber)
    .option("--gen-tokens <n>", "tokens generated after it (default: 64)", wholeNumber)
    .option("--repeat <n>", "how often (default: 3)", wholeNumber)
    .option("--json", "as JSON");
  addEngineOptions(command);
  addExamples(command, [
    ["the usual case", "qigen bench model.gguf"],
    ["one thread, long prompt", "qigen bench model.gguf --threads 1 --prompt-tokens 2048 --repeat 5"],
    ["with a comparison to this machine's peaks", "qigen doctor --measure && qigen bench model.gguf"],
  ]);
  command.action((model: string, flags: BenchFlags) => bench(model, flags, io));
}

async function bench(path: string, flags: BenchFlags, io: Io): Promise<void> {
  const { benchmarkModel } = await import("../api/benchmark.ts");
  const { promptTokens, genTokens, repeat, json } = flags;
  const status = new Status(io.stderr, "preparing kernels");
  try {
    const result = await benchmarkModel(path, {
      ...engineOptions(flags),
      promptTokens,
      genTokens,
      repeat,
      onNotice: (line) => status.note(line),
      onProgress: progressOn(status),
      onRepeat: (line) => status.show(() => line),
      signal: io.interrupts.signal,
    });
    status.done();
    if (json) await writeJson(io, { model: path, ...result });
    else await write(io.stdout, benchText(result));
  } finally {
    status.done();
  }
}

/** What `qigen bench` prints for people. */
export function benchText(result: BenchmarkResult): string {
  const { bytesPerToken, machine, promptTokens, genTokens } = result;
  const rates = (name: string, tokens: number, rate: Spread, amount: string, peak: string) => [
    name,
    `${formatCount(tokens)} tokens`,
    digits(rate.median),
    `${digits(rate.min)} – ${digits(rate.max)}`,
    amount,
    peak,
  ];
  const gops = `${digits(result.prefillGops)} GOPS`;
  const gbs = `${digits(result.decodeGBs)} GB/s`;
  const hasPeaks = machine.int8Gops !== undefined || machine.readGBs !== undefined;
  const rows = [
    ["", "", "tokens/s", "min – max", "", hasPeaks ? "of the measured peak" : ""],
    rates(
      "prefill",
      promptTokens,
      result.prefillTokensPerSecond,
      gops,
      percent(result.prefillGops, machine.int8Gops),
    ),
    rates("decode", genTokens, result.decodeTokensPerSecond, gbs, percent(result.decodeGBs, machine.readGBs)),
  ];
  const first = result.firstTokenSeconds;
  const facts = [
    ["load", secondsText(result.loadSeconds)],
    ["first token", `${secondsText(first.median)} after a prompt of ${formatCount(promptTokens)} tokens`],
    [
      "read per token",
      `${bytesText(bytesPerToken.weights)} of weights, ${bytesText(Math.round(bytesPerToken.kvCache))} of KV cache`,
    ],
  ];
  const hint = hasPeaks ? "" : "\nFor a comparison with what this machine can do: qigen doctor --measure\n";
  return `${columns(rows, [1, 2, 3, 4, 5])}\n${columns(facts)}${hint}`;
}

function percent(value: number, peak: number | undefined): string {
  return peak === undefined ? "" : `${Math.round((100 * value) / peak)} % of ${digits(peak)}`;
}
