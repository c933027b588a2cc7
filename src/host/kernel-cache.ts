import { createHash } from "node:crypto";
import { readdirSync, statSync } from "node:fs";
import { mkdtemp, readFile, rename, rm, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { FileAccessError } from "../base/errors.ts";

/*
 * A cache entry is a folder named by its key, with the library and a sidecar that says what the library must be.
 * It is made elsewhere in the cache folder and renamed into place whole, so other processes see all of it or
 * nothing. Its modification time is when it was last used.
 */

const LIBRARY = `kernels${{ win32: ".dll", darwin: ".dylib" }[process.platform as string] ?? ".so"}`;
const SIDECAR = "library.json";
const ENTRY = /^[0-9a-f]{64}$/;
const WORK = ".qigen-build-";
/** No build takes this long: a work folder not touched since was left by a process that died. */
const STALE_MS = 60 * 60_000;
/** An entry used within this time may be about to be loaded by another process. */
const IN_USE_MS = 10 * 60_000;

/** Path of the library under this key, checked against its sidecar; undefined where it is missing or damaged. */
export async function findEntry(cacheDir: string, key: string): Promise<string | undefined> {
  const folder = join(cacheDir, key);
  const path = join(folder, LIBRARY);
  try {
    const now = new Date();
    await utimes(folder, now, now);
    const [library, sidecar] = await Promise.all([readFile(path), readFile(join(folder, SIDECAR), "utf8")]);
    return sidecar === sidecarOf(library) ? path : undefined;
  } catch {
    return undefined;
  }
}

/** An empty folder of this process's own, inside the cache folder so that a rename can move things into place. */
export function makeWorkDir(cacheDir: string): Promise<string> {
  return mkdtemp(join(cacheDir, WORK));
}

/** Where a build must put the library, inside a folder that holds nothing else. */
export function libraryIn(folder: string): string {
  return join(folder, LIBRARY);
}

/**
 * Moves a folder with a built library into the cache and returns the library's final path. If another process was
 * first, its entry is used; a damaged entry is replaced.
 *
 * @throws FileAccessError when the cache cannot be written
 */
export async function addEntry(cacheDir: string, key: string, built: string): Promise<string> {
  const target = join(cacheDir, key);
  await writeFile(join(built, SIDECAR), sidecarOf(await readFile(libraryIn(built))));
  for (let attempt = 0; ; attempt++) {
    try {
      await rename(built, target);
      return libraryIn(target);
    } catch (cause) {
      const theirs = await findEntry(cacheDir, key);
      if (theirs !== undefined) return theirs;
      if (attempt === 3) throw new FileAccessError(target, (cause as Error).message, { cause });
      await discard(cacheDir, target);
    }
  }
}

/**
 * Removes the least recently used entries until the rest is at most `maxBytes`, and what dead processes left
 * behind. Entries used in the last ten minutes stay. Returns the bytes that remain.
 */
export async function pruneCache(cacheDir: string, maxBytes: number, now = Date.now()): Promise<number> {
  const entries: { path: string; used: number; bytes: number }[] = [];
  for (const name of namesIn(cacheDir)) {
    const path = join(cacheDir, name);
    const used = statSync(path, { throwIfNoEntry: false })?.mtimeMs;
    if (used === undefined) continue;
    if (ENTRY.test(name)) entries.push({ path, used, bytes: bytesIn(path) });
    else if (name.startsWith(WORK) && now - used > STALE_MS) await rm(path, { recursive: true, force: true });
  }
  entries.sort((a, b) => a.used - b.used);
  let total = entries.reduce((sum, entry) => sum + entry.bytes, 0);
  for (const { path, used, bytes } of entries) {
    if (total <= maxBytes || now - used < IN_USE_MS) break;
    await discard(cacheDir, path);
    total -= bytes;
  }
  return total;
}

/** Renamed first, so that no other process sees half an entry. Missing or locked entries are left to the caller. */
async function discard(cacheDir: string, path: string): Promise<void> {
  const trash = await makeWorkDir(cacheDir);
  await rename(path, join(trash, "entry")).catch(() => undefined);
  await rm(trash, { recursive: true, force: true });
}

/** Not by promises, which take ten times as long for the thousands of entries of a full cache. */
function bytesIn(folder: string): number {
  return namesIn(folder).reduce(
    (total, name) => total + (statSync(join(folder, name), { throwIfNoEntry: false })?.size ?? 0),
    0,
  );
}

/** What is in a folder; nothing where it is gone. */
function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function sidecarOf(library: Uint8Array): string {
  const sha256 = createHash("sha256").update(library).digest("hex");
  return `${JSON.stringify({ bytes: library.length, sha256 })}\n`;
}
