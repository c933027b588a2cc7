/** Folders that appear whole or not at all. */

import { randomBytes } from "node:crypto";
import { link, mkdir, readdir, rename, rm, stat, statfs } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { FileAccessError } from "../base/errors.ts";
import { attempt, syncFolder, writeFileAtomically } from "./node-files.ts";

/** `.<name>.<process>.<random>.tmp`: tells whose it is, so that what a process leaves when it is killed can be found. */
const temporaryName = (name: string) =>
  `.${name.slice(0, 40)}.${process.pid}.${randomBytes(4).toString("hex")}.tmp`;
const TEMPORARY = /^\.(.{1,40})\.(\d+)\.[0-9a-f]{8}\.tmp$/;

/** Writes one file of the folder; bytes come in order. */
export type WriteFile = (
  name: string,
  body: (write: (chunk: Uint8Array) => Promise<void>) => Promise<void>,
) => Promise<void>;

/**
 * Makes what is to be at `path` in a temporary folder beside it, from which `publish` takes it to its place: whoever
 * looks there sees all of it or nothing. What processes that are gone left of earlier attempts is removed first.
 *
 * Throws `FileAccessError` where the system refuses; passes on what `body` throws, and leaves nothing then.
 */
async function beside(
  path: string,
  body: (write: WriteFile) => Promise<void>,
  publish: (temporary: string) => Promise<void>,
): Promise<void> {
  const parent = dirname(path);
  await removeAbandoned(parent, basename(path));
  const temporary = join(parent, temporaryName(basename(path)));
  await attempt(path, () => mkdir(temporary));
  try {
    await body((name, write) => writeFileAtomically(join(temporary, name), write));
    await syncFolder(temporary);
    await attempt(path, () => publish(temporary));
  } finally {
    await rm(temporary, { recursive: true, force: true }).catch(() => {});
  }
  await syncFolder(parent);
}

/** Creates the folder at `path`, where there is none or an empty one, with the files that `body` writes. */
export function writeFolderAtomically(
  path: string,
  body: (write: WriteFile) => Promise<void>,
): Promise<void> {
  // On POSIX this replaces an empty folder and refuses any other.
  return beside(path, body, async (temporary) => {
    await requireFree(path, "folder");
    try {
      await rename(temporary, path);
    } catch (error) {
      throw FILLED.includes(String((error as NodeJS.ErrnoException).code)) ? taken(path) : error;
    }
  });
}

/** What a system says where another process has filled the folder at that very moment. */
const FILLED = ["ENOTEMPTY", "EEXIST"];

function taken(path: string): FileAccessError {
  return new FileAccessError(path, "exists already: choose another name, or remove it first");
}

/** Creates the files that `body` writes in the folder of `path`, the one at `path` last, where there is none by then. */
export function writeFilesAtomically(path: string, body: (write: WriteFile) => Promise<void>): Promise<void> {
  return beside(path, body, async (temporary) => {
    await requireFree(path, "file");
    const last = basename(path);
    const others = (await readdir(temporary)).filter((name) => name !== last);
    for (const name of others) await rename(join(temporary, name), join(dirname(path), name));
    await nameNew(join(temporary, last), path);
  });
}

/** Gives a file a name that none has; where a file system has no hard links, none but one that came at that very moment. */
async function nameNew(file: string, path: string): Promise<void> {
  try {
    await link(file, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") throw error;
    await requireFree(path, "file");
    await rename(file, path);
  }
}

/** Throws `FileAccessError` where something is at `path`; a new folder may take the place of an empty one. */
export async function requireFree(path: string, kind: "folder" | "file"): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (found === undefined) return;
  const isEmpty = found.isDirectory() && (await attempt(path, () => readdir(path))).length === 0;
  if (isEmpty && kind === "folder") return;
  throw taken(path);
}

/** Throws `FileAccessError` where the file system that `path` will be on has less than `bytes` free. */
export async function requireSpace(path: string, bytes: number): Promise<void> {
  const { bavail, bsize } = await attempt(path, () => statfs(dirname(path)));
  const free = bavail * bsize;
  if (free >= bytes) return;
  const mib = (count: number) => `${Math.ceil(count / 2 ** 20)} MiB`;
  throw new FileAccessError(path, `needs ${mib(bytes)}, but the device has only ${mib(free)} left`);
}

/** Removes temporary folders of this name whose processes are gone. */
async function removeAbandoned(parent: string, name: string): Promise<void> {
  const entries = await attempt(parent, () => readdir(parent));
  for (const entry of entries) {
    const found = TEMPORARY.exec(entry);
    if (found?.[1] !== name.slice(0, 40) || isAlive(Number(found[2]))) continue;
    await rm(join(parent, entry), { recursive: true, force: true }).catch(() => {});
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
