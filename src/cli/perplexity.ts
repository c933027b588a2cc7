import type { Command } from "commander";
import { Option } from "commander";
import type { Model } from "../api/model.ts";
import { AbortedError } from "../base/errors.ts";
import type { PerplexityProgress } from "../evaluation/perplexity.ts";
import type { ProtocolOptions } from "../evaluation/windows.ts";
import { formatCount } from "./format.ts";
import { localModel } from "./hub-model.ts";
import { type Io, write, writeJson } from "./io.ts";
import { loadForUser } from "./load.ts";
import { readLongText } from "./long-text.ts";
import { addBackendOptions, addExamples, count, type EngineFlags, wholeNumber } from "./options.ts";
import { Pace } from "./pace.ts";
import { estimateText, type PerplexitySettings, perplexityText } from "./perplexity-text.ts";
import { bar, Status } from "./status.ts";

interface PerplexityFlags extends EngineFlags, ProtocolOptions {
  readonly text: string;
  readonly chunks?: number;
  readonly base?: string;
  readonly baseActivations?: EngineFlags["activations"];
  readonly baseKv?: EngineFlags["kv"];
  readonly json?: boolean;
}

/** Any stride fits into it. */
const LONGEST_CONTEXT = 2 ** 24;

export function addPerplexity(program: Command, io: Io): void {
  const command = program
    .command("perplexity")
    .description(
      "How well a model predicts a text: e to the mean surprise at its tokens, by llama-perplexity's protocol or that of " +
        "the papers on quantization. With --base, how far its predictions are from another model's.",
    )
    .argument("<model>", "GGUF file, Hugging Face folder, or hf:owner/name of the hub")
    .requiredOption("-t, --text <file>", "the text, in UTF-8")
    .addOption(
      new Option("--protocol <name>", "llama.cpp or gptq (default: llama.cpp)").choices([
        "llama.cpp",
        "gptq",
      ]),
    )
    .option("-c, --context <n>", "tokens of a window (default: as trained, at most 512)", wholeNumber)
    .option("--stride <n>", "tokens from one window to the next (default: windows side by side)", wholeNumber)
    .addOption(
      new Option(
        "--bos <where>",
        "start token before the text or every window, with --protocol gptq (default: text)",
      ).choices(["text", "window"]),
    )
    .option("--chunks <n>", "windows to run, at most (default: the whole text)", count)
    .option("--base <model>", "compare with this model's predictions: the same model, not quantized, say")
    .addOption(
      new Option("--base-activations <type>", "precision of its activations (default: f32)").choices([
        "int8",
        "f32",
      ]),
    )
    .addOption(
      new Option("--base-kv <type>", "precision of its KV cache (default: f32)").choices([
        "f32",
        "f16",
        "q8_0",
      ]),
    )
    .option("--json", "as JSON");
  addBackendOptions(command);
  addExamples(command, [
    ["as llama-perplexity -c 512 prints it", "qigen perplexity model.gguf --text wiki.test.raw"],
    ["as papers report it", "qigen perplexity model.gguf -t wiki.test.raw --protocol gptq --context 2048"],
    ["what quantization costs", "qigen perplexity model-Q4_0.gguf -t wiki.test.raw --base model-F16.gguf"],
    ["a quick look", "qigen perplexity model.gguf --text wiki.test.raw --chunks 20"],
  ]);
  command.action((model: string, flags: PerplexityFlags) => perplexity(model, flags, io));
}

async function perplexity(named: string, flags: PerplexityFlags, io: Io): Promise<void> {
  await checkProtocol(flags);
  const text = await readLongText(flags.text);
  const path = await localModel(named, io);
  const basePath = flags.base === undefined ? undefined : await localModel(flags.base, io);
  const model = await loadForUser(path, { ...flags, contextLength: flags.context }, io);
  try {
    const base = basePath === undefined ? undefined : await loadBase(basePath, model, flags, io);
    try {
      await report(model, base, text, flags, io);
    } finally {
      await base?.dispose();
    }
  } finally {
    await model.dispose();
  }
}

/** Finds out what no model would change before any is loaded, not after. */
async function checkProtocol(flags: PerplexityFlags): Promise<void> {
  const { resolveProtocol } = await import("../evaluation/windows.ts");
  resolveProtocol(flags, LONGEST_CONTEXT, { addsBos: true, bosId: 0 });
}

/** As exact as it can be, unless the flags say otherwise. */
function loadBase(path: string, model: Model, flags: PerplexityFlags, io: Io): Promise<Model> {
  const { backend, isa, threads, placement, baseActivations = "f32", baseKv = "f32" } = flags;
  const { contextLength } = model;
  const own = { backend, isa, threads, placement, contextLength };
  return loadForUser(path, { ...own, activations: baseActivations, kv: baseKv }, io);
}

/** Measures, with the estimate so far on the status line; where it is interrupted that is said, as what it is. */
async function report(
  model: Model,
  base: Model | undefined,
  text: string,
  flags: PerplexityFlags,
  io: Io,
): Promise<void> {
  const { protocol, context, stride, bos, chunks } = flags;
  const options = { protocol, context, stride, bos, chunks, base, signal: io.interrupts.signal };
  const status = new Status(io.stderr, "reading the text");
  const trained = model.config.contextLength;
  if (context !== undefined && context > trained) {
    status.note(
      `the model was trained on ${formatCount(trained)} tokens, windows have ${formatCount(context)}`,
    );
  }
  const pace = new Pace();
  let last: PerplexityProgress | undefined;
  const onProgress = (progress: PerplexityProgress) => {
    last = progress;
    status.show(() => progressText(progress, pace));
  };
  try {
    const result = await model.perplexity(text, { ...options, onProgress });
    status.done();
    const settings = settingsOf(model, base, flags);
    if (flags.json) await writeJson(io, { ...settings, ...result });
    else await write(io.stdout, perplexityText(settings, result));
  } catch (error) {
    if (error instanceof AbortedError && last?.perplexity !== undefined) {
      const windows = `${formatCount(last.done)} of ${formatCount(last.total ?? last.done)} windows`;
      status.note(`stopped: ${windows} only, which have a perplexity of ${estimateText(last.perplexity)}`);
    }
    throw error;
  } finally {
    status.done();
  }
}

function progressText({ done, total, perplexity }: PerplexityProgress, pace: Pace): string {
  if (total === undefined || perplexity === undefined) return `reading the text, ${formatCount(done)} tokens`;
  const windows = `${bar(done / total)} of ${formatCount(total)} windows`;
  return `${windows}: ${estimateText(perplexity)}${pace.text(done, total)}`;
}

/** What is measured, and everything about how the models run that changes the number. */
function settingsOf(model: Model, base: Model | undefined, flags: PerplexityFlags): PerplexitySettings {
  const { backend, isa, threads } = model;
  const { text, quantize } = flags;
  const ran = (one: Model) => ({ model: one.path, activations: one.activations, kv: one.kv });
  return {
    ...ran(model),
    ...(quantize === undefined ? {} : { quantize }),
    ...(base === undefined ? {} : { base: ran(base) }),
    text,
    backend,
    isa,
    threads,
  };
}
