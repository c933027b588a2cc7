import type { CacheLevel, HugePages, Machine, Measurements } from "../plan/machine.ts";
import type { Diagnosis } from "./doctor.ts";

/** A line: what it is about, and the text beside it. */
type Row = readonly [label: string, text: string];

interface Section {
  readonly title: string;
  readonly rows: readonly Row[];
}

const DEFAULT_WIDTH = 100;
const INDENT = "  ";
const GAP = "  ";
/** Columns that text gets at least, however narrow the terminal. */
const LEAST_TEXT = 24;

/** The diagnosis as plain text for a terminal of `width` columns. */
export function formatDiagnosis(d: Diagnosis, { width = DEFAULT_WIDTH }: { width?: number } = {}): string {
  const sections = [
    choiceSection(d),
    machineSection(d),
    isaSection(d),
    compilerSection(d),
    cacheSection(d),
    packedSection(d),
    measuredSection(d),
    assumptionSection(d.machine),
  ];
  return sections
    .filter(({ rows }) => rows.length > 0)
    .map((section) => formatSection(section, width))
    .join("\n");
}

function choiceSection({ choice, trial }: Diagnosis): Section {
  const rows: Row[] =
    "problem" in choice
      ? [["problem", choice.problem]]
      : [
          ["backend", choice.backend],
          ["ISA", choice.isa],
          ["because", choice.reason],
        ];
  if (trial) rows.push(["trial", `${trial.works ? "passed" : "FAILED"}: ${trial.text}`]);
  return { title: "Models run on", rows };
}

function machineSection({ machine, threads, platform, node }: Diagnosis): Section {
  const { name, architecture, physicalCores, logicalCores, caches, memoryBytes, pageBytes } = machine;
  return {
    title: "Machine",
    rows: [
      ["CPU", `${name} (${architecture})`],
      ["cores", `${physicalCores} physical, ${logicalCores} logical`],
      ["threads", `${threads.count}: ${threads.reason}`],
      ["caches", caches.map(formatCache).join(", ")],
      ["memory", `${binary(memoryBytes)} for this process`],
      ["pages", `${binary(pageBytes)}; ${HUGE_PAGE_TEXT[machine.hugePages]}`],
      ["system", `${platform}, Node ${node}`],
    ],
  };
}

const HUGE_PAGE_TEXT: Readonly<Record<HugePages, string>> = {
  always: "huge ones everywhere",
  madvise: "huge ones where asked for",
  never: "no huge ones",
  unknown: "huge ones unknown",
};

function formatCache({ level, bytes, sharedBy }: CacheLevel): string {
  return `L${level} ${binary(bytes)}${sharedBy > 1 ? ` shared by ${sharedBy} cores` : ""}`;
}

function isaSection({ isas }: Diagnosis): Section {
  return {
    title: "Instruction sets, best first",
    rows: isas.map(
      ({ name, backend, usable, reason }): Row => [
        name,
        `${backend}, ${usable ? "usable" : `not usable: ${reason}`}`,
      ],
    ),
  };
}

function compilerSection({ compilers: { working, broken } }: Diagnosis): Section {
  const rows: Row[] = [
    ...working.map(({ foundAs, version, path }): Row => [foundAs, `${version}, ${path}`]),
    ...broken.map(({ foundAs, command, reason }): Row => [foundAs, `does not work: ${command}: ${reason}`]),
  ];
  if (rows.length === 0) rows.push(["none", "looked for cc, gcc, clang and zig; QIGEN_CC can name another"]);
  return { title: "C compilers, in order of preference", rows };
}

function cacheSection({ cache }: Diagnosis): Section {
  const rows: Row[] = "problem" in cache ? [["problem", cache.problem]] : [["folder", cache.path]];
  if ("note" in cache && cache.note !== undefined) rows.push(["note", cache.note]);
  return { title: "Compiled kernels", rows };
}

function packedSection({ packed }: Diagnosis): Section {
  if (packed === undefined) return { title: "Packed weights", rows: [] };
  const { folder, files, bytes } = packed;
  const size = files === 0 ? "nothing yet" : `${binary(bytes)} in ${files} file${files === 1 ? "" : "s"}`;
  return {
    title: "Packed weights",
    rows: [
      ["folder", folder],
      ["size", size],
    ],
  };
}

function measuredSection({ machine: { measured, tuned }, measuringProblem }: Diagnosis): Section {
  const problem: Row[] = measuringProblem === undefined ? [] : [["problem", measuringProblem]];
  const blockings: Row[] =
    tuned === undefined ? [] : [["tuned", `blockings for ${tuned.length} shapes of matrices, by qigen tune`]];
  if (measured === undefined) {
    const rows: Row[] = [
      ...problem,
      ...blockings,
      ["nothing", "speeds are assumed; measure with `qigen doctor --measure`"],
    ];
    return { title: "Measured", rows };
  }
  const rows = [...readRows(measured), ...peakRows(measured), ...blockings, ...problem];
  return { title: `Measured at ${measured.at}`, rows };
}

function readRows({ readGBs }: Measurements): Row[] {
  return [false, true].flatMap((huge): Row[] => {
    const points = readGBs
      .filter(({ hugePages }) => hugePages === huge)
      .map(({ threads, gbs, maxGbs }) => {
        const best = maxGbs === undefined ? "" : ` (best ${short(maxGbs)})`;
        return `${threadText(threads)} ${short(gbs)}${best}`;
      });
    return points.length === 0
      ? []
      : [[`reads, ${huge ? "huge" : "small"} pages`, `${points.join(", ")} GB/s`]];
  });
}

function peakRows({ int8Gops, f32Gflops, addGops = [] }: Measurements): Row[] {
  const kinds = [
    { what: "int8", unit: "Gop/s", found: int8Gops },
    { what: "f32", unit: "Gflop/s", found: f32Gflops.map(({ gflops, ...of }) => ({ ...of, gops: gflops })) },
    { what: "additions", unit: "Gop/s", found: addGops },
  ];
  const names = [...new Set(kinds.flatMap(({ found }) => found.map(({ isa }) => isa)))];
  return names.flatMap((name) =>
    kinds.flatMap(({ what, unit, found }): Row[] => {
      const points = found
        .filter(({ isa }) => isa === name)
        .map(({ threads, gops }) => `${threadText(threads)} ${short(gops)}`);
      return points.length === 0 ? [] : [[`${what}, ${name}`, `${points.join(", ")} ${unit}`]];
    }),
  );
}

function assumptionSection({ assumptions }: Machine): Section {
  return { title: "Assumed", rows: assumptions.map((text): Row => ["-", text]) };
}

function formatSection({ title, rows }: Section, width: number): string {
  const labelWidth = Math.max(...rows.map(([label]) => label.length));
  const hanging = " ".repeat(INDENT.length + labelWidth + GAP.length);
  const textWidth = Math.max(LEAST_TEXT, width - hanging.length);
  const lines = rows.map(([label, text]) => {
    const head = `${INDENT}${label.padEnd(labelWidth)}${GAP}`;
    return head + wrap(text, textWidth).join(`\n${hanging}`);
  });
  return `${title}\n${lines.join("\n")}\n`;
}

/** Breaks at blanks; a word longer than the width stays whole. */
function wrap(text: string, width: number): string[] {
  return text.split("\n").flatMap((line) => {
    const lines: string[] = [];
    let current = "";
    for (const word of line.trim().split(/\s+/)) {
      if (current !== "" && current.length + 1 + word.length > width) {
        lines.push(current);
        current = word;
      } else current = current === "" ? word : `${current} ${word}`;
    }
    return [...lines, current];
  });
}

function threadText(threads: number): string {
  return `${threads} thread${threads === 1 ? "" : "s"}`;
}

/** Three digits that count. */
function short(value: number): string {
  return value >= 1000 ? String(Math.round(value)) : String(Number(value.toPrecision(3)));
}

/** Bytes in the largest binary unit that leaves a number from 1 on. */
function binary(bytes: number): string {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  const power = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log2(bytes) / 10)));
  return `${short(bytes / 2 ** (10 * power))} ${units[power]}`;
}
