import { at } from "../base/assert.ts";
import { FileFormatError, UsageError } from "../base/errors.ts";
import { openFile } from "../host/node-files.ts";
import type { Tokenizer } from "../text/tokenizer.ts";

/** Bytes of a calibration text, at most: some hundred times what 128 samples of 2,048 tokens take. */
const TEXT_BYTES = 256 << 20;
/** Tokens that are held back, at most: results that differ by 0.005 nats a token differ visibly then (docs/accuracy.md). */
const HELD_BACK_TOKENS = 1 << 14;

type Text = readonly number[];

/** Token ids of texts of one length, each of which starts as the model's texts do. */
export interface CalibrationTexts {
  /** What weights are adapted to. */
  readonly samples: readonly Text[];
  /** What results are compared on: from between the samples or, where a text leaves no room there, some of them. */
  readonly heldBack: readonly Text[];
}

export interface CalibrationOptions {
  /** Path of a text in UTF-8. */
  readonly file: string;
  readonly samples: number;
  /** Tokens of a sample. */
  readonly context: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Samples that are spread evenly over a text.
 *
 * Throws `UsageError` for a text that is too short to give so many samples without overlap, `FileFormatError` and
 * `FileAccessError` for a file that is no text.
 */
export async function calibrationTexts(
  tokenizer: Tokenizer,
  { file, samples: count, context, signal }: CalibrationOptions,
): Promise<CalibrationTexts> {
  const start = tokenizer.addsBos && tokenizer.bosId !== undefined ? [tokenizer.bosId] : [];
  const length = context - start.length;
  if (length < 1) throw new UsageError(`a context of ${context} leaves no token of the text`);
  const text = await readText(file);
  const ids = await tokenizer.encodeLong(text, { addBos: false, signal });
  if (ids.length < count * length) {
    throw new UsageError(
      `${file} has ${ids.length} tokens, ${count} samples of ${context} need ${count * length}: ` +
        "take a longer text, fewer samples or a shorter context",
    );
  }
  const spacing = count === 1 ? 0 : (ids.length - length) / (count - 1);
  const firsts = Array.from({ length: count }, (_, i) => Math.floor(i * spacing));
  const between = firsts.flatMap((first, i) => {
    const room = (firsts[i + 1] ?? ids.length) - first;
    return Array.from({ length: Math.floor(room / length) - 1 }, (_, n) => first + (n + 1) * length);
  });
  const textAt = (first: number) => [...start, ...ids.slice(first, first + length)];
  const most = Math.ceil(HELD_BACK_TOKENS / context);
  return {
    samples: firsts.map(textAt),
    heldBack: evenly(between.length > 0 ? between : firsts, most).map(textAt),
  };
}

/** At most `count` of the values, evenly spaced over all. */
export function evenly<T>(values: readonly T[], count: number): T[] {
  const every = Math.max(1, values.length / count);
  return Array.from({ length: Math.min(count, values.length) }, (_, i) => at(values, Math.floor(i * every)));
}

async function readText(path: string): Promise<string> {
  const source = await openFile(path);
  try {
    if (source.size > TEXT_BYTES) {
      throw new FileFormatError(path, "size", `${source.size} bytes, above the limit of ${TEXT_BYTES}`);
    }
    return new TextDecoder("utf-8", { fatal: true }).decode(await source.read(0, source.size));
  } catch (error) {
    if (error instanceof TypeError) throw new FileFormatError(path, "text", "is not UTF-8");
    throw error;
  } finally {
    await source.close();
  }
}
