/** Sensitivities as a file, so that several budgets need one measurement. */

import { createHash } from "node:crypto";
import { stat } from "node:fs/promises";
import { z } from "zod";
import { FileFormatError, UsageError } from "../base/errors.ts";
import { readJson } from "../files/json.ts";
import { openFile, writeFileAtomically } from "../host/node-files.ts";
import type { Sensitivities } from "./budget.ts";
import type { ModelParts } from "./model-parts.ts";
import { type SensitivityOptions, SensitivityPass } from "./sensitivity.ts";

/** Far more than the formats of all matrices of the largest models take. */
const FILE_BYTES = 64 << 20;

const schema = z.object({
  /** A hash of all that they depend on. */
  conditions: z.string(),
  losses: z.record(z.string(), z.array(z.number().nonnegative())),
});

/**
 * What the file has or, where there is none, what is measured and then kept there. Throws `UsageError` for a file that
 * was measured of another model, on other samples or with other settings, `FileFormatError` for one that is something else.
 */
export async function keptSensitivities(
  path: string,
  parts: ModelParts,
  options: SensitivityOptions,
): Promise<Sensitivities> {
  const conditions = await conditionsOf(parts, options);
  if ((await stat(path).catch(() => undefined)) !== undefined) return read(path, conditions);
  const losses = await new SensitivityPass(parts, options).run();
  const text = JSON.stringify({ conditions, losses: Object.fromEntries(losses) });
  await writeFileAtomically(path, (write) => write(new TextEncoder().encode(`${text}\n`)));
  return losses;
}

async function read(path: string, conditions: string): Promise<Sensitivities> {
  const file = await openFile(path);
  try {
    const { data } = schema.safeParse(await readJson(file, FILE_BYTES));
    if (data === undefined) throw new FileFormatError(path, "losses", "is not what sensitivities have there");
    if (data.conditions === conditions) return new Map(Object.entries(data.losses));
  } finally {
    await file.close();
  }
  throw new UsageError(`${path} was measured of another model, text or method: take another file`);
}

/** Of the weights, the first row of every matrix stands for all. */
async function conditionsOf(parts: ModelParts, options: SensitivityOptions): Promise<string> {
  const { method, damp, order, leastZero, samples, choices } = options;
  const hash = createHash("sha256");
  hash.update(JSON.stringify({ method, damp, order, leastZero, samples }));
  for (const { tensor, rows, cols, options } of choices) {
    hash.update(JSON.stringify([tensor, rows, cols, options.map(({ format }) => format.name)]));
    hash.update((await parts.tensors.firstRow(tensor)).weights);
  }
  return hash.digest("hex");
}
