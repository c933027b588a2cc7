import { type Command, Option } from "commander";
import type { GeneratedProjection } from "../api/codegen.ts";
import type { Isa } from "../isa/isa.ts";
import type { Machine } from "../plan/machine.ts";
import { type Io, write } from "./io.ts";
import { isaFor, machineFor } from "./machine.ts";
import { activationsOption, addExamples, wholeNumber } from "./options.ts";

type Target = "c" | "wasm" | "ir";

interface GenerateCodeFlags {
  readonly format: string;
  readonly rows: number;
  readonly cols: number;
  readonly tokens?: number;
  readonly isa?: string;
  readonly backend?: Target;
  readonly activations?: "int8" | "f32";
  readonly threads?: number;
  readonly machine?: string;
  readonly out?: string;
}

export function addGenerate(program: Command, io: Io): void {
  const command = program
    .command("generate")
    .description("Print the code for one projection y = W · x, below the plan it follows.")
    .requiredOption("--format <name>", "format of the weights: Q4_0, 4bit-g128, …")
    .requiredOption("--rows <n>", "outputs", wholeNumber)
    .requiredOption("--cols <n>", "inputs", wholeNumber)
    .option("--tokens <n>", "input vectors at a time (default: 1)", wholeNumber)
    .option("--isa <name>", "instruction set, which the machine need not have (default: its best)")
    .addOption(
      new Option("--backend <name>", "what to print: c, wasm or ir (default: what the ISA is for)").choices([
        "c",
        "wasm",
        "ir",
      ]),
    )
    .addOption(activationsOption())
    .option("--threads <n>", "threads to plan for (default: the machine's)", wholeNumber)
    .option("--machine <file>", "machine to plan for: a JSON file, or generic (default: this one)")
    .option("-o, --out <file>", "write to a file");
  addExamples(command, [
    ["C for this machine", "qigen generate --format q4_0 --rows 4096 --cols 4096"],
    ["prefill on AVX2", "qigen generate --format q4_0 --rows 4096 --cols 4096 --tokens 256 --isa avx2"],
    ["WebAssembly", "qigen generate --format 3bit-g128 --rows 4096 --cols 4096 --backend wasm -o gemv.wat"],
  ]);
  command.action((flags: GenerateCodeFlags) => generate(flags, io));
}

async function generate(flags: GenerateCodeFlags, io: Io): Promise<void> {
  const { generateProjection } = await import("../api/codegen.ts");
  const machine = await machineFor(flags.machine);
  const isa = await targetIsa(machine, flags);
  const { format, rows, cols, tokens, activations, threads } = flags;
  const generated = generateProjection({ machine, isa, format, rows, cols, tokens, activations, threads });
  const target = flags.backend ?? isa.syntax;
  const text = await withPlan(generated, target, machine);
  if (flags.out === undefined) return write(io.stdout, text);
  const { writeFileAtomically } = await import("../host/node-files.ts");
  await writeFileAtomically(flags.out, (put) => put(new TextEncoder().encode(text)));
}

const KIND = { c: "native", wasm: "wasm", ir: undefined } as const;

/** The ISA that was asked for, if it can be printed as asked; else the machine's best that can. */
async function targetIsa(machine: Machine, { isa: name, backend }: GenerateCodeFlags): Promise<Isa> {
  const isa = await isaFor(machine, name, backend && KIND[backend]);
  if (backend === undefined || backend === "ir" || backend === isa.syntax) return isa;
  const { UsageError } = await import("../base/errors.ts");
  const syntax = isa.syntax === "c" ? "C" : "WebAssembly";
  throw new UsageError(`${isa.name} is printed as ${syntax}: --backend ${isa.syntax}`);
}

const COMMENT = { c: "//", ir: "//", wasm: ";;" } as const satisfies Record<Target, string>;

async function withPlan(
  { plan, code }: GeneratedProjection,
  target: Target,
  machine: Machine,
): Promise<string> {
  const { explainProjection } = await import("../plan/explain.ts");
  const lines = explainProjection(plan, machine).trimEnd().split("\n");
  const header = lines.map((line) => `${COMMENT[target]} ${line}`.trimEnd()).join("\n");
  return `${header}\n\n${code[target]}`;
}
