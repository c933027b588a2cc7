import { createHash } from "node:crypto";
import { mkdirSync } from "node:fs";
import { realpath, stat } from "node:fs/promises";
import { join } from "node:path";
import { openCacheDir } from "./cache-dir.ts";
import { fileAccessError, writeFileAtomically } from "./node-files.ts";

/** What a packed file was made from: the model file as it was, and how its weights are laid out. */
export interface PackedKey {
  readonly modelPath: string;
  /** Everything that decides the bytes: formats, tiles, lanes. */
  readonly layout: string;
  readonly bytes: number;
}

/**
 * The file with a model's packed weights: found in the cache, or written there by `fill`. The key has the model file's
 * path, size and time of change, so that a changed model is packed anew. `FileAccessError` where it cannot be written.
 */
export async function packedFile(
  key: PackedKey,
  fill: (write: (chunk: Uint8Array) => Promise<void>) => Promise<void>,
): Promise<string> {
  const folder = join(openCacheDir().path, "packed");
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const path = join(folder, `${await digest(key)}.packed`);
  const found = await stat(path).catch(() => undefined);
  if (found?.size !== key.bytes) await writeFileAtomically(path, fill);
  return path;
}

async function digest({ modelPath, layout, bytes }: PackedKey): Promise<string> {
  try {
    const path = await realpath(modelPath);
    const { size, mtimeMs } = await stat(path);
    return createHash("sha256")
      .update(JSON.stringify([path, size, mtimeMs, layout, bytes]))
      .digest("hex")
      .slice(0, 32);
  } catch (error) {
    throw fileAccessError(modelPath, error);
  }
}
