import { lstatSync, readdirSync, readFileSync } from "node:fs";
import type * as FileSystem from "node:fs/promises";
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { FileAccessError } from "../../src/base/errors.ts";
import { pull } from "../../src/hub/pull.ts";
import { planRemoval } from "../../src/hub/removal.ts";
import { temporaryFolder } from "../cli/harness.ts";
import { FakeHub, sha256 } from "./hub-server.ts";

/** Links that the system refuses to make, as Windows does for most users. */
const { refused } = vi.hoisted(() => ({ refused: new Set<string>() }));

vi.mock("node:fs/promises", async (original) => {
  const real = await original<typeof FileSystem>();
  const refusing = <T extends (...args: never[]) => Promise<void>>(name: string, make: T): T =>
    ((...args) => (refused.has(name) ? Promise.reject(systemError("EPERM")) : make(...args))) as T;
  return { ...real, symlink: refusing("symlink", real.symlink), link: refusing("link", real.link) };
});

const folder = temporaryFolder();
const MODEL = Buffer.alloc(300_000, 7);
let hub: FakeHub;
let homes = 0;
let home = "";

beforeAll(async () => {
  hub = await FakeHub.start();
});

beforeEach(() => {
  hub.reset();
  hub.add("org/tiny", { "m.gguf": MODEL });
  home = join(folder, `home-${homes++}`);
  vi.stubEnv("HF_HOME", home);
  vi.stubEnv("HF_ENDPOINT", hub.endpoint);
  refused.clear();
});

afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
});

const blobs = () => readdirSync(join(home, "hub/models--org--tiny/blobs"));

function systemError(code: string): NodeJS.ErrnoException {
  return Object.assign(new Error(code), { code });
}

test.each([
  ["symbolic links: a second name", ["symlink"], [sha256(MODEL)]],
  ["any links: the only name", ["symlink", "link"], []],
])("without %s", async (_, names, left) => {
  for (const name of names) refused.add(name);
  const { path } = await pull("hf:org/tiny");
  expect(lstatSync(path).isFile()).toBe(true);
  expect(readFileSync(path).equals(MODEL)).toBe(true);
  expect(blobs()).toEqual(left);
  await pull("hf:org/tiny");
  expect(hub.stored).toHaveLength(1);
  const removal = await planRemoval("hf:org/tiny/m.gguf");
  expect(removal).toMatchObject({ files: ["m.gguf"], bytes: MODEL.length });
  await removal.execute();
  expect(blobs()).toEqual([]);
});

test("a disk that is full in the middle: an error that says so, and the next pull goes on", async () => {
  const probe = await open(join(folder, "probe"), "w");
  const prototype: Pick<FileHandle, "write"> = Object.getPrototypeOf(probe);
  await probe.close();
  const { write } = prototype;
  let written = 0;
  const limited = vi.spyOn(prototype, "write").mockImplementation(async function (
    this: FileHandle,
    ...args: unknown[]
  ) {
    if (written > 100_000) throw systemError("ENOSPC");
    const result = await Reflect.apply(write, this, args);
    written += result.bytesWritten;
    return result;
  } as typeof write);
  const failure = pull("hf:org/tiny");
  await expect(failure).rejects.toThrow(FileAccessError);
  await expect(failure).rejects.toThrow(/no space left on the device$/);
  expect(hub.stored).toHaveLength(1);
  limited.mockRestore();
  const { path } = await pull("hf:org/tiny");
  expect(readFileSync(path).equals(MODEL)).toBe(true);
  expect(hub.stored[1]?.range).toBe(`bytes=${written}-`);
});
