import { open } from "node:fs/promises";
import type { Writer } from "../api/generation.ts";
import type { BaseLogits } from "../engine/engine.ts";
import { requireSpace } from "../host/atomic-folder.ts";
import { attempt, type FileSource, openFile } from "../host/node-files.ts";
import { measurePerplexity, type PerplexityOptions, type PerplexityResult } from "./perplexity.ts";
import type { Base } from "./scoring.ts";

/** What is left on the device besides the logits. */
const SPARE_BYTES = 256 << 20;

/**
 * What a base predicts of a text, in a file: computed once, compared with as often as one likes, without the base's
 * weights. A row of logits per scored token.
 */
export class KeptBase {
  private constructor(
    private readonly base: Omit<Base, "logits">,
    private readonly file: FileSource,
    /** Of a row, with its padding. */
    private readonly rowBytes: number,
    /** Of the base itself. */
    readonly result: PerplexityResult,
  ) {}

  /**
   * Runs the base on a text, whose logits it writes to a new file. Throws what `measurePerplexity` throws, and
   * `FileAccessError` where the file cannot be written; `most` scored tokens must have space.
   */
  static async record(
    model: Writer,
    text: string,
    options: PerplexityOptions,
    { path, most }: { readonly path: string; readonly most: number },
  ): Promise<KeptBase> {
    const { tokenizer, engine } = model;
    const { vocabularySize } = engine;
    await requireSpace(path, 4 * vocabularySize * most + SPARE_BYTES);
    const handle = await attempt(path, () => open(path, "wx"));
    let result: PerplexityResult;
    let bytes = 0;
    try {
      const onLogits = async (logits: Uint8Array) => {
        bytes += logits.length;
        await attempt(path, () => handle.writeFile(logits));
      };
      result = await measurePerplexity(model, undefined, text, { ...options, onLogits });
    } finally {
      await handle.close();
    }
    const { contextLength, maxRows } = engine.program.limits;
    const limits = { contextLength, maxRows };
    const base = { path: model.path, tokenizer, vocabularySize, limits, truncate: () => undefined };
    return new KeptBase(base, await openFile(path), bytes / result.scored, result);
  }

  /** The base of one comparison, on the same text with the same protocol. */
  reader(): Base {
    const { file, rowBytes } = this;
    let offset = 0;
    const logits: BaseLogits = {
      maxOutputs: Number.POSITIVE_INFINITY,
      begin: () => Promise.resolve(),
      read: async ({ length }) => {
        const rows = await file.read(offset, length * rowBytes);
        offset += rows.length;
        return rows;
      },
      end: () => undefined,
    };
    return { ...this.base, logits };
  }

  /** The file may be removed then. */
  close(): Promise<void> {
    return this.file.close();
  }
}
