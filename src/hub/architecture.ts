import { stat, utimes } from "node:fs/promises";
import { QigenError } from "../base/errors.ts";
import { readGguf } from "../files/gguf.ts";
import { readJson } from "../files/json.ts";
import type { ByteSource } from "../files/source.ts";
import { openFile } from "../host/node-files.ts";
import { JsonView } from "../text/json-view.ts";

/** Bytes of a config.json. */
const CONFIG_BYTES = 4 << 20;

/**
 * What a GGUF file calls its architecture, or a `config.json` its model; undefined where they do not say. The file does not
 * count as used.
 */
export async function architectureOf(
  path: string,
  kind: "gguf" | "safetensors",
): Promise<string | undefined> {
  const read = kind === "gguf" ? ofGguf : ofConfig;
  try {
    const { atime, mtime } = await stat(path);
    const source = await openFile(path);
    try {
      return await read(source);
    } finally {
      await source.close();
      // Not in a cache that only others may write to.
      await utimes(path, atime, mtime).catch(() => {});
    }
  } catch (error) {
    if (error instanceof QigenError) return undefined;
    throw error;
  }
}

async function ofGguf(source: ByteSource): Promise<string | undefined> {
  return (await readGguf(source)).metadata.stringOr("general.architecture", undefined);
}

async function ofConfig(source: ByteSource): Promise<string | undefined> {
  return new JsonView(source.name, await readJson(source, CONFIG_BYTES)).string("model_type");
}
