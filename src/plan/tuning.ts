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

/** What an entry is for. */
type Subject = Omit<TunedShape, "blocking">;

function isSame(a: Subject, b: Subject): boolean {
  return a.isa === b.isa && a.threads === b.threads && a.shape === b.shape;
}

export function tunedFor(
  tuning: Tuning | undefined,
  isa: string,
  threads: number,
  shape: ProjectionShape,
): TunedShape | undefined {
  const subject = { isa, threads, shape: shapeKey(shape) };
  return tuning?.find((t) => isSame(t, subject));
}

/** The entries for which `known` has none. */
export function unknownTo(known: Tuning, tuning: Tuning): Tuning {
  return tuning.filter((entry) => !known.some((k) => isSame(k, entry)));
}

/** The tuning with an entry added, in place of the one for the same shape. */
export function withTuned(tuning: Tuning, entry: TunedShape): Tuning {
  return [...unknownTo([entry], tuning), entry];
}
