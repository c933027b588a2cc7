import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { openCacheDir } from "../../src/host/cache-dir.ts";
import type { Compiler } from "../../src/host/compilers.ts";

/** The folder whose <immintrin.h> emulates AVX-512. */
export const SHIM = fileURLToPath(new URL(".", import.meta.url));

const NAME = "immintrin.h";
const text = readFileSync(join(SHIM, NAME));

const hash = (...parts: readonly (string | Uint8Array)[]) =>
  parts
    .reduce((sum, part) => sum.update(part), createHash("sha256"))
    .digest("hex")
    .slice(0, 8);

/** Changes with the shim. */
export const SHIM_VERSION = hash(text);

/**
 * A folder with the shim as gcc has read it, which saves 0.6 s in every translation unit; an empty one for compilers that
 * know no such thing. Several processes may make it at once.
 */
export async function precompiledShim(
  { path, args, version, kind }: Compiler,
  flags: readonly string[],
): Promise<string> {
  const key = hash(text, JSON.stringify([path, args, version, flags]));
  const folder = join(openCacheDir().path, `simde-shim-${key}`);
  mkdirSync(folder, { recursive: true });
  const header = join(folder, `${NAME}.gch`);
  if (kind !== "gcc" || existsSync(header)) return folder;
  const source = join(folder, "all.h");
  writeFileSync(source, `#include <${NAME}>\n`);
  const own = flags.filter((flag) => flag !== "-shared");
  const made = `${header}.${process.pid}`;
  await promisify(execFile)(path, [...args, ...own, "-x", "c-header", source, "-o", made]);
  renameSync(made, header);
  return folder;
}
