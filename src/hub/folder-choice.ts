import { z } from "zod";
import { RepositoryError } from "../base/errors.ts";
import { quoted } from "./file-name.ts";

/** What a folder in the hub's own form has beside weights, as far as a text model needs it. */
const BESIDE_WEIGHTS =
  /^(?:config|generation_config|quantize_config|quant_config|special_tokens_map|added_tokens|vocab|chat_template)\.json$|^tokenizer[\w.-]*$|^merges\.txt$|^chat_template\.jinja$/;
const INDEX = "model.safetensors.index.json";
const SINGLE = "model.safetensors";
/** The same weights once more, in another program's form. */
const REPEATED = /^consolidated/;

/** Whether files are a model in the hub's own form: a configuration and safetensors. */
export function isModelFolder(names: readonly string[]): boolean {
  return names.includes("config.json") && weightsIn(names).length > 0;
}

/**
 * The files of such a model that running it needs: configuration, tokenizer, and the weights that the index names (which
 * `readText` gets), else `model.safetensors`, else all there are. Throws `RepositoryError` where one is missing.
 */
export async function chooseFolder(
  names: readonly string[],
  repository: string,
  readText: (name: string) => Promise<string>,
): Promise<string[]> {
  const beside = names.filter((name) => BESIDE_WEIGHTS.test(name));
  const weights = weightsIn(names);
  const index = names.includes(INDEX) ? INDEX : names.find((name) => isIndex(name));
  if (index === undefined) return [...beside, ...(weights.includes(SINGLE) ? [SINGLE] : weights)];
  const shards = shardsIn(await readText(index));
  if (shards === undefined)
    throw new RepositoryError(repository, "missing", `${index} is no index of weights`);
  const lost = shards.find((name) => !weights.includes(name));
  if (lost !== undefined)
    throw new RepositoryError(repository, "missing", `has no ${quoted(lost)}, which ${index} names`);
  return [...beside, index, ...shards];
}

function weightsIn(names: readonly string[]): string[] {
  return names.filter((name) => /^[^/]+\.safetensors$/.test(name) && !REPEATED.test(name));
}

function isIndex(name: string): boolean {
  return /^[^/]+\.safetensors\.index\.json$/.test(name) && !REPEATED.test(name);
}

const INDEX_FILE = z.object({ weight_map: z.record(z.string(), z.string()) });

function shardsIn(text: string): string[] | undefined {
  try {
    return [...new Set(Object.values(INDEX_FILE.parse(JSON.parse(text)).weight_map))].sort();
  } catch {
    return undefined;
  }
}
