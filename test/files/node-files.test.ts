import { spawnSync } from "node:child_process";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FileAccessError, UsageError } from "../../src/base/errors.ts";
import { Rng } from "../../src/base/rng.ts";
import { type ByteSource, memorySource } from "../../src/files/source.ts";
import { fileAccessError, openFile, writeFileAtomically } from "../../src/host/node-files.ts";

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "qigen-files-"));
});

afterEach(async () => {
  await rm(folder, { recursive: true });
});

const BYTES = Uint8Array.from({ length: 1000 }, (_, i) => i & 255);

const SOURCES: [string, (path: string) => Promise<ByteSource>][] = [
  ["openFile", openFile],
  ["memorySource", async (path) => memorySource(path, BYTES)],
];

describe.each(SOURCES)("%s", (_, open) => {
  async function source(): Promise<ByteSource> {
    const path = join(folder, "some.bin");
    await writeFile(path, BYTES);
    return open(path);
  }

  it("reads any range, also several at once, and bytes that are the caller's", async () => {
    const from = await source();
    expect(from.size).toBe(1000);
    const ranges: [number, number][] = [
      [0, 1000],
      [999, 1],
      [1000, 0],
      [300, 17],
    ];
    const parts = await Promise.all(ranges.map(([offset, length]) => from.read(offset, length)));
    expect(parts).toEqual(ranges.map(([offset, length]) => BYTES.slice(offset, offset + length)));
    parts[0]!.fill(0);
    const target = new Uint8Array(12);
    await from.readInto(500, target.subarray(1, 11));
    expect([...target]).toEqual([0, ...BYTES.subarray(500, 510), 0]);
    await from.close();
    await from.close();
  });

  it("refuses ranges that leave the file", async () => {
    const from = await source();
    const ranges = [
      [-1, 1],
      [0, -1],
      [1000, 1],
      [0, 1001],
      [0.5, 1],
      [Number.NaN, 1],
      [2 ** 60, 1],
      [0, 2 ** 52],
    ];
    for (const [offset, length] of ranges) {
      await expect(from.read(offset!, length!)).rejects.toThrow(FileAccessError);
    }
    await expect(from.readInto(999, new Uint8Array(2))).rejects.toThrow("the file has 1000 bytes");
    await from.close();
  });
});

describe("openFile", () => {
  const refuses = async (path: string, message: string) => {
    const opening = openFile(path);
    await expect(opening).rejects.toThrow(FileAccessError);
    await expect(opening).rejects.toThrow(`${path}: ${message}`);
  };

  it("refuses a missing file", () => refuses(join(folder, "absent"), "no such file"));
  it("refuses a folder", () => refuses(folder, "is a folder"));
  it("refuses a path through a file", async () => {
    await writeFile(join(folder, "file"), "");
    await refuses(join(folder, "file", "inside"), "a part of the path is not a folder");
  });
  it("refuses a link to itself", async () => {
    await symlink("loop", join(folder, "loop"));
    await refuses(join(folder, "loop"), "too many symbolic links");
  });
  it("refuses a path with a zero in it", () => refuses(`${folder}/a\0b`, "the path is not valid"));
  it("refuses a name that is too long", () => refuses(join(folder, "x".repeat(300)), "the name is too long"));
  it("refuses a device", (context) => {
    context.skip(process.platform === "win32", "Windows has no device files");
    return refuses("/dev/null", "is not a regular file");
  });

  it("refuses a pipe at once, without waiting for its writer", async (context) => {
    context.skip(process.platform === "win32", "Windows has no named pipes in folders");
    const { error } = spawnSync("mkfifo", [join(folder, "pipe")]);
    context.skip(error !== undefined, `mkfifo: ${error?.message}`);
    const began = performance.now();
    await refuses(join(folder, "pipe"), "is not a regular file");
    expect(performance.now() - began).toBeLessThan(1000);
  });

  it("refuses a file without permission", async (context) => {
    context.skip(process.getuid?.() === 0, "root may read every file");
    context.skip(process.platform === "win32", "Windows has other permissions");
    await writeFile(join(folder, "secret"), "x");
    await chmod(join(folder, "secret"), 0o000);
    await refuses(join(folder, "secret"), "permission denied");
  });

  it("notices a file that becomes shorter, and a source that was closed", async () => {
    const path = join(folder, "shrinking");
    await writeFile(path, BYTES);
    const source = await openFile(path);
    await truncate(path, 10);
    await expect(source.read(0, 1000)).rejects.toThrow("became shorter while it was read");
    await source.close();
    await expect(source.read(0, 1)).rejects.toThrow(FileAccessError);
  });
});

describe("writeFileAtomically", () => {
  it("writes a new file, and replaces one only when complete", async () => {
    const path = join(folder, "model.bin");
    for (const text of ["first", "second version"]) {
      await writeFileAtomically(path, async (write) => {
        const before = await readFile(path, "utf8").catch(() => undefined);
        for (const letter of text) await write(new TextEncoder().encode(letter));
        await write(new Uint8Array(0));
        expect(await readFile(path, "utf8").catch(() => undefined)).toBe(before);
      });
      expect(await readFile(path, "utf8")).toBe(text);
    }
    expect(await readdir(folder)).toEqual(["model.bin"]);
  });

  it("puts small and large chunks one after the other", async () => {
    const path = join(folder, "rows.bin");
    const rng = new Rng(3);
    const sizes = [5, 1 << 20, 700_000, 700_000, 1, 3 << 20, 0, (1 << 20) - 1, 2, 17];
    const chunks = sizes.map((size) => Uint8Array.from({ length: size }, () => rng.integer(256)));
    await writeFileAtomically(path, async (write) => {
      for (const chunk of chunks) {
        const own = chunk.slice();
        await write(own);
        own.fill(0);
      }
    });
    expect(Buffer.concat(chunks).equals(await readFile(path))).toBe(true);
  });

  it("leaves nothing behind, and the old file alone, when the body fails", async () => {
    const path = join(folder, "model.bin");
    await writeFile(path, "old");
    const writing = writeFileAtomically(path, async (write) => {
      await write(BYTES);
      throw new UsageError("no more");
    });
    await expect(writing).rejects.toThrow(UsageError);
    expect(await readdir(folder)).toEqual(["model.bin"]);
    expect(await readFile(path, "utf8")).toBe("old");
  });

  it("leaves nothing behind when the name is a folder's", async () => {
    const path = join(folder, "taken");
    await mkdir(path);
    await writeFile(join(path, "inside"), "");
    const writing = writeFileAtomically(path, (write) => write(BYTES));
    await expect(writing).rejects.toThrow(FileAccessError);
    await expect(writing).rejects.toThrow(`${path}: is a folder, not a file`);
    expect(await readdir(folder)).toEqual(["taken"]);
  });

  it("refuses a folder that is not there, and takes names of any length", async () => {
    const writing = writeFileAtomically(join(folder, "absent", "x"), (write) => write(BYTES));
    await expect(writing).rejects.toThrow(FileAccessError);
    const long = join(folder, "ü".repeat(127));
    await writeFileAtomically(long, (write) => write(BYTES));
    expect(await readFile(long)).toHaveLength(1000);
  });

  it("says what a full disk is", async (context) => {
    context.skip(process.platform !== "linux", "only Linux has /dev/full");
    const cause: unknown = await writeFile("/dev/full", "x").catch((error: unknown) => error);
    const error = fileAccessError("model.gguf", cause);
    expect(error).toBeInstanceOf(FileAccessError);
    expect(String(error)).toContain("model.gguf: no space left on the device");
  });
});
