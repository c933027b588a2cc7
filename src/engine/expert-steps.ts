import { combine, combineName } from "../kernels/combine.ts";
import { groupSlots, groupSlotsName } from "../kernels/group-slots.ts";
import { route, routeName } from "../kernels/route.ts";
import type { FeedForward, Routing } from "../models/model.ts";
import { writeProjections } from "./projection-steps.ts";
import type { StepList } from "./step-list.ts";

/** Chooses the experts of every row of the input, and lists the slots of each. */
export function writeRoute(
  list: StepList,
  { router, count: experts, used, softmaxOver }: Routing,
  input: string,
): void {
  const { isa, kernels } = list.program;
  writeProjections(list, input, [{ linear: router, to: "routerScores" }]);
  const spec = { experts, used, softmaxOver };
  const rows = list.count("rows");
  const [scores, slots] = [list.work("routerScores"), list.work("slots")];
  const name = kernels.add(routeName(spec), spec, () => route(spec, isa));
  list.add(name, [scores, slots, list.work("slotWeights"), rows]);
  const group = kernels.add(groupSlotsName(spec), { experts, used }, () => groupSlots(spec, isa));
  const addresses = ["slotExperts", "slotTokens", "nextSlots", "slotCounts"].map((part) => list.work(part));
  list.add(group, [slots, ...addresses, rows], true, 1);
}

/** Outputs of slots → rows of `to`. */
export function writeCombine(
  list: StepList,
  { down }: FeedForward,
  { used, shared }: Routing,
  to: string,
  accumulate: boolean,
): void {
  const { isa, kernels } = list.program;
  const spec = { cols: down.rows, used, shared: shared !== undefined, accumulate };
  const name = kernels.add(combineName(spec), spec, () => combine(spec, isa));
  const from = ["slotOutputs", "slots", "slotWeights", to].map((part) => list.work(part));
  const common = spec.shared ? [list.work("shared"), list.work("amounts")] : [];
  list.add(name, [...from, list.count("rows"), ...common]);
}
