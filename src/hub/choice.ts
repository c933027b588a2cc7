import { RepositoryError } from "../base/errors.ts";
import { chooseFolder, isModelFolder } from "./folder-choice.ts";
import { chooseGguf, ggufModels } from "./gguf-choice.ts";
import type { HubReference } from "./reference.ts";

/** The files of a repository that are the model. */
export interface Choice {
  /** What is opened: a GGUF file, the first of a split one; undefined: the folder. */
  readonly file: string | undefined;
  readonly files: readonly string[];
}

/**
 * Chooses among the files of a repository: GGUF where there are such files or one is asked for, else safetensors.
 * `readText` gets a small file. Throws `RepositoryError` where there is no such model, `UsageError` where several fit.
 */
export async function chooseFiles(
  names: readonly string[],
  reference: HubReference,
  readText: (name: string) => Promise<string>,
): Promise<Choice> {
  const { repository, file, type } = reference;
  if (file !== undefined || type !== undefined || ggufModels(names).length > 0) {
    const files = chooseGguf(names, reference);
    return { file: files[0], files };
  }
  if (isModelFolder(names))
    return { file: undefined, files: await chooseFolder(names, repository, readText) };
  throw new RepositoryError(
    repository,
    "missing",
    "has neither GGUF files nor a config.json with safetensors",
  );
}
