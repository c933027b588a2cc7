/** Models in several GGUF files, as llama.cpp's `gguf-split` writes them: `name-00001-of-00003.gguf` and so on. */

import { at } from "../base/assert.ts";
import { FileFormatError } from "../base/errors.ts";
import type { GgufFile, GgufTensor } from "./gguf.ts";
import { quoted } from "./quoted.ts";

const PART_NAME = /-(\d{5})-of-(\d{5})\.gguf$/i;

/** Parts of one model, at most: all are open at once. */
const MOST_PARTS = 512;

const KEYS = { part: "split.no", parts: "split.count", tensors: "split.tensors.count" } as const;

/**
 * The paths of all parts of the model that has a part at `path`; just `path` where its name is not that of a part. Throws
 * `FileFormatError` for a name that no part can have.
 */
export function partPaths(path: string): string[] {
  const found = PART_NAME.exec(path);
  if (found === null) return [path];
  const [number, count] = [Number(found[1]), Number(found[2])];
  if (number < 1 || number > count || count > MOST_PARTS) {
    const problem = `part ${number} of ${count} cannot be: parts count from 1, to ${MOST_PARTS} at most`;
    throw new FileFormatError(path, "file name", problem);
  }
  const stem = path.slice(0, found.index);
  const digits = (value: number) => String(value).padStart(5, "0");
  return Array.from({ length: count }, (_, i) => `${stem}-${digits(i + 1)}-of-${digits(count)}.gguf`);
}

/**
 * One model of its parts, in order; the first one has the metadata. Throws `FileFormatError` where the parts are not those
 * of one model, or some are missing.
 */
export function joinGguf(parts: readonly GgufFile[]): GgufFile {
  const first = at(parts, 0);
  parts.forEach(({ metadata }, i) => {
    const count = metadata.integerOr(KEYS.parts, 0, 2 ** 16 - 1, 0);
    if (parts.length === 1 && count <= 1) return;
    if (count !== parts.length) {
      const wanted = "-00001-of-0000N.gguf";
      const problem = `is ${count}, for ${parts.length} files: parts must lie together, with names that end in ${wanted}`;
      throw metadata.error(KEYS.parts, problem);
    }
    const number = metadata.integer(KEYS.part, 0, 2 ** 16 - 1);
    if (number !== i) throw metadata.error(KEYS.part, `is ${number} in part ${i + 1}, not ${i}`);
  });
  const tensors = new Map<string, GgufTensor>();
  for (const part of parts) {
    for (const [name, tensor] of part.tensors) {
      if (tensors.has(name)) {
        throw part.metadata.error(`tensor ${quoted(name)}`, "is in another part, too");
      }
      tensors.set(name, tensor);
    }
  }
  const expected = first.metadata.integerOr(KEYS.tensors, 0, 2 ** 32 - 1, tensors.size);
  if (expected !== tensors.size) {
    throw first.metadata.error(KEYS.tensors, `is ${expected}, but the parts have ${tensors.size} tensors`);
  }
  return { ...first, tensors };
}
