import { readFile, statfs } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { AbortedError, NetworkError, RepositoryError } from "../base/errors.ts";
import type { Environment } from "../host/cache-dir.ts";
import { bytesText, count } from "../plan/text.ts";
import { CachedRepository } from "./cached-repository.ts";
import { type Choice, chooseFiles } from "./choice.ts";
import { HubConnection, type Pause } from "./connection.ts";
import { type HubReference, isCommit, parseReference, referenceText } from "./reference.ts";
import { type Listing, listRepository, type RepositoryFile } from "./repository.ts";
import { hubSettings } from "./settings.ts";
import { type PullProgress, Transfer } from "./transfer.ts";

export interface PullOptions {
  readonly onProgress?: ((progress: PullProgress) => void) | undefined;
  /** Called with a line that a user should see: what is downloaded, and why the cache is used instead. */
  readonly onNotice?: ((line: string) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A model of the hub that is on this machine. */
export interface PulledModel {
  /** The GGUF file, the first of a split one, or the folder of a model in safetensors. */
  readonly path: string;
  readonly repository: string;
  /** What the revision was. */
  readonly commit: string;
  /** Paths of all its files in the repository. */
  readonly files: readonly string[];
}

/** What a pull has around it; tests have other things. */
export interface PullSurroundings {
  readonly env: Environment;
  readonly freeBytes: (folder: string) => Promise<number>;
  readonly pause: Pause;
}

export const SURROUNDINGS: PullSurroundings = { env: process.env, freeBytes, pause };

/**
 * Makes sure that a model of the hub (`hf:owner/name`, `hf:owner/name/file.gguf`, `hf:owner/name:Q4_K_M`, each with
 * `@revision` or without) is in the cache, and downloads what is missing of it. An interrupted download goes on where it
 * was. Without a network (or with `HF_HUB_OFFLINE`) the cache is used.
 *
 * Throws `UsageError` for a wrong or ambiguous reference, `RepositoryError` for what the hub does not have or give,
 * `NetworkError`, `FileAccessError` for the disk, and `AbortedError` when the signal fires.
 */
export async function pull(
  model: string,
  options: PullOptions = {},
  surroundings: PullSurroundings = SURROUNDINGS,
): Promise<PulledModel> {
  const found = await findModel(model, options, surroundings);
  return "path" in found ? found : download(found, options, surroundings);
}

/** A model that the hub has, whatever the cache has of it. */
export interface ListedModel {
  readonly reference: HubReference;
  readonly connection: HubConnection;
  readonly cache: CachedRepository;
  readonly listing: Listing;
}

/** What the hub lists of a model; what the cache has, where that is all there is, or cannot change. Throws as `pull`. */
export async function findModel(
  model: string,
  options: PullOptions = {},
  surroundings: PullSurroundings = SURROUNDINGS,
): Promise<PulledModel | ListedModel> {
  const reference = parseReference(model);
  const settings = hubSettings(surroundings.env);
  const cache = new CachedRepository(settings.cacheDir, reference.repository);
  const final = isCommit(reference.revision) && reference.file !== undefined;
  if (settings.offline || final) {
    const found = await inCache(cache, reference);
    if (!("problem" in found)) return found;
    if (settings.offline) throw offline(reference, found.problem);
  }
  const { signal } = options;
  const connection = new HubConnection(reference.repository, settings, signal, surroundings.pause);
  try {
    const listing = await listRepository(connection, reference.repository, reference.revision);
    return { reference, connection, cache, listing };
  } catch (error) {
    if (!(error instanceof NetworkError)) throw error;
    const found = await inCache(cache, reference);
    if ("problem" in found) throw error;
    options.onNotice?.(`${error.message}; using what is in the cache`);
    return found;
  }
}

async function download(
  { connection, cache, listing, reference }: ListedModel,
  { onNotice, onProgress }: PullOptions,
  { freeBytes, pause }: PullSurroundings,
): Promise<PulledModel> {
  const { commit } = listing;
  const transfer = new Transfer(connection, cache, commit, pause);
  const files = new Map(listing.files.map((file) => [file.path, file]));
  const get = async (names: readonly string[], notice = false) => {
    const missing = await transfer.missing(names.flatMap((name) => files.get(name) ?? []));
    if (missing.length === 0) return;
    await transfer.checkSpace(missing, freeBytes);
    if (notice) onNotice?.(`downloading ${amountText(missing)} of ${referenceText(reference)}`);
    await transfer.get(missing, (progress) => onProgress?.(progress));
  };
  const choice = await chooseFiles([...files.keys()], reference, async (name) => {
    await get([name]);
    return readFile(cache.path(commit, name), "utf8");
  });
  await get(choice.files, true);
  await cache.setCommit(reference.revision, commit);
  return pulled(cache, commit, choice);
}

function amountText(files: readonly RepositoryFile[]): string {
  const bytes = files.reduce((sum, { size }) => sum + size, 0);
  return `${count(files.length, "file")}, ${bytesText(bytes)},`;
}

/** The model as the cache has it; or what is missing. */
async function inCache(
  cache: CachedRepository,
  reference: HubReference,
): Promise<PulledModel | { readonly problem: string }> {
  const commit = await cache.commitOf(reference.revision);
  const names = commit === undefined ? [] : await cache.files(commit);
  if (commit === undefined || names.length === 0) return { problem: "it is not in the cache" };
  try {
    const readText = (name: string) => readFile(cache.path(commit, name), "utf8");
    return await pulled(cache, commit, await chooseFiles(names, reference, readText));
  } catch (error) {
    if (!(error instanceof RepositoryError)) throw error;
    return { problem: `the cache ${error.message.slice(error.repository.length + 2)}` };
  }
}

export async function pulled(
  cache: CachedRepository,
  commit: string,
  { file, files }: Choice,
): Promise<PulledModel> {
  for (const name of files) await cache.touch(commit, name);
  const path = file === undefined ? cache.snapshot(commit) : cache.path(commit, file);
  return { path, repository: cache.name, commit, files };
}

function offline(reference: HubReference, problem: string): RepositoryError {
  return new RepositoryError(
    reference.repository,
    "offline",
    `HF_HUB_OFFLINE is set, and ${problem}; without it, qigen pull ${referenceText(reference)} downloads it`,
  );
}

async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await sleep(ms, undefined, { signal });
  } catch {
    throw new AbortedError();
  }
}

async function freeBytes(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
}
