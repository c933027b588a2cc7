import { createHash } from "node:crypto";
import { mkdir, readdir, realpath, rm, stat, statfs, utimes } from "node:fs/promises";
import { join } from "node:path";
import { assert } from "../base/assert.ts";
import { type FileStamp, fileAccessError, openFile, writeFileAtomically } from "./node-files.ts";

/*
 * A packed file holds what a model's weights are in memory, and a trailer that names what they were made from. It takes
 * its name when it is whole and on disk. Its modification time is when it was last used.
 *
 * A file that is cut short while it is mapped ends the process (SIGBUS). Only its owner can do that: the folder is
 * private, and this module never changes a file under its name. One that is removed stays with those who mapped it.
 */

/** What a packed file is made from: the model's files as they were when they were opened, and how its weights are laid out. */
export interface PackedKey {
  readonly files: readonly FileStamp[];
  /** Everything that decides the bytes: formats, tiles, the kernels that pack. */
  readonly layout: string;
  readonly bytes: number;
}

/** Bytes of a file system. */
export interface DiskSpace {
  readonly free: number;
  readonly total: number;
}

/** What packed files may take. */
export interface PackedLimits {
  /** All files together. */
  readonly maxBytes: number;
  readonly diskSpace: (folder: string) => Promise<DiskSpace>;
}

/** The same as eight models of 7 billion weights at 4 bits. */
const PACKED_LIMITS: PackedLimits = { maxBytes: 32 * 2 ** 30, diskSpace };
/** What stays free of a disk: this many bytes, and this share. */
const SPARE = { bytes: 2 * 2 ** 30, share: 0.1 };

/** Changes when what the other parts of a key do not tell does: how weights are quantized, how codes lie in a chunk, or norms. */
const RECIPE = 2;
const FILE = /^[0-9a-f]{32}\.packed$/;
const TEMPORARY = /^\.[0-9a-f]{32}\.packed\..*\.tmp$/;
/** A file used within this time may be about to be mapped; one being written that has not grown since was given up. */
const IN_USE_MS = 10 * 60_000;

interface Entry {
  readonly path: string;
  readonly used: number;
  readonly bytes: number;
}

/** The packed files of one folder. Several processes may use it at once. */
export class PackedCache {
  readonly folder: string;

  constructor(
    cacheDir: string,
    private readonly limits: PackedLimits = PACKED_LIMITS,
  ) {
    this.folder = join(cacheDir, "packed");
  }

  /** Path of the whole, undamaged file for a key, which counts as used now; undefined if there is none. */
  async find(key: PackedKey): Promise<string | undefined> {
    try {
      const name = await nameOf(key);
      const path = join(this.folder, name);
      const file = await openFile(path);
      try {
        const trailer = trailerOf(name);
        if (file.size !== key.bytes + trailer.length) return undefined;
        if (!trailer.equals(await file.read(key.bytes, trailer.length))) return undefined;
      } finally {
        await file.close();
      }
      const now = new Date();
      await utimes(path, now, now);
      return path;
    } catch {
      return undefined;
    }
  }

  /**
   * Writes the file for a key, in place of a damaged one; `fill` writes `key.bytes` bytes. Where it fails nothing is
   * left. `FileAccessError` where the system refuses; passes on what `fill` throws.
   */
  async add(
    key: PackedKey,
    fill: (write: (chunk: Uint8Array) => Promise<void>) => Promise<void>,
  ): Promise<string> {
    const name = await nameOf(key);
    const path = join(this.folder, name);
    try {
      await mkdir(this.folder, { recursive: true, mode: 0o700 });
    } catch (error) {
      throw fileAccessError(this.folder, error);
    }
    await writeFileAtomically(path, async (write) => {
      let written = 0;
      await fill((chunk) => {
        written += chunk.length;
        return write(chunk);
      });
      assert(written === key.bytes, `${written} bytes of packed weights instead of ${key.bytes}`);
      await write(trailerOf(name));
    });
    return path;
  }

  /**
   * Makes room for a file of so many bytes: removes what dead processes left and, where the limits ask for it, the least
   * recently used files. False if there is no room: none is removed then, unless it still takes its space afterwards.
   * `FileAccessError` where the system refuses.
   */
  async makeRoom(bytes: number, now = Date.now()): Promise<boolean> {
    try {
      await mkdir(this.folder, { recursive: true, mode: 0o700 });
      await this.sweep(now);
      return await this.prune(bytes, now);
    } catch (error) {
      throw fileAccessError(this.folder, error);
    }
  }

  private async prune(bytes: number, now: number): Promise<boolean> {
    const entries = await this.entries();
    const used = sum(entries);
    const allowed = Math.min(this.limits.maxBytes, used + (await this.spareBytes()));
    const unused = entries.filter((entry) => now - entry.used > IN_USE_MS);
    const victims: Entry[] = [];
    for (const entry of unused) {
      if (used - sum(victims) + bytes <= allowed) break;
      victims.push(entry);
    }
    if (used - sum(victims) + bytes > allowed) return false;
    for (const { path } of victims) await rm(path, { force: true });
    // A file that a process has mapped takes its space until that ends.
    return victims.length === 0 || bytes <= (await this.spareBytes());
  }

  /** How many files there are, and how large. */
  async usage(): Promise<{ readonly files: number; readonly bytes: number }> {
    const entries = await this.entries();
    return { files: entries.length, bytes: sum(entries) };
  }

  /** What may be used of the disk; negative where it is too full already. */
  private async spareBytes(): Promise<number> {
    const { free, total } = await this.limits.diskSpace(this.folder);
    return free - Math.max(SPARE.bytes, SPARE.share * total);
  }

  private async sweep(now: number): Promise<void> {
    for (const { path, used } of await this.list(TEMPORARY)) {
      if (now - used > IN_USE_MS) await rm(path, { force: true });
    }
  }

  /** The least recently used first. */
  private async entries(): Promise<Entry[]> {
    return (await this.list(FILE)).sort((a, b) => a.used - b.used);
  }

  private async list(pattern: RegExp): Promise<Entry[]> {
    const names = (await readdir(this.folder).catch(() => [])).filter((name) => pattern.test(name));
    const entries = names.map(async (name) => {
      const path = join(this.folder, name);
      const status = await stat(path).catch(() => undefined);
      return status === undefined ? [] : [{ path, used: status.mtimeMs, bytes: status.size }];
    });
    return (await Promise.all(entries)).flat();
  }
}

function sum(entries: readonly Entry[]): number {
  return entries.reduce((total, { bytes }) => total + bytes, 0);
}

/** `FileAccessError` if one of the model's files is gone. */
async function nameOf({ files, layout, bytes }: PackedKey): Promise<string> {
  const stamps = await Promise.all(
    files.map(async (file) => [await realPath(file), file.size, file.modified]),
  );
  const made = JSON.stringify([RECIPE, stamps, layout, bytes]);
  return `${createHash("sha256").update(made).digest("hex").slice(0, 32)}.packed`;
}

async function realPath({ name }: FileStamp): Promise<string> {
  try {
    return await realpath(name);
  } catch (error) {
    throw fileAccessError(name, error);
  }
}

function trailerOf(name: string): Buffer {
  return Buffer.from(`\nqigen packed weights ${name}\n`);
}

/** Types of file systems that are memory (Linux: tmpfs, ramfs): no place for large files. */
const MEMORY_TYPES = [0x01021994, 0x858458f6];

async function diskSpace(folder: string): Promise<DiskSpace> {
  const { type, bavail, blocks, bsize } = await statfs(folder);
  return { free: MEMORY_TYPES.includes(type) ? 0 : bavail * bsize, total: blocks * bsize };
}
