import type { Command } from "commander";
import { modelToInspect } from "./hub-model.ts";
import { type Inspection, inspectModel } from "./inspect-model.ts";
import { inspectionText } from "./inspect-text.ts";
import { type Io, write, writeJson } from "./io.ts";
import { addEngineOptions, addExamples, type EngineFlags } from "./options.ts";

export interface InspectFlags extends EngineFlags {
  readonly json?: boolean;
  readonly tensors?: boolean;
}

export function addInspect(program: Command, io: Io): void {
  const command = program
    .command("inspect")
    .description(
      "What is in a GGUF file or Hugging Face folder: metadata, dimensions, tensors, and the memory it needs. Reads " +
        "only headers, those of GGUF files on the hub too, and GGUF files of any architecture.",
    )
    .argument("<model>", "GGUF file, Hugging Face folder, or hf:owner/name of the hub")
    .option("--tensors", "list every tensor")
    .option("--json", "as JSON");
  addEngineOptions(command);
  addExamples(command, [
    ["an overview", "qigen inspect model.gguf"],
    ["before it is downloaded", "qigen inspect hf:owner/name-GGUF:Q8_0"],
    ["memory for long texts", "qigen inspect model.gguf --context-length 32768"],
    ["the type of every tensor", "qigen inspect model.gguf --tensors --json | jq '.tensors.list[].type'"],
  ]);
  command.action(async (model: string, flags: InspectFlags) => {
    const found: Inspection = await inspectModel(await modelToInspect(model, io), flags);
    if (flags.json) await writeJson(io, found);
    else await write(io.stdout, inspectionText(found, io.stdout.columns || 100));
  });
}
