import { type GgufFile, readGguf } from "../files/gguf.ts";
import type { ModelFile } from "../files/model-file.ts";
import { joinGguf, partPaths } from "../files/split-gguf.ts";
import { type ChatTemplate, chatTemplateFromGguf } from "../text/chat.ts";
import { tokenizerFromGguf } from "../text/gguf-tokenizer.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { type FileSource, type FileStamp, openFile } from "./node-files.ts";

/** The files of a model, open, their headers read. */
export interface ModelFiles {
  /** Files that decide the weights, as they were when they were opened; undefined for a model that is in no file. */
  readonly stamps: readonly FileStamp[] | undefined;
  readonly file: ModelFile;
  /** What a GGUF file says about itself. */
  readonly gguf?: Pick<GgufFile, "version" | "alignment">;
  /** Throws `FileFormatError` and `UnsupportedError`. */
  tokenizer(): Tokenizer;
  /** Throws `FileFormatError`. */
  chatTemplate(): ChatTemplate | undefined;
  close(): Promise<void>;
}

/**
 * Opens the GGUF file at `path`, with the other parts of a split one. Throws `FileAccessError`, `FileFormatError` and
 * `UnsupportedError` for files that are not what they should be.
 */
export async function openModelFiles(path: string): Promise<ModelFiles> {
  const sources: FileSource[] = [];
  const close = async () => {
    for (const source of sources) await source.close();
  };
  try {
    const parts: GgufFile[] = [];
    for (const part of partPaths(path)) {
      const source = await openFile(part);
      sources.push(source);
      parts.push(await readGguf(source));
    }
    const file = joinGguf(parts);
    return {
      stamps: sources,
      file,
      gguf: file,
      tokenizer: () => tokenizerFromGguf(file.metadata),
      chatTemplate: () => chatTemplateFromGguf(file.metadata),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}
