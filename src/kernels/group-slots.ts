import { KernelBuilder } from "../ir/builder.ts";
import type { Kernel, Target, Value } from "../ir/types.ts";
import { choiceStride, EXPERT_BYTES, ROUTE_COUNTS, type RouteSpec } from "./route.ts";
import { forEachItem } from "./work.ts";

type GroupSpec = Pick<RouteSpec, "experts" | "used">;

export function groupSlotsName({ experts, used }: GroupSpec): string {
  return `group_slots_${used}_of_${experts}`;
}

/** Sorts the slots of all tokens by expert: one thread counts, and puts every slot where those before it end. */
export function groupSlots(spec: GroupSpec, target: Target): Kernel {
  const { experts, used } = spec;
  const b = new KernelBuilder(target);
  const { op } = b;
  const chosen = b.parameter("chosen", "ptr", "i32 rows: experts of every token, replaced by their slots");
  const list = b.parameter("list", "ptr", "of every expert with slots: i32 expert, first slot, slots, 0");
  const tokens = b.parameter("tokens", "ptr", "i32: token of every slot");
  const next = b.parameter("next", "ptr", "scratch: an i32 for every expert");
  const totals = b.parameter("totals", "ptr", "i32: number of slots, and of experts that have any");
  const counts = b.parameter("counts", "ptr", "i32: number of tokens");
  const nextOf = (expert: Value<"i32">) => op.addr(next, expert, { stride: 4, offset: 0 });
  const rows = b.named("rows", op.iload(counts, { offset: 0 }));
  /** Takes the next slot of the expert of every choice. */
  const eachChoice = (body: (place: Value<"ptr">, slot: Value<"i32">, row: Value<"i32">) => void) =>
    b.loop("row", 0, rows, 1, (row) => {
      const ids = b.named("ids", op.addr(chosen, row, { stride: choiceStride(used), offset: 0 }));
      b.loop("choice", 0, used, 1, (choice) => {
        const place = b.named("place", op.addr(ids, choice, { stride: 4, offset: 0 }));
        const own = b.named("own", nextOf(op.iload(place, { offset: 0 })));
        const slot = b.named("slot", op.iload(own, { offset: 0 }));
        op.istore(own, op.iadd(slot, b.i(1)), { offset: 0 });
        body(place, slot, row);
      });
    });
  forEachItem(b, b.i(1), () => {
    b.loop("expert", 0, experts, 1, (expert) => op.istore(nextOf(expert), b.i(0), { offset: 0 }));
    eachChoice(() => {});
    const { slots, found } = listExperts(b, experts, list, nextOf);
    op.istore(totals, slots, { offset: ROUTE_COUNTS.slots });
    op.istore(totals, found, { offset: ROUTE_COUNTS.experts });
    eachChoice((place, slot, row) => {
      op.istore(op.addr(tokens, slot, { stride: 4, offset: 0 }), row, { offset: 0 });
      op.istore(place, slot, { offset: 0 });
    });
  });
  return b.build(groupSlotsName(spec), [
    `slots of tokens that pass ${used} of ${experts} experts, by expert`,
  ]);
}

/** Lists the experts that have slots, and makes of the numbers of slots where those of each begin. */
function listExperts(
  b: KernelBuilder,
  experts: number,
  list: Value<"ptr">,
  nextOf: (expert: Value<"i32">) => Value<"ptr">,
): { readonly slots: Value<"i32">; readonly found: Value<"i32"> } {
  const { op } = b;
  const slots = b.variable("slots", b.i(0));
  const found = b.variable("found", b.i(0));
  b.loop("expert", 0, experts, 1, (expert) => {
    const own = b.named("own", nextOf(expert));
    const count = b.named("count", op.iload(own, { offset: 0 }));
    op.istore(own, slots.get(), { offset: 0 });
    b.if(op.ilt(b.i(0), count), () => {
      const entry = b.named("entry", op.addr(list, found.get(), { stride: EXPERT_BYTES, offset: 0 }));
      op.istore(entry, expert, { offset: 0 });
      op.istore(entry, slots.get(), { offset: 4 });
      op.istore(entry, count, { offset: 8 });
      found.set(op.iadd(found.get(), b.i(1)));
      slots.set(op.iadd(slots.get(), count));
    });
  });
  return { slots: slots.get(), found: found.get() };
}
