import { z } from "zod";
import { NetworkError, QigenError } from "../base/errors.ts";
import type { HubConnection } from "./connection.ts";

/** A file of a repository. */
export interface RepositoryFile {
  /** Path in the repository. */
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  /** SHA-256 of a large file (64 digits), git's own hash of a small one (40 digits). */
  readonly hash: string;
}

/** A repository as it was at one commit. */
export interface Listing {
  readonly commit: string;
  readonly files: readonly RepositoryFile[];
}

const MAX_FILES = 100_000;

const ENTRY = z.object({
  type: z.string(),
  path: z.string(),
  size: z.int().nonnegative(),
  oid: z.string().optional(),
  lfs: z.object({ oid: z.string().regex(/^[0-9a-f]{64}$/), size: z.int().nonnegative() }).optional(),
});
const GIT_HASH = z.string().regex(/^[0-9a-f]{40}$/);

/** Finds out what a revision is now. Throws `RepositoryError` and `NetworkError`. */
export async function listRepository(
  connection: HubConnection,
  repository: string,
  revision: string,
): Promise<Listing> {
  const { listFiles, modelInfo } = await import("@huggingface/hub");
  const { endpoint } = connection.settings;
  const source = { hubUrl: endpoint, fetch: connection.metadata };
  try {
    const { sha } = await modelInfo({ ...source, name: repository, revision, additionalFields: ["sha"] });
    const commit = GIT_HASH.parse(sha);
    const files: RepositoryFile[] = [];
    for await (const entry of listFiles({ ...source, repo: repository, revision: commit, recursive: true })) {
      if (files.length >= MAX_FILES) throw new Error(`more than ${MAX_FILES} files`);
      const file = fileOf(ENTRY.parse(entry));
      if (file !== undefined) files.push(file);
    }
    return { commit, files };
  } catch (error) {
    if (error instanceof QigenError) throw error;
    throw new NetworkError(endpoint, "what answers is no hub (HF_ENDPOINT), or a newer one", {
      cause: error,
    });
  }
}

function fileOf({ type, path, size, oid, lfs }: z.infer<typeof ENTRY>): RepositoryFile | undefined {
  if (type !== "file") return undefined;
  return lfs ? { path, size: lfs.size, hash: lfs.oid } : { path, size, hash: GIT_HASH.parse(oid) };
}

/** Where a file's bytes are. */
export function fileUrl(endpoint: string, repository: string, commit: string, path: string): string {
  const parts = path.split("/").map(encodeURIComponent);
  return `${endpoint}/${repository}/resolve/${commit}/${parts.join("/")}`;
}
