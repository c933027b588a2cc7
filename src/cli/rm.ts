import { createInterface } from "node:readline/promises";
import type { Command } from "commander";
import { AbortedError, UsageError } from "../base/errors.ts";
import type { Removal } from "../hub/removal.ts";
import { bytesText, count } from "../plan/text.ts";
import { printable } from "./format.ts";
import type { Io } from "./io.ts";
import { addExamples } from "./options.ts";

const SHOWN_FILES = 10;

export function addRm(program: Command, io: Io): void {
  const command = program
    .command("rm")
    .description(
      "Remove a model from the Hugging Face cache: a repository with all that is in it, or one model of it.",
    )
    .argument(
      "<model>",
      "as qigen list shows it: hf:owner/name, hf:owner/name/file.gguf, hf:owner/name:Q4_K_M",
    )
    .option("-y, --yes", "do not ask");
  addExamples(command, [
    ["everything of a repository", "qigen rm hf:owner/name"],
    ["one type, without a question", "qigen rm hf:owner/name:Q8_0 --yes"],
  ]);
  command.action(async (model: string, { yes }: { readonly yes?: boolean }) => {
    const { planRemoval } = await import("../hub/removal.ts");
    const removal = await planRemoval(model);
    if (!yes && !(await confirmed(removal, io))) return;
    await removal.execute();
    io.stderr.write(`removed ${bytesText(removal.bytes)} of ${removal.repository}\n`);
  });
}

async function confirmed({ repository, files, bytes }: Removal, io: Io): Promise<boolean> {
  const { stdin, stderr, interrupts } = io;
  if (stdin.isTTY !== true)
    throw new UsageError("nobody can be asked here; --yes removes without a question");
  const more = files.length - SHOWN_FILES;
  const lines = [
    `${repository}: ${count(files.length, "file")}, ${bytesText(bytes)}`,
    ...files.slice(0, SHOWN_FILES).map((name) => `  ${printable(name)}`),
    ...(more > 0 ? [`  … and ${more} more`] : []),
  ];
  stderr.write(`${lines.join("\n")}\n`);
  const reader = createInterface({ input: stdin, output: stderr });
  reader.on("SIGINT", () => interrupts.fire());
  try {
    return /^y(?:es)?$/i.test(await reader.question("Remove? (y/N) ", { signal: interrupts.signal }));
  } catch {
    throw new AbortedError();
  } finally {
    reader.close();
  }
}
