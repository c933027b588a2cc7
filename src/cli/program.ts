import { readFileSync } from "node:fs";
import { Command } from "commander";
import { addBench } from "./bench.ts";
import { addChat } from "./chat.ts";
import { addDoctor } from "./doctor.ts";
import { addEval } from "./eval.ts";
import { addExplain } from "./explain.ts";
import { reportFailure } from "./failure.ts";
import { addGenerate } from "./generate.ts";
import { addInspect } from "./inspect.ts";
import type { Io } from "./io.ts";
import { addList } from "./list.ts";
import { addPerplexity } from "./perplexity.ts";
import { addPull } from "./pull.ts";
import { addQuantize } from "./quantize.ts";
import { addReport } from "./report.ts";
import { addRm } from "./rm.ts";
import { addRun } from "./run.ts";
import { addTune } from "./tune.ts";

/** Runs one command line; returns the exit code. Never throws. */
export async function runCli(args: readonly string[], io: Io): Promise<number> {
  try {
    const program = createProgram(io);
    if (args.length === 0) program.outputHelp();
    else await program.parseAsync([...args], { from: "user" });
    return 0;
  } catch (error) {
    return reportFailure(error, io);
  }
}

function createProgram(io: Io): Command {
  const program = new Command("qigen")
    .description(
      "Plans, generates and runs CPU kernels for quantized large language models.\n" +
        "`qigen run` without a model tells a story with the small one that is built in.",
    )
    .version(packageVersion(), "-V, --version", "print the version")
    .helpOption("-h, --help", "explain a command")
    .helpCommand(false)
    .exitOverride()
    .showSuggestionAfterError()
    .configureHelp({ optionDescription: (option) => option.description })
    .configureOutput({
      writeOut: (text) => io.stdout.write(text),
      writeErr: (text) => io.stderr.write(text),
      getOutHelpWidth: () => helpWidth(io.stdout.columns),
      getErrHelpWidth: () => helpWidth(io.stderr.columns),
      outputError: (text, print) => print(text.replace(/^error: /, "qigen: ")),
    });
  const models = [addPull, addList, addRm];
  const commands = [
    addRun,
    addChat,
    ...models,
    addInspect,
    addExplain,
    addGenerate,
    addDoctor,
    addTune,
    addQuantize,
    addBench,
    addPerplexity,
    addEval,
    addReport,
  ];
  for (const add of commands) add(program, io);
  return program;
}

const WIDEST_HELP = 110;

function helpWidth(columns: number | undefined): number {
  return Math.min(columns || 100, WIDEST_HELP);
}

/** The version in package.json, which lies two folders above this file before and after the build. */
export function packageVersion(): string {
  const text = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}
