import { copyFile, mkdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { loadModel } from "../../src/api/index.ts";
import type { GgufValue } from "../../src/files/gguf-values.ts";
import type { GgufTensorToWrite } from "../../src/files/gguf-writer.ts";
import { partPaths } from "../../src/files/split-gguf.ts";
import { openModelFiles } from "../../src/host/model-files.ts";
import { saveGguf, temporaryFolder, tinyLlama } from "../cli/harness.ts";

const folder = temporaryFolder();
const PARTS = 3;
const { metadata, tensors } = tinyLlama();

const u16 = (value: number): GgufValue => ({ type: "u16", value });

/** Part `i` (from 0) of the tiny model, as `gguf-split` writes it, with other keys if wanted. */
function part(i: number, more: Readonly<Record<string, GgufValue>> = {}) {
  const keys = {
    "split.no": u16(i),
    "split.count": u16(PARTS),
    "split.tensors.count": { type: "i32", value: tensors.length } as const,
    ...more,
  };
  const own = i === 0 ? [...metadata] : [];
  return {
    metadata: new Map<string, GgufValue>([...own, ...Object.entries(keys)]),
    tensors: tensors.filter((_, n) => n % PARTS === i),
  };
}

const nameOf = (stem: string, i: number) => `${stem}-0000${i + 1}-of-0000${PARTS}.gguf`;

/** Saves all parts; returns the path of the first one. */
async function save(
  stem: string,
  more: (i: number) => Readonly<Record<string, GgufValue>> = () => ({}),
): Promise<string> {
  for (let i = 0; i < PARTS; i++) await saveGguf(join(folder, nameOf(stem, i)), part(i, more(i)));
  return join(folder, nameOf(stem, 0));
}

async function failureOf(path: string): Promise<string> {
  const files = await openModelFiles(path).catch((error: Error) => error.message);
  if (typeof files === "string") return files;
  await files.close();
  throw new Error("it opens");
}

async function logitsOf(path: string): Promise<readonly Float32Array[]> {
  await using model = await loadModel(path, { backend: "wasm" });
  return await model.evaluate([1, 70, 260, 271]);
}

let whole: string;

beforeAll(async () => {
  whole = await saveGguf(join(folder, "whole.gguf"), { metadata, tensors });
});

describe("a split model", () => {
  it("is the whole one, whichever part is named", async () => {
    await mkdir(join(folder, "with space"));
    const expected = await logitsOf(whole);
    await save("with space/tiny");
    for (let i = 0; i < PARTS; i++) {
      expect(await logitsOf(join(folder, nameOf("with space/tiny", i)))).toEqual(expected);
    }
  });

  it("has the stamps of all its files", async () => {
    const files = await openModelFiles(await save("stamps"));
    expect(files.stamps?.map(({ name }) => name)).toEqual(
      Array.from({ length: PARTS }, (_, i) => join(folder, nameOf("stamps", i))),
    );
    await files.close();
  });

  it("with a part missing is an error that names it", async () => {
    const path = await save("missing");
    await rm(join(folder, nameOf("missing", 1)));
    expect(await failureOf(path)).toContain(`${nameOf("missing", 1)}: no such file`);
  });

  it("with parts that changed places is an error", async () => {
    const path = await save("swapped");
    await rename(join(folder, nameOf("swapped", 2)), join(folder, "kept"));
    await rename(join(folder, nameOf("swapped", 1)), join(folder, nameOf("swapped", 2)));
    await rename(join(folder, "kept"), join(folder, nameOf("swapped", 1)));
    expect(await failureOf(path)).toContain(`${nameOf("swapped", 1)}: split.no: is 2 in part 2, not 1`);
  });

  it("under another name is an error that says what the names should be", async () => {
    const path = join(folder, "renamed.gguf");
    await copyFile(await save("original"), path);
    const message = await failureOf(path);
    expect(message).toContain("split.count: is 3, for 1 files");
    expect(message).toContain("-00001-of-0000N.gguf");
  });

  it("with wrong counts, or a tensor twice, is an error", async () => {
    const counted = await save("counted", (i) => (i === 2 ? { "split.count": u16(4) } : {}));
    expect(await failureOf(counted)).toContain(`${nameOf("counted", 2)}: split.count: is 4, for 3 files`);
    const fewer = await save("fewer", () => ({ "split.tensors.count": { type: "i32", value: 5 } }));
    expect(await failureOf(fewer)).toContain(`split.tensors.count: is 5, but the parts have`);
    const twice = await save("twice");
    const repeated = [tensors[0] as GgufTensorToWrite];
    await saveGguf(join(folder, nameOf("twice", 1)), { ...part(1), tensors: repeated });
    expect(await failureOf(twice)).toContain(`tensor "${tensors[0]?.name}": is in another part, too`);
  });
});

describe("names of parts", () => {
  it("are found from any of them", () => {
    const paths = ["/a b/m-00001-of-00002.gguf", "/a b/m-00002-of-00002.gguf"];
    for (const path of paths) expect(partPaths(path)).toEqual(paths);
    for (const path of ["m.gguf", "m-1-of-2.gguf", "m-00001-of-00002.gguf.bak"]) {
      expect(partPaths(path)).toEqual([path]);
    }
  });

  it.each([
    "m-00003-of-00002.gguf",
    "m-00000-of-00002.gguf",
    "m-00001-of-99999.gguf",
    "m-00000-of-00000.gguf",
  ])("that cannot be are refused: %s", (path) => {
    expect(() => partPaths(path)).toThrow(`${path}: file name: part`);
  });
});
