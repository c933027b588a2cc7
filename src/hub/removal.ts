import { lstat, readdir, realpath, rm, rmdir } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { FileAccessError, RepositoryError } from "../base/errors.ts";
import type { Environment } from "../host/cache-dir.ts";
import { fileAccessError } from "../host/node-files.ts";
import { CachedRepository, filesBelow } from "./cached-repository.ts";
import { chooseFiles } from "./choice.ts";
import { type HubReference, parseReference } from "./reference.ts";
import { hubSettings } from "./settings.ts";

/** What a reference means in the cache, and what it takes to remove it. */
export interface Removal {
  readonly repository: string;
  /** Paths in the repository. */
  readonly files: readonly string[];
  /** What is freed. */
  readonly bytes: number;
  /** Removes it. Throws `FileAccessError` where the system refuses. */
  readonly execute: () => Promise<void>;
}

/** A file of a snapshot. */
interface Pointer {
  readonly commit: string;
  readonly name: string;
  readonly path: string;
  /** Where its bytes are, if that is among the repository's own. */
  readonly bytes: string | undefined;
}

/**
 * Finds what is to be removed: all of a repository (`hf:owner/name`), one model of it, or one revision (`@revision`).
 * Bytes that another revision or model has too stay; nothing outside the repository's folder is touched, wherever links
 * lead.
 *
 * Throws `UsageError` for a wrong or ambiguous reference, `RepositoryError` where the cache has no such model,
 * `FileAccessError` where the repository's folder is not a plain one in the cache.
 */
export async function planRemoval(model: string, env: Environment = process.env): Promise<Removal> {
  const reference = parseReference(model);
  const cache = new CachedRepository(hubSettings(env).cacheDir, reference.repository);
  if (!(await checkPlain(cache))) throw missing(reference);
  const all = await pointersOf(cache);
  const hasRevision = model.includes("@");
  if (reference.file === undefined && reference.type === undefined && !hasRevision)
    return wholeRemoval(cache, all);
  const commit = hasRevision ? await cache.commitOf(reference.revision) : undefined;
  if (hasRevision && commit === undefined) throw missing(reference);
  const candidates = all.filter((pointer) => commit === undefined || pointer.commit === commit);
  const chosen = await choosePointers(candidates, reference);
  const kept = new Set(all.filter((pointer) => !chosen.includes(pointer)).map(({ bytes }) => bytes));
  const blobs = chosen.flatMap(({ bytes }) => (bytes === undefined || kept.has(bytes) ? [] : [bytes]));
  return {
    repository: cache.name,
    files: namesOf(chosen),
    bytes: await sizeOf(new Set(blobs)),
    execute: () => removePointers(cache, chosen, new Set(blobs)),
  };
}

/**
 * Whether the repository is there. Throws `FileAccessError` where it or a folder in it is a link, so that what seems to be
 * in the cache is not.
 */
async function checkPlain({ cacheDir, folder, blobs }: CachedRepository): Promise<boolean> {
  for (const path of [folder, blobs, join(folder, "snapshots"), join(folder, "refs")]) {
    const status = await lstat(path).catch(() => undefined);
    if (status === undefined && path === folder) return false;
    if (status === undefined || status.isDirectory()) continue;
    throw new FileAccessError(
      path,
      `is not a folder of the cache ${cacheDir} but leads elsewhere; remove it by hand`,
    );
  }
  return true;
}

async function pointersOf(cache: CachedRepository): Promise<Pointer[]> {
  const pointers: Pointer[] = [];
  const blobs = new Map<number, string>();
  for (const name of await readdir(cache.blobs).catch(() => [])) {
    const status = await lstat(join(cache.blobs, name)).catch(() => undefined);
    if (status?.isFile()) blobs.set(status.ino, name);
  }
  const place = await realpath(cache.blobs).catch(() => undefined);
  for (const commit of await cache.commits()) {
    for (const name of await filesBelow(cache.snapshot(commit))) {
      const path = join(cache.snapshot(commit), name);
      pointers.push({ commit, name, path, bytes: await bytesOf(path, place, blobs, cache) });
    }
  }
  return pointers;
}

/** A pointer is a link to a blob, another name of one (where there are no links), or the bytes themselves. */
async function bytesOf(
  path: string,
  place: string | undefined,
  blobs: ReadonlyMap<number, string>,
  cache: CachedRepository,
): Promise<string | undefined> {
  const status = await lstat(path);
  if (status.isSymbolicLink()) {
    const target = await realpath(path).catch(() => undefined);
    return target !== undefined && dirname(target) === place ? cache.blob(basename(target)) : undefined;
  }
  const blob = blobs.get(status.ino);
  return blob === undefined ? path : cache.blob(blob);
}

/** What a reference means of each commit. */
async function choosePointers(all: readonly Pointer[], reference: HubReference): Promise<Pointer[]> {
  if (reference.file === undefined && reference.type === undefined) return [...all];
  const chosen: Pointer[] = [];
  let problem: unknown;
  for (const commit of new Set(all.map((pointer) => pointer.commit))) {
    const here = all.filter((pointer) => pointer.commit === commit);
    try {
      const { files } = await chooseFiles(namesOf(here), reference, async () => "");
      chosen.push(...here.filter(({ name }) => files.includes(name)));
    } catch (error) {
      if (!(error instanceof RepositoryError)) throw error;
      problem = error;
    }
  }
  if (chosen.length === 0) throw problem ?? missing(reference);
  return chosen;
}

async function removePointers(
  cache: CachedRepository,
  pointers: readonly Pointer[],
  blobs: ReadonlySet<string>,
): Promise<void> {
  for (const path of [...pointers.map((pointer) => pointer.path), ...blobs]) await removeFile(path);
  for (const commit of new Set(pointers.map((pointer) => pointer.commit))) {
    for (const { path } of pointers.filter((pointer) => pointer.commit === commit)) {
      await removeEmpty(dirname(path), cache.snapshot(commit));
    }
    if ((await cache.commits()).includes(commit)) continue;
    for (const ref of await cache.refs()) {
      if (ref.commit === commit) await removeFile(join(cache.folder, "refs", ref.name));
    }
  }
}

/** Removes folders without contents, from `folder` up to `last`. */
async function removeEmpty(folder: string, last: string): Promise<void> {
  try {
    await rmdir(folder);
    if (folder !== last) await removeEmpty(dirname(folder), last);
  } catch {
    // It has other contents, or is gone.
  }
}

async function wholeRemoval(cache: CachedRepository, pointers: readonly Pointer[]): Promise<Removal> {
  const files = (await filesBelow(cache.folder)).map((name) => join(cache.folder, name));
  return {
    repository: cache.name,
    files: namesOf(pointers),
    bytes: await sizeOf(new Set(files)),
    execute: async () => {
      // Where Python's library keeps its locks.
      const locks = join(cache.cacheDir, ".locks", basename(cache.folder));
      for (const folder of [cache.folder, locks]) await removeFile(folder);
    },
  };
}

/** Removes a file, a link (not what it leads to) or a folder with all that is in it. */
async function removeFile(path: string): Promise<void> {
  try {
    await rm(path, { force: true, recursive: true });
  } catch (error) {
    throw fileAccessError(path, error);
  }
}

async function sizeOf(paths: ReadonlySet<string>): Promise<number> {
  const sizes = [...paths].map(async (path) => {
    const status = await lstat(path);
    return status.isFile() ? status.size : 0;
  });
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}

function namesOf(pointers: readonly Pointer[]): string[] {
  return [...new Set(pointers.map(({ name }) => name))].sort();
}

function missing({ repository }: HubReference): RepositoryError {
  return new RepositoryError(repository, "missing", "is not in the cache; qigen list shows what is");
}
