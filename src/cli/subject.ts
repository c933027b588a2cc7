import type { Command } from "commander";
import { UsageError } from "../base/errors.ts";
import type { SyntheticModel } from "../engine/synthetic.ts";

/** Flags of commands that take a model file or a synthetic model. */
export interface SubjectFlags {
  readonly synthetic?: string;
  readonly format?: string;
  readonly outputFormat?: string;
}

export function addSubject(command: Command): Command {
  return command
    .argument("[model]", "GGUF file, Hugging Face folder, or hf:owner/name of the hub")
    .option("--synthetic <shape>", "instead of a file: random weights in a model's shape, llama-2-7b, say")
    .option("--format <name>", "their format: Q4_0, 3bit-g128, … (default: Q4_0)")
    .option("--output-format <name>", "format of their output head (default: the same)");
}

/** The file or the synthetic model that a command line names. */
export function subjectOf(model: string | undefined, flags: SubjectFlags): string | SyntheticModel {
  const { synthetic, format, outputFormat } = flags;
  if ((model === undefined) === (synthetic === undefined)) {
    throw new UsageError("name either a model file or a shape (--synthetic)");
  }
  if (synthetic !== undefined) return { shape: synthetic, format: format ?? "Q4_0", outputFormat };
  if (format !== undefined || outputFormat !== undefined) {
    throw new UsageError("--format and --output-format are for --synthetic: a file has its own formats");
  }
  return model as string;
}
