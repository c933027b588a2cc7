/** Which safetensors files of a folder have a model's weights, and the tensors in them. */

import { FileFormatError } from "../base/errors.ts";
import type { FileFolder } from "../files/folder.ts";
import { readJson } from "../files/json.ts";
import { quoted } from "../files/quoted.ts";
import { readSafetensors, type SafeTensor } from "../files/safetensors.ts";
import { JsonView } from "../text/json-view.ts";

const WHOLE = "model.safetensors";
const INDEX = "model.safetensors.index.json";
/** Bytes of an index; the largest published ones have some 10 MB. */
const INDEX_BYTES = 32 << 20;
/** Files that are open at once, at most. */
const MOST_FILES = 512;

/** All tensors of a model by name. Throws `FileFormatError` where files or tensors are missing, or named twice. */
export async function readWeights(
  folder: FileFolder,
  chosen: string | undefined,
): Promise<ReadonlyMap<string, SafeTensor>> {
  const inIndex = folder.files.includes(INDEX) ? await readIndex(folder) : undefined;
  const parts = inIndex === undefined ? [] : [...new Set(inIndex.values())];
  if (inIndex !== undefined && (chosen === undefined || parts.includes(chosen))) {
    return readIndexed(folder, inIndex, parts);
  }
  return readSafetensors(await folder.open(chosen ?? onlyFile(folder)));
}

/** The file that has all weights, where there is no index. */
function onlyFile(folder: FileFolder): string {
  if (folder.files.includes(WHOLE)) return WHOLE;
  const all = folder.files.filter((name) => name.endsWith(".safetensors"));
  if (all.length === 1) return all[0] as string;
  if (all.length > 1) {
    const names = all.slice(0, 5).map(quoted).join(", ");
    throw new FileFormatError(folder.name, INDEX, `is missing; without it, name one of ${names}`);
  }
  const pickled = folder.files.some((name) => /^pytorch_model.*\.bin$/.test(name));
  const hint = pickled ? ": convert pytorch_model.bin to safetensors" : "";
  throw new FileFormatError(folder.name, WHOLE, `is missing${hint}`);
}

async function readIndex(folder: FileFolder): Promise<ReadonlyMap<string, string>> {
  const source = await folder.open(INDEX);
  const index = new JsonView(source.name, await readJson(source, INDEX_BYTES));
  const map = index.object("weight_map");
  if (map === undefined) throw index.error("weight_map", "is missing");
  const files = new Map<string, string>();
  for (const [name, file] of Object.entries(map.json)) {
    // A name that is no file of this folder could lead anywhere.
    if (typeof file !== "string" || !folder.files.includes(file)) {
      const found = typeof file === "string" ? `the file ${quoted(file)}` : "no file name";
      throw map.error(quoted(name), `names ${found}, which is not in the folder: is the download complete?`);
    }
    files.set(name, file);
  }
  if (new Set(files.values()).size > MOST_FILES) {
    throw index.error("weight_map", `names more than ${MOST_FILES} files`);
  }
  return files;
}

async function readIndexed(
  folder: FileFolder,
  inIndex: ReadonlyMap<string, string>,
  parts: readonly string[],
): Promise<ReadonlyMap<string, SafeTensor>> {
  const read = new Map<string, ReadonlyMap<string, SafeTensor>>();
  for (const part of parts) read.set(part, await readSafetensors(await folder.open(part)));
  const tensors = new Map<string, SafeTensor>();
  for (const [name, file] of inIndex) {
    const tensor = read.get(file)?.get(name);
    if (tensor === undefined) {
      throw new FileFormatError(
        folder.name,
        INDEX,
        `says that ${file} has tensor ${quoted(name)}, which it has not`,
      );
    }
    tensors.set(name, tensor);
  }
  return tensors;
}
