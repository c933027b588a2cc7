import type { z } from "zod";
import { FileFormatError, UsageError } from "../base/errors.ts";
import { parseJson } from "../files/json.ts";
import type { Task } from "./task.ts";
import { LAYOUTS, type Layout } from "./task-layouts.ts";

/** A line that holds an item. */
interface Line {
  /** "line 7". */
  readonly name: string;
  readonly value: unknown;
}

/**
 * Reads a task, one item in JSON on each line (blank ones do not count), in the field layout of HellaSwag, ARC, PIQA,
 * WinoGrande or LAMBADA, or the project's own, {context, choices, label}: whichever the first item has. Takes the first
 * `limit` items. Throws `FileFormatError`, which names the line, for anything else, and `UsageError` for the limit.
 *
 * @param file a name for messages
 */
export function parseTask(file: string, text: string, limit = Number.POSITIVE_INFINITY): Task {
  if (!(limit >= 1)) throw new UsageError(`limit must be 1 or more, not ${limit}`);
  const lines = linesOf(file, text, limit);
  const [first] = lines;
  if (first === undefined) throw new FileFormatError(file, "the file", "holds no items");
  const layout = layoutOf(file, first);
  const { name, endingsDiffer } = layout;
  const read = <T>(schema: z.ZodType<T>) => lines.map((line) => itemOf(file, line, name, schema));
  if (layout.kind === "cloze") return { file, layout: name, kind: "cloze", items: read(layout.schema) };
  return { file, layout: name, kind: "choice", items: read(layout.schema), endingsDiffer };
}

function linesOf(file: string, text: string, limit: number): Line[] {
  const lines: Line[] = [];
  const utf8 = new TextEncoder();
  for (const [i, line] of text.split("\n").entries()) {
    if (lines.length >= limit) break;
    if (line.trim() === "") continue;
    const name = `line ${i + 1}`;
    lines.push({ name, value: parseJson(file, name, utf8.encode(line)) });
  }
  return lines;
}

function layoutOf(file: string, { name, value }: Line): Layout {
  const isObject = typeof value === "object" && value !== null;
  const layout = LAYOUTS.find(({ fields }) => isObject && fields.every((field) => field in value));
  if (layout !== undefined) return layout;
  const known = LAYOUTS.map(({ name, fields }) => `${name} (${fields.join(", ")})`).join("; ");
  throw new FileFormatError(file, name, `has the fields of no layout that is known: ${known}`);
}

function itemOf<T>(file: string, { name, value }: Line, layout: string, schema: z.ZodType<T>): T {
  const found = schema.safeParse(value);
  if (found.success) return found.data;
  const [issue] = found.error.issues;
  const path = issue?.path.length ? `${issue.path.join(".")}: ` : "";
  throw new FileFormatError(file, name, `is not an item of ${layout}: ${path}${issue?.message ?? ""}`);
}
