import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import type { GenerationResult } from "../api/generation.ts";
import type { Model } from "../api/model.ts";
import { localModel } from "./hub-model.ts";
import { type Io, safeText, write, writeJson } from "./io.ts";
import { loadForUser } from "./load.ts";
import { readLongText } from "./long-text.ts";
import {
  addEngineOptions,
  addExamples,
  addSamplingOptions,
  checkSampling,
  type EngineFlags,
  type GenerateFlags,
  generateOptions,
} from "./options.ts";
import { Status } from "./status.ts";
import { timingLines, timingsOf } from "./timings.ts";

/** The model in the package, and the settings with which it tells a story. */
export const EMBEDDED = {
  path: fileURLToPath(new URL("../../models/tales-5.8m-q4_0.gguf", import.meta.url)),
  prompt: "Once upon a time",
  sampling: { temperature: 0.8, topP: 0.9, repeatPenalty: 1.1, seed: 1 },
} as const;

interface RunFlags extends EngineFlags, GenerateFlags {
  readonly prompt?: string;
  readonly promptFile?: string;
  readonly echo?: boolean;
  readonly quiet?: boolean;
  readonly json?: boolean;
}

export function addRun(program: Command, io: Io): void {
  const command = program
    .command("run")
    .description("Continue a text. Without a model: a story by the small one that is built in.")
    .argument("[model]", "GGUF file, Hugging Face folder, or hf:owner/name of the hub")
    .option("-p, --prompt <text>", "text to continue (default: none, the model starts by itself)")
    .option("-f, --prompt-file <file>", "read the text to continue from a file, - for standard input")
    .option("--echo", "print the prompt too (default for the built-in model)")
    .option("--no-echo", "print only what comes after the prompt")
    .option("-q, --quiet", "nothing on stderr but errors")
    .option("--json", "one JSON object at the end, instead of the text");
  addEngineOptions(addSamplingOptions(command));
  addExamples(command, [
    ["a story", "qigen run"],
    [
      "the likeliest 100 tokens after a prompt",
      'qigen run model.gguf -p "The sky is" -n 100 --temperature 0',
    ],
    ["on WebAssembly, for programs to read", 'qigen run model.gguf -p "The sky is" --backend wasm --json'],
  ]);
  command.action((model: string | undefined, flags: RunFlags) => run(model, flags, io));
}

async function run(path: string | undefined, given: RunFlags, io: Io): Promise<void> {
  const flags = path === undefined ? { ...EMBEDDED.sampling, ...given } : given;
  const fallback = path === undefined ? EMBEDDED.prompt : "";
  const prompt = (await promptOf(given, io)) ?? fallback;
  const quiet = flags.quiet ?? false;
  await checkSampling(flags);
  const local = await localModel(path ?? EMBEDDED.path, io, quiet);
  const model = await loadForUser(local, flags, io, quiet);
  try {
    if (flags.json) await runJson(model, prompt, flags, io);
    else {
      const echoed = (flags.echo ?? path === undefined) ? prompt : "";
      const result = await stream(model, prompt, echoed, flags, io);
      if (!quiet) io.stderr.write(`\n${timingLines(result)}`);
    }
    await finishSaving(model, io, quiet);
  } finally {
    await model.dispose();
  }
}

/** The first start of a model leaves its packed weights, so that the next one is quick. */
async function finishSaving(model: Model, io: Io, quiet: boolean): Promise<void> {
  const status = new Status(
    io.stderr,
    "keeping the packed weights for the next start, Ctrl-C skips it",
    quiet,
  );
  await model.saved(io.interrupts.signal);
  status.done();
}

/** The text to continue, if the flags name one. */
async function promptOf(flags: RunFlags, io: Io): Promise<string | undefined> {
  const { promptFile } = flags;
  if (promptFile === undefined) return flags.prompt;
  if (flags.prompt !== undefined) {
    const { UsageError } = await import("../base/errors.ts");
    throw new UsageError("--prompt and --prompt-file exclude each other");
  }
  return promptFile === "-" ? readInput(io) : readLongText(promptFile);
}

/** All of standard input. Throws `AbortedError` when the user does not want to wait for it. */
async function readInput({ stdin, interrupts }: Io): Promise<string> {
  const { AbortedError } = await import("../base/errors.ts");
  const stop = () => stdin.destroy(new AbortedError());
  interrupts.signal.addEventListener("abort", stop, { once: true });
  try {
    const parts: Buffer[] = [];
    for await (const part of stdin) parts.push(Buffer.from(part));
    return Buffer.concat(parts).toString("utf8");
  } finally {
    interrupts.signal.removeEventListener("abort", stop);
  }
}

/** Text as it comes; ends with a line end, whatever happens. */
async function stream(
  model: Model,
  prompt: string,
  echoed: string,
  flags: RunFlags,
  io: Io,
): Promise<GenerationResult> {
  let last = echoed;
  if (echoed !== "") await write(io.stdout, safeText(io.stdout, echoed));
  const text = model.generate(prompt, { ...generateOptions(flags), signal: io.interrupts.signal });
  try {
    for (;;) {
      const next = await text.next();
      if (next.done) return next.value;
      last = next.value;
      await write(io.stdout, safeText(io.stdout, next.value));
    }
  } finally {
    if (!last.endsWith("\n") && !io.stdout.destroyed) await write(io.stdout, "\n");
  }
}

async function runJson(model: Model, prompt: string, flags: RunFlags, io: Io): Promise<void> {
  const text = model.generate(prompt, { ...generateOptions(flags), signal: io.interrupts.signal });
  let all = "";
  let next = await text.next();
  for (; !next.done; next = await text.next()) all += next.value;
  const { promptTokens, generatedTokens, stopReason, seed } = next.value;
  const { backend, isa, threads } = model;
  await writeJson(io, {
    model: model.path,
    backend,
    isa,
    threads,
    prompt,
    text: all,
    stopReason,
    seed,
    tokens: { prompt: promptTokens, generated: generatedTokens },
    timings: timingsOf(next.value),
  });
}
