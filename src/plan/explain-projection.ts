import type { Activations } from "../kernels/activations.ts";
import { EXPANDED_STEPS } from "../kernels/blocking.ts";
import { bitsPerWeight } from "../quant/blocks.ts";
import type { Limit, Prediction } from "./cost.ts";
import type { Machine } from "./machine.ts";
import type { ProjectionPlan } from "./projection-plan.ts";
import type { RegisterUse } from "./register-allocation.ts";
import type { Loop } from "./rounds.ts";
import type { Speeds } from "./speeds.ts";
import { bytesText, count, digits, secondsText, table } from "./text.ts";
import type { WorkingSet } from "./working-set.ts";

/** What binds, in words. */
export const LIMITS: Readonly<Record<Limit, string>> = {
  arithmetic: "vector arithmetic",
  loads: "loads from L1",
  issue: "instructions started per cycle",
  latency: "latency of dependent instructions",
  cache: "bandwidth of L2 and L3",
  memory: "memory bandwidth",
  overhead: "starting micro-GEMVs",
};

/** A plan as text of at most 100 columns: the choice, what it fits in, what it is predicted to take and why. */
export function explainProjection(plan: ProjectionPlan, machine: Machine): string {
  const { blocking: b, registers, predicted } = plan;
  const rows: (readonly [string, string])[] = [
    ["weights", weightsText(plan)],
    ["inputs", `${count(plan.tokens, "token")}, ${activationsText(plan.shape.activations)}`],
    ["machine", `${plan.isa}, ${count(plan.threads, "thread")}`],
    ["caches", cachesText(machine)],
    ["speeds", speedsText(plan.speeds)],
    ["mini-GEMV", miniText(plan)],
    ["micro-GEMV", `mu ${b.mu} inputs x tu ${b.tu} outputs x nu ${count(b.nu, "token")}`],
    ...labelled("loops", table(plan.order.map(loopRow), [1])),
    ...labelled("working sets", table(plan.workingSets.map(workingSetRow), [1])),
    ["registers", registersText(registers)],
    ...labelled("predicted", predictionLines(predicted)),
  ];
  return `${table(rows).join("\n")}\n`;
}

function labelled(label: string, lines: readonly string[]): (readonly [string, string])[] {
  return lines.map((line, i) => [i === 0 ? label : "", line] as const);
}

function miniText({ blocking: { mb, tb, nu, expand }, shape }: ProjectionPlan): string {
  const size = `mb ${Math.min(mb, shape.cols)} inputs x tb ${tb} outputs`;
  return expand ? `${size}, from ${EXPANDED_STEPS * nu} tokens on expanded to bytes` : size;
}

function weightsText({ shape, predicted }: ProjectionPlan): string {
  const bits = digits(bitsPerWeight(shape.format, shape.cols));
  const size = `${bits} bits a weight, ${bytesText(predicted.bytes)} packed`;
  return `${shape.format.name}, ${shape.rows} outputs x ${shape.cols} inputs, ${size}`;
}

function activationsText(activations: Activations): string {
  if (activations.kind === "f32") return "f32";
  return `int8, one scale ${activations.block === "row" ? "per row" : `per ${activations.block} inputs`}`;
}

export function cachesText({ caches }: Machine): string {
  const texts = caches.map(
    ({ level, bytes, sharedBy }) =>
      `L${level} ${bytesText(bytes)}${sharedBy > 1 ? ` for ${sharedBy} cores` : ""}`,
  );
  return texts.join(", ");
}

export function speedsText({ ghz, memoryGBs, oneThreadGBs, threads, assumed }: Speeds): string {
  const note = (what: "clock" | "memory") => (assumed.includes(what) ? " (assumed)" : "");
  const alone = threads > 1 ? `, ${digits(oneThreadGBs)} for one thread` : "";
  return `${digits(ghz)} GHz${note("clock")}, memory ${digits(memoryGBs)} GB/s${alone}${note("memory")}`;
}

function loopRow({ over, rounds, step }: Loop): string[] {
  const unit = { "row blocks": "outputs", "row tiles": "outputs", tokens: "tokens" } as const;
  return [over, String(rounds), `x ${step} ${over in unit ? unit[over as keyof typeof unit] : "inputs"}`];
}

function workingSetRow({ name, bytes, level, capacity, fits }: WorkingSet): string[] {
  if (level === "memory") return [name, bytesText(bytes), "streamed from memory"];
  const room = `${bytesText(capacity)} of ${level}`;
  return [name, bytesText(bytes), fits ? `in ${room}` : `more than ${room}`];
}

function registersText({ alive, available, stores, reloads }: RegisterUse): string {
  const spilled = `${count(stores, "store")} to the stack and ${count(reloads, "load")} from it`;
  return `${alive} values alive, ${available} registers${stores > 0 ? `: ${spilled}` : ""}`;
}

function predictionLines(p: Prediction): string[] {
  const parts = table(
    [
      ["computing", secondsText(p.computeSeconds)],
      ["memory", secondsText(p.memorySeconds)],
      ["L2 and L3", secondsText(p.cacheSeconds)],
      ["overhead", secondsText(p.overheadSeconds)],
    ],
    [1],
  );
  return [
    `${secondsText(p.seconds)}, limited by ${LIMITS[p.limit]}`,
    `${digits(p.gbs)} GB/s of weights, ${digits(p.gops)} Gop/s`,
    ...parts,
  ];
}
