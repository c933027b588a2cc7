import { assert } from "../base/assert.ts";
import { attention, attentionName } from "../kernels/attention.ts";
import { type RopeSpec, rope, ropeName } from "../kernels/rope.ts";
import type { Attention } from "../models/model.ts";
import type { StepList } from "./step-list.ts";

/** q and k rotate; k and v go to the cache. */
export function writeAppend(list: StepList, { rope: config }: Attention, layer: number): void {
  const { kernels, isa, kv, ropes, spec: model } = list.program;
  const { pairing = "halves", rotated = 0 } = config ?? {};
  const spec: RopeSpec = { heads: model.config.heads, kv, rotated, pairing };
  const name = kernels.add(ropeName(spec), spec, () => rope(spec, isa));
  const table = config === undefined ? -1 : ropes.indexOf(config);
  assert(config === undefined || table >= 0, "a rotation without a table");
  list.add(name, [
    ...(config === undefined ? [] : [list.work("q")]),
    list.work("k"),
    list.work("v"),
    list.cache(layer),
    ...(config === undefined ? [] : [list.work(`ropeTable${table}`)]),
    list.work("positions"),
    list.work("pageOf"),
    list.work("kvScratch"),
    list.count("rows"),
  ]);
}

/** q and the cache → mixed. */
export function writeAttention(list: StepList, block: Attention, layer: number): void {
  const { program } = list;
  const spec = program.attention(block, list.rows);
  const name = program.kernels.add(attentionName(spec), spec, () => attention(spec, program.isa));
  const args = [
    list.work("q"),
    list.work("mixed"),
    list.cache(layer),
    list.work("positions"),
    list.work("tables"),
    list.work("tableOf"),
    list.work("blocks"),
    list.work("attentionScratch"),
    list.count("blocks"),
    ...(block.sinks === undefined ? [] : [list.weight(block.sinks)]),
  ];
  list.add(name, args, true, program.parts);
}
