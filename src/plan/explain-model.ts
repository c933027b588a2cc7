import type { Blocking } from "../kernels/blocking.ts";
import { cachesText, speedsText } from "./explain-projection.ts";
import type { Machine } from "./machine.ts";
import { type ModelPlan, matricesOf, type ShapePlan, type StepTime } from "./model-plan.ts";
import { bytesText, count, digits, secondsText, table } from "./text.ts";

/** Widest column of names. */
const NAMES_WIDTH = 34;

/** A model plan as text of at most 100 columns: shapes, their plans, predicted speeds. */
export function explainModel(plan: ModelPlan, machine: Machine): string {
  const { shapes, decode, batches, prefill } = plan;
  const lines = [
    ...table([
      ["machine", cut(machine.name, 80)],
      ["", `${plan.isa}, ${count(plan.threads, "thread")}`],
      ["caches", cachesText(machine)],
      ...shapes.slice(0, 1).map((s) => ["speeds", speedsText(s.weights.decode.speeds)]),
    ]),
    "",
    ...table(
      [["matrices", "", "outputs", "inputs", "weights", "inputs as", "packed"], ...shapes.map(shapeRow)],
      [1, 2, 3, 6],
    ),
    "",
    ...blockingTable(shapes),
    "",
    ...stepTable("decode", decode, shapes, (s) => s.weights.decode),
    "",
    ...stepTable("prefill", prefill, shapes, (s) => s.weights.prefill),
    "",
    ...table([
      ["weights", `${bytesText(plan.weightBytes)} packed${plan.fitsMemory ? "" : ", more than the memory"}`],
      ...expertsText(shapes),
      ["decode", stepText(decode)],
      ...batches.map((batch, i) => [i === 0 ? "batches" : "", stepText(batch)]),
      ["prefill", stepText(prefill)],
      ...(shapes.some(({ weights }) => weights.tuned) ? [["tuned", tunedText(shapes)]] : []),
    ]),
  ];
  return `${lines.join("\n")}\n`;
}

function tunedText(shapes: readonly ShapePlan[]): string {
  const tuned = shapes.filter(({ weights }) => weights.tuned);
  if (tuned.length === shapes.length) return "all blockings were timed on this machine (qigen tune)";
  return `the blockings of ${tuned.length} of ${shapes.length} shapes, marked *, were timed on this machine (qigen tune)`;
}

/** What the times of experts are of. */
function expertsText(shapes: readonly ShapePlan[]): string[][] {
  const found = shapes.find(({ shape }) => shape.experts !== undefined);
  if (found?.shape.experts === undefined) return [];
  const {
    shape: { experts },
    weights,
  } = found;
  const tokens = count(weights.prefill.tokens, "token");
  return [["experts", `a token passes ${experts.used} of ${experts.count}; in prefill one meets ${tokens}`]];
}

function shapeRow(plan: ShapePlan): string[] {
  const { names, shape, weights } = plan;
  const n = matricesOf(plan);
  const { format, rows, cols, activations } = shape;
  const x = activations.kind === "f32" ? "f32" : `int8 per ${activations.block}`;
  const packed = bytesText(n * weights.decode.predicted.bytes);
  return [shortNames(names), `${n} x`, String(rows), String(cols), format.name, x, packed];
}

export function shortNames(names: readonly string[]): string {
  return cut([...new Set(names)].join(", "), NAMES_WIDTH);
}

function cut(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, width - 1)}…`;
}

function blockingTable(shapes: readonly ShapePlan[]): string[] {
  const rows = shapes.map(({ names, weights: { blocking, tuned } }) => {
    const mark = tuned && shapes.some(({ weights }) => !weights.tuned) ? " *" : "";
    return [`${shortNames(names)}${mark}`, miniText(blocking), microText(blocking)];
  });
  return table([["blocking", "mb x tb", "mu x tu x nu"], ...rows]);
}

/** Per shape: the time of one matrix, what binds. */
function stepTable(
  name: string,
  { tokens }: StepTime,
  shapes: readonly ShapePlan[],
  planOf: (shape: ShapePlan) => ShapePlan["weights"]["decode"],
): string[] {
  const head = [`${name}, ${count(tokens, "token")}`, "one", "GB/s", "Gop/s", "limit"];
  const rows = shapes.map((shape) => {
    const { predicted: p } = planOf(shape);
    return [shortNames(shape.names), secondsText(p.seconds), digits(p.gbs), digits(p.gops), p.limit];
  });
  return table([head, ...rows], [1, 2, 3]);
}

function miniText({ mb, tb, expand }: Blocking): string {
  return `${mb} x ${tb}${expand ? " expanded" : ""}`;
}

function microText({ mu, tu, nu }: Blocking): string {
  return `${mu} x ${tu} x ${nu}`;
}

function stepText({ seconds, tokens, tokensPerSecond, gbs }: StepTime): string {
  const speed = `${digits(tokensPerSecond)} tokens/s`;
  return `${secondsText(seconds)} for ${count(tokens, "token")}: ${speed}, weights at ${digits(gbs)} GB/s`;
}
