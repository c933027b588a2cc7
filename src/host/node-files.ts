import { randomBytes } from "node:crypto";
import { constants, type Stats } from "node:fs";
import { type FileHandle, open, readdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { FileAccessError, QigenError } from "../base/errors.ts";
import type { FileFolder } from "../files/folder.ts";
import { type ByteSource, checkRange } from "../files/source.ts";

/** The most that one read or write asks of the system (bytes); Linux stops just below 2^31. */
const LARGEST_TRANSFER = 1 << 30;

/** Chunks are collected until they are this many bytes: rows of a tensor may come one by one. */
const WRITE_BYTES = 1 << 20;

/** Bytes that are written before they are sent to the disk, so that no wait for the disk is long. */
const SYNC_BYTES = 32 << 20;

/** What an operating system's error code means for a person with a file. */
const PROBLEMS: Readonly<Record<string, string>> = {
  ENOENT: "no such file or folder",
  ENOTDIR: "a part of the path is not a folder",
  EEXIST: "exists already: choose another name, or remove it first",
  EISDIR: "is a folder, not a file",
  ENOTEMPTY: "is a folder that has files",
  EACCES: "permission denied",
  EPERM: "not permitted",
  EROFS: "the file system is read-only",
  ENOSPC: "no space left on the device",
  EDQUOT: "the disk quota is used up",
  EFBIG: "the file is too large for the file system or a limit of the process",
  EIO: "the device failed",
  ENXIO: "is not a regular file",
  EMFILE: "too many files are open in this process",
  ENFILE: "too many files are open on this machine",
  ELOOP: "too many symbolic links",
  ENAMETOOLONG: "the name is too long",
  ERR_INVALID_ARG_VALUE: "the path is not valid",
};

/** The `FileAccessError` for what a `node:fs` call on `path` threw; anything but a system error stays as it is. */
export function fileAccessError(path: string, error: unknown): unknown {
  if (error instanceof QigenError || !(error instanceof Error && "code" in error)) return error;
  return new FileAccessError(path, PROBLEMS[String(error.code)] ?? error.message, { cause: error });
}

/** A regular file as it was when it was opened. */
export interface FileStamp {
  /** Its path. */
  readonly name: string;
  readonly size: number;
  /** When it was last changed: milliseconds since 1970. */
  readonly modified: number;
}

/** A regular file, open. */
export interface FileSource extends ByteSource, FileStamp {}

/**
 * Opens a regular file for reading. `FileAccessError` for one that is missing, unreadable or not a regular file
 * (a folder, or a pipe, which opening would otherwise wait on).
 */
export async function openFile(path: string): Promise<FileSource> {
  const handle = await attempt(path, () => open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)));
  try {
    const status = await attempt(path, () => handle.stat());
    if (status.isDirectory()) throw new FileAccessError(path, "is a folder, not a file");
    if (!status.isFile()) throw new FileAccessError(path, "is not a regular file");
    return fileSource(path, handle, status);
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** A folder whose files are opened one by one and closed together. */
export interface OpenFolder extends FileFolder {
  /** The files that were opened. */
  readonly opened: readonly FileSource[];
  close(): Promise<void>;
}

/** Lists a folder. `FileAccessError` where the system refuses. */
export async function openFolder(path: string): Promise<OpenFolder> {
  const files = await attempt(path, () => readdir(path));
  const opened: FileSource[] = [];
  return {
    name: path,
    files,
    opened,
    async open(file) {
      const known = opened.find(({ name }) => name === join(path, file));
      if (known !== undefined) return known;
      const source = await openFile(join(path, file));
      opened.push(source);
      return source;
    },
    async close() {
      for (const source of opened) await source.close();
    },
  };
}

/**
 * Creates or replaces the file at `path` with what `body` writes, in order, through the function it gets. The
 * bytes go to a temporary file in the same folder which takes the name only when complete and on disk, so others
 * see the old file or the new one; where anything fails the temporary file is removed. `FileAccessError` where
 * the system refuses; passes on what `body` throws. Replaces a symbolic link itself.
 */
export async function writeFileAtomically(
  path: string,
  body: (write: (chunk: Uint8Array) => Promise<void>) => Promise<void>,
): Promise<void> {
  // The name is cut: with what is added it must stay within 255 bytes.
  const name = `.${basename(path).slice(0, 40)}.${randomBytes(6).toString("hex")}.tmp`;
  const temporary = join(dirname(path), name);
  const handle = await attempt(path, () => open(temporary, "wx"));
  try {
    try {
      const gathered = new GatheredWrites(handle);
      await body((chunk) => attempt(path, () => gathered.write(chunk)));
      await attempt(path, async () => {
        await gathered.flush();
        await handle.sync();
      });
    } finally {
      await attempt(path, () => handle.close());
    }
    await attempt(path, () => rename(temporary, path));
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    throw error;
  }
  await syncFolder(dirname(path));
}

function fileSource(path: string, handle: FileHandle, { size, mtimeMs }: Stats): FileSource {
  let closed: Promise<void> | undefined;
  const source: FileSource = {
    name: path,
    size,
    modified: mtimeMs,
    async read(offset, length) {
      checkRange(source, offset, length);
      const target = new Uint8Array(length);
      await source.readInto(offset, target);
      return target;
    },
    async readInto(offset, target) {
      checkRange(source, offset, target.length);
      await attempt(path, () => readAll(path, handle, target, offset));
    },
    close() {
      closed ??= attempt(path, () => handle.close());
      return closed;
    },
  };
  return source;
}

async function readAll(path: string, handle: FileHandle, target: Uint8Array, offset: number): Promise<void> {
  for (let done = 0; done < target.length; ) {
    const length = Math.min(target.length - done, LARGEST_TRANSFER);
    const { bytesRead } = await handle.read(target, done, length, offset + done);
    if (bytesRead === 0) throw new FileAccessError(path, "became shorter while it was read");
    done += bytesRead;
  }
}

/** Writes a file in order, small chunks together. */
class GatheredWrites {
  private readonly buffer = new Uint8Array(WRITE_BYTES);
  /** Bytes in the buffer, and in the file. */
  private held = 0;
  private written = 0;

  constructor(private readonly handle: FileHandle) {}

  async write(chunk: Uint8Array): Promise<void> {
    if (this.held + chunk.length > WRITE_BYTES) await this.flush();
    if (chunk.length >= WRITE_BYTES) return this.put(chunk);
    this.buffer.set(chunk, this.held);
    this.held += chunk.length;
  }

  async flush(): Promise<void> {
    const { held } = this;
    this.held = 0;
    if (held > 0) await this.put(this.buffer.subarray(0, held));
  }

  private async put(bytes: Uint8Array): Promise<void> {
    const offset = this.written;
    this.written += bytes.length;
    await writeAll(this.handle, bytes, offset);
    const sync = Math.floor(offset / SYNC_BYTES) < Math.floor(this.written / SYNC_BYTES);
    if (sync) await this.handle.datasync();
  }
}

async function writeAll(handle: FileHandle, chunk: Uint8Array, offset: number): Promise<void> {
  for (let done = 0; done < chunk.length; ) {
    const length = Math.min(chunk.length - done, LARGEST_TRANSFER);
    const { bytesWritten } = await handle.write(chunk, done, length, offset + done);
    done += bytesWritten;
  }
}

/** Puts the new name on disk, where the system can do that for folders. */
export async function syncFolder(folder: string): Promise<void> {
  try {
    const handle = await open(folder, "r");
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch {
    // The file is complete under its name; whether that survives a power cut is up to the file system.
  }
}

/** Gives the system's errors about a path as `FileAccessError`. */
export async function attempt<T>(path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    throw fileAccessError(path, error);
  }
}
