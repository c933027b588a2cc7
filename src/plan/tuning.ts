import { z } from "zod";
import type { Blocking } from "../kernels/blocking.ts";
import { type ProjectionShape, shapeKey } from "./shape.ts";

/** A blocking that was timed to be the fastest on a machine, for one shape of matrix and one number of threads. */
export interface TunedShape {
  readonly isa: string;
  readonly threads: number;
  /** As `shapeKey` gives it. */
  readonly shape: string;
  readonly blocking: Blocking;
}

/** What was found out by timing; at most one entry for a shape. */
export type Tuning = readonly TunedShape[];

const count = z
  .int()
  .min(1)
  .max(2 ** 31);
const blocking: z.ZodType<Blocking> = z.strictObject({
  mb: count,
  tb: count,
  mu: count,
  tu: count,
  nu: count,
  expand: z.boolean().optional(),
});

export const tuningSchema: z.ZodType<Tuning> = z
  .array(
    z.strictObject({
      isa: z.string().min(1).max(256),
      threads: z.int().min(1).max(65536),
      shape: z.string().min(1).max(256),
      blocking,
    }),
  )
  .max(4096);

export function tunedFor(
  tuning: Tuning | undefined,
  isa: string,
  threads: number,
  shape: ProjectionShape,
): TunedShape | undefined {
  const key = shapeKey(shape);
  return tuning?.find((t) => t.isa === isa && t.threads === threads && t.shape === key);
}

/** The tuning with an entry added, in place of the one for the same shape. */
export function withTuned(tuning: Tuning, entry: TunedShape): Tuning {
  const { isa, threads, shape } = entry;
  return [...tuning.filter((t) => t.isa !== isa || t.threads !== threads || t.shape !== shape), entry];
}
