import type { Command } from "commander";
import { pullForUser } from "./hub-model.ts";
import { type Io, write, writeJson } from "./io.ts";
import { addExamples } from "./options.ts";

interface PullFlags {
  readonly quiet?: boolean;
  readonly json?: boolean;
}

export function addPull(program: Command, io: Io): void {
  const command = program
    .command("pull")
    .description(
      "Download a model of the Hugging Face hub, into the cache that other programs use too, and print where it is. What " +
        "was interrupted goes on. Without a file or type: Q4_K_M, else Q4_0, Q8_0 or what is nearest; safetensors where " +
        "there is no GGUF. HF_TOKEN opens gated and private repositories; HF_ENDPOINT, HF_HOME, HF_HUB_CACHE, " +
        "HF_HUB_OFFLINE, HTTPS_PROXY and NO_PROXY mean what they mean elsewhere.",
    )
    .argument(
      "<model>",
      "hf:owner/name, hf:owner/name/file.gguf or hf:owner/name:Q4_K_M, each with @revision or without",
    )
    .option("-q, --quiet", "nothing on stderr but errors")
    .option("--json", "as JSON");
  addExamples(command, [
    ["the usual file of a repository", "qigen pull hf:owner/name-GGUF"],
    ["another type", "qigen pull hf:owner/name-GGUF:Q8_0"],
    ["one file, as it was at a tag", "qigen pull hf:owner/name-GGUF/name-Q6_K.gguf@v1.0"],
  ]);
  command.action(async (model: string, flags: PullFlags) => {
    const pulled = await pullForUser(model, io, flags.quiet);
    if (flags.json) await writeJson(io, pulled);
    else await write(io.stdout, `${pulled.path}\n`);
  });
}
