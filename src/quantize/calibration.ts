import { FileFormatError, UsageError } from "../base/errors.ts";
import { openFile } from "../host/node-files.ts";
import type { Tokenizer } from "../text/tokenizer.ts";

/** Bytes of a calibration text, at most: some hundred times what 128 samples of 2,048 tokens take. */
const TEXT_BYTES = 256 << 20;

export interface CalibrationOptions {
  /** Path of a text in UTF-8. */
  readonly file: string;
  readonly samples: number;
  /** Tokens of a sample. */
  readonly context: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Token ids of samples of one length, spread evenly over a text; each starts as the model's texts do.
 *
 * Throws `UsageError` for a text that is too short to give so many samples without overlap, `FileFormatError` and
 * `FileAccessError` for a file that is no text.
 */
export async function calibrationSamples(
  tokenizer: Tokenizer,
  { file, samples, context, signal }: CalibrationOptions,
): Promise<number[][]> {
  const start = tokenizer.addsBos && tokenizer.bosId !== undefined ? [tokenizer.bosId] : [];
  const length = context - start.length;
  if (length < 1) throw new UsageError(`a context of ${context} leaves no token of the text`);
  const text = await readText(file);
  const ids = await tokenizer.encodeLong(text, { addBos: false, signal });
  if (ids.length < samples * length) {
    throw new UsageError(
      `${file} has ${ids.length} tokens, ${samples} samples of ${context} need ${samples * length}: ` +
        "take a longer text, fewer samples or a shorter context",
    );
  }
  const spacing = samples === 1 ? 0 : (ids.length - length) / (samples - 1);
  return Array.from({ length: samples }, (_, i) => {
    const first = Math.floor(i * spacing);
    return [...start, ...ids.slice(first, first + length)];
  });
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
