import { createHash, type Hash } from "node:crypto";
import { AbortedError, NetworkError } from "../base/errors.ts";
import type { HubConnection } from "./connection.ts";
import { Interruption } from "./interruption.ts";
import type { PartialFile } from "./partial-file.ts";
import type { RepositoryFile } from "./repository.ts";

/** Bytes of a file that are here: read again, to go on from there, or new. */
export type OnBytes = (bytes: number, stage: "checking" | "downloading") => void;

/**
 * Completes a partial file from `url`, over as many connections as it takes, and checks size and hash. What turns out
 * wrong is thrown away; if some of it was there before, it is downloaded anew once.
 *
 * @throws NetworkError when the connection fails too often, or what arrives is not what was announced
 * @throws FileAccessError when the disk refuses
 */
export async function downloadBlob(
  connection: HubConnection,
  url: string,
  file: RepositoryFile,
  partial: PartialFile,
  onBytes: OnBytes,
): Promise<void> {
  const resumed = partial.size;
  if ((await complete(connection, url, file, partial, onBytes)) === file.hash) return;
  await partial.restart();
  if (resumed > 0) {
    onBytes(-file.size, "downloading");
    if ((await complete(connection, url, file, partial, onBytes)) === file.hash) return;
    await partial.restart();
  }
  throw new NetworkError(
    url,
    `the file arrived damaged: its hash is not ${file.hash}, which the repository lists`,
  );
}

/** Gets the rest of the file; returns the hash of all of it. */
async function complete(
  connection: HubConnection,
  url: string,
  file: RepositoryFile,
  partial: PartialFile,
  onBytes: OnBytes,
): Promise<string> {
  const hash = hashOf(file);
  for await (const chunk of partial.bytes()) {
    if (connection.signal?.aborted) throw new AbortedError();
    hash.update(chunk);
    onBytes(chunk.length, "checking");
  }
  if (partial.size < file.size) {
    await connection.download(url, (progressed) =>
      receive(connection, url, file, partial, (chunk) => {
        hash.update(chunk);
        onBytes(chunk.length, "downloading");
        progressed();
      }),
    );
  }
  return hash.digest("hex");
}

/** One connection's worth of the file. Throws an `Interruption` when it ends before the file does. */
async function receive(
  connection: HubConnection,
  url: string,
  file: RepositoryFile,
  partial: PartialFile,
  onChunk: (chunk: Uint8Array) => void,
): Promise<void> {
  const from = partial.size;
  const headers: Record<string, string> = from > 0 ? { Range: `bytes=${from}-` } : {};
  await connection.request(url, headers, async (response, alive) => {
    let surplus = from - startOf(url, response, file, from);
    for await (const part of response.body ?? []) {
      alive();
      const chunk = part.subarray(Math.min(surplus, part.length));
      surplus -= part.length - chunk.length;
      if (chunk.length === 0) continue;
      if (partial.size + chunk.length > file.size) throw wrongSize(url, file, "more");
      await partial.append(chunk);
      onChunk(chunk);
    }
    if (partial.size < file.size) throw new Interruption("the connection ended before the file did");
  });
}

/** The position in the file at which a response begins, if it is one about this file. */
function startOf(url: string, response: Response, file: RepositoryFile, from: number): number {
  if (response.status === 206) {
    const [, first, total] =
      /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(response.headers.get("Content-Range") ?? "") ?? [];
    if (total !== undefined && total !== "*" && Number(total) !== file.size)
      throw wrongSize(url, file, total);
    if (Number(first) === from) return from;
    throw new NetworkError(
      url,
      `the server sends another part of the file than byte ${from} and what follows`,
    );
  }
  const length = response.headers.get("Content-Length");
  if (length !== null && Number(length) !== file.size) throw wrongSize(url, file, length);
  return 0;
}

function wrongSize(url: string, file: RepositoryFile, got: string): NetworkError {
  return new NetworkError(url, `the server sends ${got} bytes; the repository lists ${file.size}`);
}

/** Large files have their SHA-256, small ones what git calls them: SHA-1 over a header and the bytes. */
function hashOf({ hash, size }: RepositoryFile): Hash {
  return hash.length === 64 ? createHash("sha256") : createHash("sha1").update(`blob ${size}\0`);
}
