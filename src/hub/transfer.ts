import { FileAccessError } from "../base/errors.ts";
import { bytesText } from "../plan/text.ts";
import { downloadBlob, type OnBytes } from "./blob-download.ts";
import { type CachedRepository, makeFolder } from "./cached-repository.ts";
import type { HubConnection, Pause } from "./connection.ts";
import { PartialFile, partsOf } from "./partial-file.ts";
import { fileUrl, type RepositoryFile } from "./repository.ts";

/** What a download is at. */
export interface PullProgress {
  /** Reading what an earlier download left, downloading, or waiting for another process that downloads the same file. */
  readonly stage: "checking" | "downloading" | "waiting";
  /** Path in the repository. */
  readonly file: string;
  /** Bytes that are here, of all files that were missing. */
  readonly done: number;
  readonly total: number;
}

/** How often one looks whether another process is done (ms): once to twice, so that no two look at the same time. */
const POLL_MS = 500;

/** Gets files of one commit into the cache. */
export class Transfer {
  constructor(
    private readonly connection: HubConnection,
    private readonly cache: CachedRepository,
    private readonly commit: string,
    private readonly pause: Pause,
  ) {}

  /** The files that are not in the cache yet. */
  async missing(files: readonly RepositoryFile[]): Promise<RepositoryFile[]> {
    const missing: RepositoryFile[] = [];
    for (const file of files) if (!(await this.cache.has(this.commit, file))) missing.push(file);
    return missing;
  }

  /**
   * Makes sure that what is missing fits on the disk.
   *
   * @throws FileAccessError
   */
  async checkSpace(
    files: readonly RepositoryFile[],
    freeBytes: (folder: string) => Promise<number>,
  ): Promise<void> {
    const { blobs, cacheDir } = this.cache;
    await makeFolder(blobs);
    const left = files.map(async ({ hash, size }) => {
      const [part] = await partsOf(this.cache.blob(hash));
      return Math.max(0, size - (part?.size ?? 0));
    });
    const needed = (await Promise.all(left)).reduce((sum, bytes) => sum + bytes, 0);
    const free = await freeBytes(blobs);
    if (needed <= free) return;
    throw new FileAccessError(
      cacheDir,
      `${bytesText(needed)} are to be downloaded, but only ${bytesText(free)} are free there; make room ` +
        "(qigen list, qigen rm), or name a folder on another disk in HF_HUB_CACHE",
    );
  }

  /** Downloads files that are missing, one after the other. */
  async get(files: readonly RepositoryFile[], onProgress: (progress: PullProgress) => void): Promise<void> {
    const total = files.reduce((sum, { size }) => sum + size, 0);
    let before = 0;
    for (const file of files) {
      let here = 0;
      const report = (stage: PullProgress["stage"]) =>
        onProgress({ stage, file: file.path, done: before + here, total });
      await this.getOne(
        file,
        (bytes, stage) => {
          here += bytes;
          report(stage);
        },
        () => report("waiting"),
      );
      before += file.size;
    }
  }

  private async getOne(file: RepositoryFile, onBytes: OnBytes, onWait: () => void): Promise<void> {
    const blob = this.cache.blob(file.hash);
    while (!(await this.cache.has(this.commit, file))) {
      const partial = await PartialFile.claim(blob, file.size);
      if (partial === undefined) {
        onWait();
        await this.pause(POLL_MS * (1 + Math.random()), this.connection.signal);
      } else if (await this.cache.has(this.commit, file)) {
        await partial.discard();
      } else {
        await this.fill(file, partial, onBytes);
      }
    }
  }

  private async fill(file: RepositoryFile, partial: PartialFile, onBytes: OnBytes): Promise<void> {
    const url = fileUrl(this.connection.settings.endpoint, this.cache.name, this.commit, file.path);
    try {
      await downloadBlob(this.connection, url, file, partial, onBytes);
    } catch (error) {
      await partial.release();
      throw error;
    }
    await partial.publish();
  }
}
