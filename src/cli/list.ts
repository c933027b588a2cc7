import type { Command } from "commander";
import type { CachedModel } from "../hub/cached-models.ts";
import { bytesText, durationText } from "../plan/text.ts";
import { columns, oneLine, printable } from "./format.ts";
import { type Io, write, writeJson } from "./io.ts";
import { addExamples } from "./options.ts";

export function addList(program: Command, io: Io): void {
  const command = program
    .command("list")
    .description(
      "Show the models of the Hugging Face cache that are in a form that qigen reads, whoever downloaded them, as " +
        "`qigen run` and `qigen rm` take them.",
    )
    .option("--json", "as JSON");
  addExamples(command, [
    ["what is here", "qigen list"],
    ["the largest first", "qigen list --json | jq 'sort_by(-.bytes) | .[] | .reference'"],
  ]);
  command.action(async ({ json }: { readonly json?: boolean }) => {
    const { cachedModels } = await import("../hub/cached-models.ts");
    const models = await cachedModels();
    if (json) await writeJson(io, models);
    else await write(io.stdout, listText(models));
  });
}

/** What `qigen list` prints for people. */
export function listText(models: readonly CachedModel[], now = Date.now()): string {
  if (models.length === 0) return "no models; qigen pull hf:owner/name downloads one\n";
  const rows = models.map(({ reference, kind, architecture = "", bytes, lastUsed }) => [
    printable(reference) + (kind === "unfinished" ? " (a download that has not ended)" : ""),
    oneLine(architecture, 40),
    bytesText(bytes),
    agoText(now - lastUsed.getTime()),
  ]);
  return columns([["model", "architecture", "size", "last used"], ...rows], [2]);
}

const DAY_MS = 24 * 3600 * 1000;

function agoText(ms: number): string {
  const days = Math.floor(ms / DAY_MS);
  if (days > 1) return `${days} days ago`;
  return ms < 60_000 ? "now" : `${durationText(60 * Math.floor(ms / 60_000)).replace(" 0 s", "")} ago`;
}
