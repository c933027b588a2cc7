import { stat } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { readCheckpoint } from "../checkpoints/checkpoint.ts";
import { CheckpointTexts } from "../checkpoints/checkpoint-texts.ts";
import type { Warn } from "../checkpoints/quantized/code-matrix.ts";
import { type GgufFile, readGguf } from "../files/gguf.ts";
import type { ModelFile } from "../files/model-file.ts";
import { joinGguf, partPaths } from "../files/split-gguf.ts";
import { stackExperts } from "../files/stacked-experts.ts";
import { type ChatTemplate, chatTemplateFromGguf } from "../text/chat.ts";
import { tokenizerFromGguf } from "../text/gguf-tokenizer.ts";
import type { SamplingOptions } from "../text/sampling-options.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { type FileSource, type FileStamp, openFile, openFolder } from "./node-files.ts";

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
  /** How the model's makers would choose tokens. Throws `FileFormatError`. */
  sampling(): SamplingOptions;
  close(): Promise<void>;
}

/**
 * Opens the model at `path`: a GGUF file (any part of a split one), or a Hugging Face folder or the `config.json` or a
 * safetensors file in it. Throws `FileAccessError`, `FileFormatError` and `UnsupportedError` for files that are not what
 * they should be.
 *
 * @param warn takes lines about the model that a user should see, also while its weights are read
 */
export async function openModelFiles(path: string, warn: Warn = () => {}): Promise<ModelFiles> {
  // Callers in plain JavaScript may pass anything: opening it tells what is wrong.
  if (typeof path !== "string") return openGguf(path);
  if (await isFolder(path)) return openCheckpoint(path, warn);
  const [folder, name] = [dirname(path), basename(path)];
  if (name === "config.json" || name.endsWith(".safetensors.index.json")) return openCheckpoint(folder, warn);
  if (name.endsWith(".safetensors")) return openCheckpoint(folder, warn, name);
  return openGguf(path);
}

/** What is there not is no folder: opening it tells why. */
async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch {
    return false;
  }
}

async function openCheckpoint(path: string, warn: Warn, weights?: string): Promise<ModelFiles> {
  const folder = await openFolder(path);
  try {
    const file = await readCheckpoint(folder, warn, weights);
    const texts = await CheckpointTexts.read(folder);
    return {
      stamps: folder.opened,
      file,
      tokenizer: () => texts.tokenizer(),
      chatTemplate: () => texts.chatTemplate(),
      sampling: () => texts.sampling(),
      close: () => folder.close(),
    };
  } catch (error) {
    await folder.close();
    throw error;
  }
}

function openGguf(path: string): Promise<ModelFiles> {
  return openGgufParts(partPaths(path).map((part) => () => openFile(part)));
}

/** The model in a GGUF file, of which each part is opened by a function; all are closed together. */
export async function openGgufParts(parts: readonly (() => Promise<FileSource>)[]): Promise<ModelFiles> {
  const sources: FileSource[] = [];
  const close = async () => {
    for (const source of sources) await source.close();
  };
  try {
    const files: GgufFile[] = [];
    for (const open of parts) {
      const source = await open();
      sources.push(source);
      files.push(await readGguf(source));
    }
    const gguf = joinGguf(files);
    const file = stackExperts(gguf);
    return {
      stamps: sources,
      file,
      gguf,
      tokenizer: () => tokenizerFromGguf(file.metadata),
      chatTemplate: () => chatTemplateFromGguf(file.metadata),
      sampling: () => ({}),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}
