import { z } from "zod";
import { FileFormatError } from "../base/errors.ts";
import { parseJson } from "../files/json.ts";
import { openFile } from "../host/node-files.ts";
import { METHODS, type Report } from "./report.ts";

const number = z.number();
const optional = number.optional();
const estimate = z.object({ value: number, error: number });
const speed = z.object({ measured: number, slowest: number, fastest: number, predicted: number });
const about = {
  setting: z.string(),
  method: z.enum(METHODS),
  bits: optional,
  groupSize: optional,
  budget: optional,
  command: z.string().optional(),
};
const row = z.object({
  ...about,
  bitsPerWeight: number,
  projectionBytes: number,
  weightBytes: number,
  peakBytes: number,
  perplexity: estimate,
  ratio: estimate,
  divergence: estimate,
  sameTop: number,
  tasks: z.array(z.object({ task: z.string(), accuracy: estimate })),
  prefill: speed,
  decode: speed,
  seconds: number,
});

const schema: z.ZodType<Report> = z.object({
  model: z.string(),
  created: z.string(),
  command: z.string(),
  machine: z.array(z.string()),
  protocol: z.array(z.string()),
  parameters: z.object({ all: number, quantized: number }),
  scored: number,
  planned: number,
  seconds: number,
  rows: z.array(row).min(1),
  failures: z.array(z.object({ ...about, reason: z.string() })),
});

/** A report as it was written as JSON. Throws `FileAccessError` and `FileFormatError`. */
export async function readReport(path: string): Promise<Report> {
  const file = await openFile(path);
  try {
    const found = schema.safeParse(parseJson(path, "report", await file.read(0, file.size)));
    if (found.success) return found.data;
    const [issue] = found.error.issues;
    throw new FileFormatError(path, issue?.path.join(".") || "report", "is not what a report has there");
  } finally {
    await file.close();
  }
}
