import { randomBytes } from "node:crypto";
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { FileAccessError, InternalError } from "../../src/base/errors.ts";
import type { FileStamp } from "../../src/host/node-files.ts";
import { type DiskSpace, PackedCache, type PackedKey } from "../../src/host/packed-cache.ts";
import { temporaryFolder } from "../cli/harness.ts";

const GIB = 2 ** 30;
const HOUR_MS = 60 * 60_000;
const root = temporaryFolder();
let folder: string;
let disk: DiskSpace;
let cache: PackedCache;

beforeEach(() => {
  folder = join(root, randomBytes(4).toString("hex"));
  mkdirSync(folder);
  disk = { free: 100 * GIB, total: 200 * GIB };
  cache = cacheOf(1000);
});

function cacheOf(maxBytes: number): PackedCache {
  return new PackedCache(folder, { maxBytes, diskSpace: async () => disk });
}

/** The key of a model file that is made for it. */
function keyOf(name: string, bytes = 100): PackedKey {
  const path = join(folder, name);
  if (!existsSync(path)) writeFileSync(path, name);
  return { files: [{ name: path, size: name.length, modified: 1e12 }], layout: "rows", bytes };
}

const weights = (bytes: number) => Uint8Array.from({ length: bytes }, (_, i) => 1 + (i % 251));

/** Writes the file of a key, in two parts. */
function add(key: PackedKey, to = cache): Promise<string> {
  return to.add(key, async (write) => {
    await write(weights(key.bytes).subarray(0, 30));
    await write(weights(key.bytes).subarray(30));
  });
}

/** As if it was last used an hour ago, and some seconds for the order. */
function age(path: string, seconds = 0): void {
  const then = new Date(Date.now() - HOUR_MS - 1000 * seconds);
  utimesSync(path, then, then);
}

const names = () => readdirSync(cache.folder);

describe("a packed file", () => {
  test("is found once it is written, with the weights at its start", async () => {
    const key = keyOf("model");
    expect(await cache.find(key)).toBeUndefined();
    const path = await add(key);
    expect(await cache.find(key)).toBe(path);
    expect(new Uint8Array(readFileSync(path)).slice(0, 100)).toEqual(weights(100));
    expect(await cache.usage()).toEqual({ files: 1, bytes: statSync(path).size });
    if (process.platform !== "win32") expect(statSync(cache.folder).mode & 0o777).toBe(0o700);
  });

  test("counts as used when it is found", async () => {
    const path = await add(keyOf("model"));
    age(path);
    await cache.find(keyOf("model"));
    expect(Date.now() - statSync(path).mtimeMs).toBeLessThan(HOUR_MS / 2);
  });

  test("is another one for a model that changed, another layout, another size", async () => {
    const key = keyOf("model");
    await add(key);
    expect(await cache.find({ ...key, layout: "columns" })).toBeUndefined();
    expect(await cache.find({ ...key, bytes: 101 })).toBeUndefined();
    const [file] = key.files as [FileStamp];
    expect(await cache.find({ ...key, files: [{ ...file, modified: 1e12 + 1 }] })).toBeUndefined();
    expect(await cache.find({ ...key, files: [{ ...file, size: 4 }] })).toBeUndefined();
    expect(await cache.find({ ...key, files: [file, file] })).toBeUndefined();
    expect(await cache.find(key)).toBeDefined();
    rmSync(file.name);
    expect(await cache.find(key)).toBeUndefined();
    await expect(add(key)).rejects.toThrow(FileAccessError);
  });

  test.each([
    ["cut short", (path: string) => truncateSync(path, 120)],
    ["emptied", (path: string) => truncateSync(path, 0)],
    ["longer", (path: string) => appendFileSync(path, "x")],
    [
      "of zeros, as after a power cut",
      (path: string) => writeFileSync(path, new Uint8Array(statSync(path).size)),
    ],
    ["a folder", (path: string) => [rmSync(path), mkdirSync(path)]],
  ])("that is %s is not found", async (_, damage) => {
    const path = await add(keyOf("model"));
    damage(path);
    expect(await cache.find(keyOf("model"))).toBeUndefined();
  });

  test("that is damaged is replaced", async () => {
    const path = await add(keyOf("model"));
    truncateSync(path, 50);
    expect(await add(keyOf("model"))).toBe(path);
    expect(await cache.find(keyOf("model"))).toBe(path);
  });

  test("of another model, under this one's name, is not found", async () => {
    const path = await add(keyOf("model"));
    copyFileSync(await add(keyOf("other")), path);
    expect(await cache.find(keyOf("model"))).toBeUndefined();
  });

  test("written by two at once is one", async () => {
    const key = keyOf("model");
    const paths = await Promise.all([add(key), add(key, cacheOf(1000))]);
    expect(names()).toHaveLength(1);
    expect(await cache.find(key)).toBe(paths[0]);
  });
});

describe("writing that fails leaves nothing", () => {
  test("with the error of what fills it", async () => {
    const failing = cache.add(keyOf("model"), async (write) => {
      await write(weights(50));
      throw new Error("half way");
    });
    await expect(failing).rejects.toThrow("half way");
    expect(names()).toEqual([]);
  });

  test("with fewer or more bytes than the key says", async () => {
    for (const bytes of [99, 101]) {
      const wrong = cache.add(keyOf("model"), (write) => write(weights(bytes)));
      await expect(wrong).rejects.toThrow(InternalError);
    }
    expect(names()).toEqual([]);
  });

  test("where there can be no folder", async () => {
    writeFileSync(cache.folder, "in the way");
    await expect(add(keyOf("model"))).rejects.toThrow(FileAccessError);
    await expect(cache.makeRoom(1)).rejects.toThrow(FileAccessError);
    expect(await cache.find(keyOf("model"))).toBeUndefined();
    expect(await cache.usage()).toEqual({ files: 0, bytes: 0 });
  });
});

describe("room", () => {
  test("is made of the least recently used files, no more of them than needed", async () => {
    const ages = { oldest: 30, newest: 10, middle: 20 };
    const size = statSync(await add(keyOf("oldest"))).size;
    for (const [name, seconds] of Object.entries(ages)) age(await add(keyOf(name)), seconds);
    const limited = cacheOf(3 * size);
    expect(await limited.makeRoom(size + 1)).toBe(true);
    const left = await Promise.all(["oldest", "middle", "newest"].map((name) => limited.find(keyOf(name))));
    expect(left.map((path) => path !== undefined)).toEqual([false, false, true]);
    expect(await limited.makeRoom(2 * size)).toBe(true);
    expect((await limited.usage()).files).toBe(1);
  });

  test("is not made of files in use, and then of no others either", async () => {
    age(await add(keyOf("old")));
    await add(keyOf("new"));
    const { bytes } = await cache.usage();
    const limited = cacheOf(bytes);
    expect(await limited.makeRoom(bytes / 2 + 1)).toBe(false);
    expect((await limited.usage()).files).toBe(2);
    expect(await limited.makeRoom(bytes / 2)).toBe(true);
    expect((await limited.usage()).files).toBe(1);
  });

  test("is not there for a file larger than the limit", async () => {
    age(await add(keyOf("old")));
    expect(await cacheOf(1000).makeRoom(1001)).toBe(false);
    expect((await cache.usage()).files).toBe(1);
  });

  test.each([
    ["2 GiB", { free: 2 * GIB + 500, total: 10 * GIB }],
    ["a tenth", { free: 20 * GIB + 500, total: 200 * GIB }],
  ])("leaves %s of the disk free", async (_, space) => {
    disk = space;
    expect(await cache.makeRoom(501)).toBe(false);
    expect(await cache.makeRoom(500)).toBe(true);
  });

  test("that the disk lacks is made of old files, if that gives any", async () => {
    const path = await add(keyOf("old"));
    age(path);
    disk = { free: 2 * GIB, total: 10 * GIB };
    expect(await cache.makeRoom(100)).toBe(false);
    expect(existsSync(path)).toBe(false);
    const other = await add(keyOf("other"));
    age(other);
    const { size } = statSync(other);
    const freeing = async () => ({ ...disk, free: disk.free + (existsSync(other) ? 0 : size) });
    expect(await new PackedCache(folder, { maxBytes: GIB, diskSpace: freeing }).makeRoom(100)).toBe(true);
  });

  test("is made of what dead processes left, not of what is being written", async () => {
    const key = keyOf("model");
    const name = (await add(key)).slice(cache.folder.length + 1);
    const [left, growing] = [".left.tmp", ".growing.tmp"].map((end) => join(cache.folder, `.${name}${end}`));
    for (const path of [left, growing]) writeFileSync(path as string, "x");
    age(left as string);
    expect(await cache.makeRoom(1)).toBe(true);
    expect([left, growing].map((path) => existsSync(path as string))).toEqual([false, true]);
    expect((await cache.usage()).files).toBe(1);
  });
});

test("the space of the disk is asked for", async () => {
  // In a folder for temporary files, which may be in memory and then takes none.
  expect(await new PackedCache(folder).makeRoom(2 ** 60)).toBe(false);
});
