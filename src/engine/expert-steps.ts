import { combine, combineName } from "../kernels/combine.ts";
import { groupSlots, groupSlotsName } from "../kernels/group-slots.ts";
import { route, routeName } from "../kernels/route.ts";
import type { FeedForward, Routing } from "../models/model.ts";
import type { StepWriter } from "./step-writer.ts";

/** Chooses the experts of every row of the input, and lists the slots of each. */
export function writeRoute(
  writer: StepWriter,
  { router, count: experts, used, softmaxOver }: Routing,
  input: string,
): void {
  const { isa, kernels } = writer.program;
  writer.project(input, [{ linear: router, to: "routerScores" }]);
  const spec = { experts, used, softmaxOver };
  const rows = writer.count("rows");
  const [scores, slots] = [writer.work("routerScores"), writer.work("slots")];
  const name = kernels.add(routeName(spec), spec, () => route(spec, isa));
  writer.add(name, [scores, slots, writer.work("slotWeights"), rows]);
  const group = kernels.add(groupSlotsName(spec), { experts, used }, () => groupSlots(spec, isa));
  const lists = ["slotExperts", "slotTokens", "nextSlots", "slotCounts"].map((list) => writer.work(list));
  writer.add(group, [slots, ...lists, rows], true, 1);
}

/** Outputs of slots → rows of `to`. */
export function writeCombine(
  writer: StepWriter,
  { down }: FeedForward,
  { used, shared }: Routing,
  to: string,
  accumulate: boolean,
): void {
  const { isa, kernels } = writer.program;
  const spec = { cols: down.rows, used, shared: shared !== undefined, accumulate };
  const name = kernels.add(combineName(spec), spec, () => combine(spec, isa));
  const from = ["slotOutputs", "slots", "slotWeights", to].map((part) => writer.work(part));
  const common = spec.shared ? [writer.work("shared"), writer.work("amounts")] : [];
  writer.add(name, [...from, writer.count("rows"), ...common]);
}
