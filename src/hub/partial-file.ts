import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, open, readdir, rename, rm, stat, utimes } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { FileAccessError } from "../base/errors.ts";
import { fileAccessError } from "../host/node-files.ts";

/*
 * A file that is being downloaded is `<hash>.qigen-<random>.incomplete` beside where it will be: whoever has renamed it to
 * a name of their own owns it, and says so by its modification time. One that nobody keeps up is anybody's, so that a
 * process that was killed leaves its bytes to the next. Where two believe to own the same one they write the same bytes
 * to the same places, since the hash tells what the bytes are.
 */

/** How often an owner says that it is still there, and when others no longer believe it. */
const HEARTBEAT_MS = 3_000;
const LEASE_MS = 15_000;

const READ_WRITE = constants.O_RDWR | (constants.O_NOFOLLOW ?? 0);
const READ_BYTES = 1 << 20;

/** The part of a file that has been downloaded, owned by this process until `release`, `publish` or `discard`. */
export class PartialFile {
  private readonly heartbeat: NodeJS.Timeout;

  private constructor(
    private readonly target: string,
    private readonly path: string,
    private readonly handle: FileHandle,
    private length: number,
  ) {
    this.heartbeat = setInterval(() => {
      const now = new Date();
      handle.utimes(now, now).catch(() => {});
    }, HEARTBEAT_MS);
    this.heartbeat.unref();
  }

  /** Bytes that are here. */
  get size(): number {
    return this.length;
  }

  /**
   * Takes over what is there of the file at `target`, or begins it; at most `size` bytes. Undefined while another process
   * downloads it. `FileAccessError` where the system refuses.
   */
  static async claim(target: string, size: number): Promise<PartialFile | undefined> {
    const own = join(
      dirname(target),
      `${basename(target)}.qigen-${randomBytes(6).toString("hex")}.incomplete`,
    );
    try {
      const parts = await partsOf(target);
      if (parts.some(({ free }) => !free)) return undefined;
      for (const { path } of parts) {
        if (await renamed(path, own)) return await PartialFile.open(target, own, size, READ_WRITE);
      }
      const create = READ_WRITE | constants.O_CREAT | constants.O_EXCL;
      const file = await PartialFile.open(target, own, size, create);
      // Of two that begin in the same moment one at least sees the other, and steps back.
      if ((await partsOf(target)).every(({ path }) => path === own)) return file;
      await file.discard();
      return undefined;
    } catch (error) {
      throw fileAccessError(target, error);
    }
  }

  private static async open(target: string, path: string, size: number, flags: number): Promise<PartialFile> {
    const now = new Date();
    const handle = await open(path, flags);
    const status = await handle.stat();
    const file = new PartialFile(target, path, handle, status.size);
    await handle.utimes(now, now);
    if (status.size > size) await file.restart();
    return file;
  }

  async restart(): Promise<void> {
    await this.attempt(() => this.handle.truncate(0));
    this.length = 0;
  }

  /** The bytes that are here, in order. */
  async *bytes(): AsyncGenerator<Uint8Array> {
    const buffer = new Uint8Array(READ_BYTES);
    for (let at = 0; at < this.length; ) {
      const { bytesRead } = await this.attempt(() =>
        this.handle.read(buffer, 0, Math.min(READ_BYTES, this.length - at), at),
      );
      if (bytesRead === 0) throw new FileAccessError(this.path, "became shorter while it was read");
      yield buffer.subarray(0, bytesRead);
      at += bytesRead;
    }
  }

  async append(chunk: Uint8Array): Promise<void> {
    for (let done = 0; done < chunk.length; ) {
      const { bytesWritten } = await this.attempt(() =>
        this.handle.write(chunk, done, chunk.length - done, this.length),
      );
      done += bytesWritten;
      this.length += bytesWritten;
    }
  }

  /** Gives the file its name, where it is complete. */
  async publish(): Promise<void> {
    await this.attempt(() => this.handle.sync());
    await this.close();
    // Where it is gone, somebody thought it abandoned, and will publish the same bytes.
    await this.attempt(() => renamed(this.path, this.target));
  }

  /** Leaves the bytes to whoever wants to go on. */
  async release(): Promise<void> {
    await this.close();
    await utimes(this.path, new Date(), new Date(0)).catch(() => {});
  }

  async discard(): Promise<void> {
    await this.close();
    await rm(this.path, { force: true }).catch(() => {});
  }

  private async close(): Promise<void> {
    clearInterval(this.heartbeat);
    await this.handle.close();
  }

  private async attempt<T>(action: () => Promise<T>): Promise<T> {
    try {
      return await action();
    } catch (error) {
      throw fileAccessError(this.target, error);
    }
  }
}

/** What has arrived of a file. */
export interface Part {
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  readonly lastUsed: Date;
  /** Whether anybody may have it. */
  readonly free: boolean;
}

/** What there is of a file, the largest part first. */
export function partsOf(target: string): Promise<Part[]> {
  return partsIn(dirname(target), `${basename(target)}.`);
}

/** What there is in a folder of files whose names begin so. */
export async function partsIn(folder: string, prefix = ""): Promise<Part[]> {
  const all = await readdir(folder).catch(() => []);
  const names = all.filter((name) => name.startsWith(prefix) && /\.qigen-[0-9a-f]+\.incomplete$/.test(name));
  const parts = names.map(async (name) => {
    const path = join(folder, name);
    const status = await stat(path).catch(() => undefined);
    if (status === undefined) return [];
    // A clock that is ahead of this one says nothing about now.
    const free = Math.abs(Date.now() - status.mtimeMs) > LEASE_MS;
    return [{ path, size: status.size, lastUsed: status.atime, free }];
  });
  return (await Promise.all(parts)).flat().sort((a, b) => b.size - a.size);
}

/** Whether it was still there to be renamed. */
async function renamed(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw error;
  }
}
