import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { architectureOf } from "./architecture.ts";
import { CachedRepository } from "./cached-repository.ts";
import { isModelFolder } from "./folder-choice.ts";
import { ggufModels } from "./gguf-choice.ts";
import { partsIn } from "./partial-file.ts";
import { isRepository, referenceText } from "./reference.ts";
import { type HubSettings, hubSettings } from "./settings.ts";

/** A model in the cache, or what there is of files whose download has not ended. */
export interface CachedModel {
  /** What `qigen run` takes. */
  readonly reference: string;
  readonly repository: string;
  readonly kind: "gguf" | "safetensors" | "unfinished";
  /** As its file calls it, if it does. */
  readonly architecture?: string;
  /** The GGUF file (of a split one the first), or the folder; of what is unfinished, the repository's folder. */
  readonly path: string;
  readonly bytes: number;
  readonly lastUsed: Date;
}

/** The models in the cache that are in a form that qigen reads, by name, and downloads that have not ended. */
export async function cachedModels(settings: HubSettings = hubSettings()): Promise<CachedModel[]> {
  const all = (await cachedRepositories(settings)).map(async (cache) => [
    ...(await modelsOf(cache)),
    ...(await unfinishedOf(cache)),
  ]);
  return (await Promise.all(all)).flat();
}

async function cachedRepositories({ cacheDir }: HubSettings): Promise<CachedRepository[]> {
  const folders = (await readdir(cacheDir).catch(() => [])).sort();
  return folders.flatMap((folder) => {
    const [kind, owner, name, ...more] = folder.split("--");
    const repository = `${owner}/${name}`;
    const isModel = kind === "models" && more.length === 0 && isRepository(repository);
    return isModel ? [new CachedRepository(cacheDir, repository)] : [];
  });
}

async function modelsOf(cache: CachedRepository): Promise<CachedModel[]> {
  const refs = await cache.refs();
  const all = (await cache.commits()).map(async (commit) => {
    const names = await cache.files(commit);
    const named = refs.filter((ref) => ref.commit === commit).map(({ name }) => name);
    const revision = named.includes("main") ? "main" : (named[0] ?? commit);
    const place = { repository: cache.name, revision };
    const files = ggufModels(names).map(async (parts): Promise<CachedModel> => {
      const [file] = parts;
      const use = await usage(cache, commit, parts);
      const path = join(cache.snapshot(commit), file);
      return {
        reference: referenceText({ ...place, file }),
        repository: cache.name,
        kind: "gguf",
        ...(await architecture(path, "gguf")),
        path,
        ...use,
      };
    });
    if (!isModelFolder(names)) return Promise.all(files);
    const others = names.filter((name) => !/\.gguf$/i.test(name));
    const use = await usage(cache, commit, others);
    const folder: CachedModel = {
      reference: referenceText(place),
      repository: cache.name,
      kind: "safetensors",
      ...(await architecture(join(cache.snapshot(commit), "config.json"), "safetensors")),
      path: cache.snapshot(commit),
      ...use,
    };
    return [folder, ...(await Promise.all(files))];
  });
  return (await Promise.all(all)).flat();
}

async function architecture(path: string, kind: "gguf" | "safetensors") {
  const found = await architectureOf(path, kind);
  return found === undefined ? {} : { architecture: found };
}

async function usage(cache: CachedRepository, commit: string, names: readonly string[]) {
  const stats = await Promise.all(names.map((name) => stat(join(cache.snapshot(commit), name))));
  const bytes = stats.reduce((sum, { size }) => sum + size, 0);
  return { bytes, lastUsed: new Date(Math.max(...stats.map(({ atimeMs }) => atimeMs))) };
}

async function unfinishedOf(cache: CachedRepository): Promise<CachedModel[]> {
  const parts = await partsIn(cache.blobs);
  if (parts.length === 0) return [];
  const bytes = parts.reduce((sum, { size }) => sum + size, 0);
  const lastUsed = new Date(Math.max(...parts.map((part) => part.lastUsed.getTime())));
  const reference = referenceText({ repository: cache.name, revision: "main" });
  return [{ reference, repository: cache.name, kind: "unfinished", path: cache.folder, bytes, lastUsed }];
}
