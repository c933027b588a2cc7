import { type Command, InvalidArgumentError, Option } from "commander";
import type { EngineOptions } from "../engine/load-model.ts";
import type { SamplingOptions } from "../text/sampling-options.ts";

/**
 * Flags that several commands have. Their names are the library's options in kebab case, so that what commander
 * parses is what the library takes; ranges are the library's to check.
 */
export type EngineFlags = Pick<
  EngineOptions,
  "backend" | "isa" | "threads" | "contextLength" | "activations" | "kv" | "placement" | "quantize"
>;

export interface GenerateFlags extends Omit<SamplingOptions, "repeatLastN"> {
  readonly maxTokens?: number;
  readonly stop?: readonly string[];
}

export function activationsOption(): Option {
  return new Option("--activations <type>", "precision of activations: int8 or f32 (default: int8)").choices([
    "int8",
    "f32",
  ]);
}

/** How the model is run, on texts of any length. */
export function addEngineOptions(command: Command): Command {
  return addBackendOptions(command).option(
    "--context-length <n>",
    "tokens of a text (default: as trained, at most 4096)",
    wholeNumber,
  );
}

/** How the model is run. */
export function addBackendOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        "--backend <name>",
        "native, wasm or interpreter (default: native if a C compiler works)",
      ).choices(["native", "wasm", "interpreter"]),
    )
    .option("--isa <name>", "instruction set, such as avx2 (default: the best this CPU has)")
    .option("--threads <n>", "threads (default: the cores this process may use)", wholeNumber)
    .addOption(activationsOption())
    .addOption(
      new Option("--kv <type>", "precision of the KV cache: f32, f16 or q8_0 (default: f16)").choices([
        "f32",
        "f16",
        "q8_0",
      ]),
    )
    .addOption(
      new Option(
        "--placement <where>",
        "packed weights: arena (in memory), mapped (a cached file; starts at once) or auto (both) (default: auto)",
      ).choices(["auto", "arena", "mapped"]),
    )
    .option("--quantize <format>", "quantize float weights on load, to Q4_0 or 4bit-g128, say");
}

/** How the next token is chosen, and when the text ends. */
export function addSamplingOptions(command: Command): Command {
  return command
    .option("-n, --max-tokens <n>", "tokens to generate, at most (default: until the text ends)", wholeNumber)
    .option("--temperature <x>", "0 is the likeliest text, above 1 a wild one (default: 0.8)", decimal)
    .option("--top-k <n>", "choose among the n likeliest tokens, 0: all (default: 40)", wholeNumber)
    .option("--top-p <x>", "… among those that have this probability together (default: 0.95)", decimal)
    .option("--min-p <x>", "… among those this likely, relative to the likeliest (default: 0.05)", decimal)
    .option("--repeat-penalty <x>", "above 1: fewer repetitions (default: 1)", decimal)
    .option("--seed <n>", "the same seed gives the same text (default: random)", wholeNumber)
    .option("--stop <text>", "end the text before this; may be given several times", collect);
}

/** The flags among them that are the engine's. */
export function engineOptions(flags: EngineFlags): EngineFlags {
  const { backend, isa, threads, contextLength, activations, kv, placement, quantize } = flags;
  return { backend, isa, threads, contextLength, activations, kv, placement, quantize };
}

/** The flags among them that `generate` and `chat` take. */
export function generateOptions(flags: GenerateFlags): GenerateFlags {
  const { maxTokens, stop, temperature, topK, topP, minP, repeatPenalty, seed } = flags;
  const all = { maxTokens, stop, temperature, topK, topP, minP, repeatPenalty, seed };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

/** Finds out that a value is out of its range before the model is loaded, not after. */
export async function checkSampling(flags: GenerateFlags): Promise<void> {
  const { resolveSampling } = await import("../text/sampling-options.ts");
  resolveSampling(generateOptions(flags));
}

export function wholeNumber(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError("It must be a whole number.");
  return Number(text);
}

/** A whole number from 1. */
export function count(text: string): number {
  const value = wholeNumber(text);
  if (value === 0) throw new InvalidArgumentError("It must be 1 or more.");
  return value;
}

/** Weights that share a scale, or -1. */
export function groupSize(text: string): number {
  return text === "-1" ? -1 : wholeNumber(text);
}

export function decimal(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value)) throw new InvalidArgumentError("It must be a number.");
  return value;
}

/** "3.5bpw", or "3.5". */
export function bitsPerWeight(text: string): number {
  return decimal(text.replace(/ ?bpw$/, ""));
}

/** "2.4GB", "900MiB" or a number of bytes. */
export function size(text: string): number {
  const [, digits, prefix = "", binary] = /^(\d+(?:\.\d+)?) ?(?:([kKMGT]?)(i?)B)?$/.exec(text) ?? [];
  if (digits === undefined) throw new InvalidArgumentError("It must be a size, such as 2.4GB or 900MiB.");
  return Math.floor(Number(digits) * (binary ? 1024 : 1000) ** " KMGT".indexOf(prefix.toUpperCase() || " "));
}

function collect(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, text];
}

/** Examples below a command's help: [what, command line]. */
export function addExamples(command: Command, examples: readonly (readonly [string, string])[]): Command {
  const lines = examples.map(([what, line]) => `  # ${what}\n  ${line}\n`);
  return command.addHelpText("after", `\nExamples:\n${lines.join("\n")}`);
}
