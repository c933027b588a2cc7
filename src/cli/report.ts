import { type Command, Option } from "commander";
import { UsageError } from "../base/errors.ts";
import type { SweepProgress } from "../report/sweep.ts";
import { localModel } from "./hub-model.ts";
import { type Io, write, writeJson } from "./io.ts";
import { addExamples, wholeNumber } from "./options.ts";
import { bar, Status } from "./status.ts";

interface ReportFlags {
  readonly text: string;
  readonly calibration?: string;
  readonly bits: string;
  readonly groupSizes: string;
  readonly method?: "rtn" | "gptq" | "both";
  readonly task?: readonly string[];
  readonly tokens: number;
  readonly context?: number;
  readonly samples: number;
  readonly out: string;
  readonly json?: boolean;
}

export function addReport(program: Command, io: Io): void {
  const command = program
    .command("report")
    .description(
      "The map of accuracy against speed: quantizes a model of floats in many settings and measures each: perplexity, " +
        "divergence, tasks, bytes, memory, tokens/s, and what the performance model predicted. Writes one HTML page, JSON " +
        "and CSV; they are complete after every setting, so that it may be interrupted.",
    )
    .argument("<model>", "Hugging Face folder or GGUF file of floats, or hf:owner/name")
    .requiredOption(
      "-t, --text <file>",
      "text that perplexity is of, which the calibration text does not have",
    )
    .option("--calibration <file>", "text that GPTQ adapts to")
    .option("--bits <list>", "numbers of bits", "8,4,3,2")
    .option("--group-sizes <list>", "weights that share a scale; -1 for a whole row", "32,128,-1")
    .addOption(
      new Option(
        "--method <name>",
        "rtn, gptq, or both (default: both with --calibration, else rtn)",
      ).choices(["rtn", "gptq", "both"]),
    )
    .option("--task <file...>", "tasks as for qigen eval")
    .option("--tokens <n>", "tokens of the text", wholeNumber, 20_000)
    .option("--context <n>", "tokens of a window (default: as trained, at most 512)", wholeNumber)
    .option("--samples <n>", "samples of the calibration text", wholeNumber, 64)
    .option("-o, --out <name>", "writes <name>.html, <name>.json and <name>.csv", "report")
    .option("--json", "the report as JSON on stdout, too");
  addExamples(command, [
    [
      "all settings",
      "qigen report model/ --text held-out.txt --calibration training.txt --task hellaswag_val.jsonl",
    ],
    ["some, without calibration", "qigen report model/ --text held-out.txt --bits 4,3 --group-sizes 64"],
  ]);
  command.action((model: string, flags: ReportFlags) => report(model, flags, io));
}

async function report(named: string, flags: ReportFlags, io: Io): Promise<void> {
  const [{ runSweep }, { reportPage }, { reportCsv }, { settingsOf }, { openModel }] = await Promise.all([
    import("../report/sweep.ts"),
    import("../report/page.ts"),
    import("../report/table.ts"),
    import("../report/setting.ts"),
    import("../engine/load-model.ts"),
  ]);
  const { writeFileAtomically } = await import("../host/node-files.ts");
  const settings = settingsOf(
    numbers("--bits", flags.bits),
    numbers("--group-sizes", flags.groupSizes),
    methodsOf(flags),
  );
  const model = await localModel(named, io);
  const opened = await openModel(model, (line) => io.stderr.write(`${line}\n`));
  await opened.close();
  const trained = opened.spec.config.contextLength;
  const context = flags.context ?? Math.min(512, trained);
  const parameters = [...opened.file.tensors.values()].reduce(
    (sum, { shape }) => sum + shape.reduce((product, extent) => product * extent, 1),
    0,
  );
  const status = new Status(io.stderr, "starting");
  try {
    const result = await runSweep(
      {
        model,
        settings,
        calibration: flags.calibration,
        samples: flags.samples,
        text: flags.text,
        context,
        bos: opened.tokenizer().addsBos,
        windows: Math.max(1, Math.floor(flags.tokens / context)),
        tasks: flags.task ?? [],
        promptTokens: context,
        genTokens: Math.min(64, context),
      },
      {
        command: commandLine(named, flags),
        parameters,
        onProgress: (progress) => status.show(() => progressText(progress)),
        onReport: async (sofar) => {
          const texts = [reportPage(sofar), `${JSON.stringify(sofar, null, 1)}\n`, reportCsv(sofar)];
          for (const [i, ending] of ["html", "json", "csv"].entries()) {
            const bytes = new TextEncoder().encode(texts[i]);
            await writeFileAtomically(`${flags.out}.${ending}`, (write) => write(bytes));
          }
        },
        signal: io.interrupts.signal,
      },
    );
    status.done();
    if (flags.json) await writeJson(io, result);
    else await write(io.stdout, `${result.rows.length} settings: ${flags.out}.html, .json, .csv\n`);
  } finally {
    status.done();
  }
}

function numbers(name: string, list: string): number[] {
  const values = list.split(",").map((word) => (word.trim() === "" ? Number.NaN : Number(word)));
  if (values.some((value) => !Number.isInteger(value))) {
    throw new UsageError(`${name} is a list of whole numbers such as 4,3, not ${list}`);
  }
  return [...new Set(values)];
}

function methodsOf({ method, calibration }: ReportFlags): readonly ("rtn" | "gptq")[] {
  const chosen = method ?? (calibration === undefined ? "rtn" : "both");
  if (chosen !== "rtn" && calibration === undefined) {
    throw new UsageError("gptq needs a text that it adapts to: --calibration");
  }
  return chosen === "both" ? ["rtn", "gptq"] : [chosen];
}

function progressText({ done, total, setting }: SweepProgress): string {
  return `measuring ${bar(done / total)} ${done + 1} of ${total}: ${setting}`;
}

/** What was asked for, with the defaults that decide the result. */
function commandLine(model: string, flags: ReportFlags): string {
  const given = Object.entries(flags).filter(([name]) => name !== "json" && name !== "out");
  const words = given.map(
    ([name, value]) =>
      `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)} ${[value].flat().join(" ")}`,
  );
  return ["qigen report", model, ...words].join(" ");
}
