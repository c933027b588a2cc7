import { randomBytes } from "node:crypto";
import { link, lstat, mkdir, readdir, readFile, rename, rm, stat, symlink, utimes } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { RepositoryError } from "../base/errors.ts";
import { fileAccessError, writeFileAtomically } from "../host/node-files.ts";
import { isFileName, quoted } from "./file-name.ts";
import { isCommit } from "./reference.ts";
import type { RepositoryFile } from "./repository.ts";

/**
 * A repository in the cache that all programs for the hub share:
 *
 *     models--owner--name/blobs/<hash>              a file's bytes
 *     models--owner--name/snapshots/<commit>/<path> a link to them
 *     models--owner--name/refs/<revision>           the commit that a branch or tag was last
 *
 * A name appears when what it stands for is whole, so that several programs may use the cache at once.
 */
export class CachedRepository {
  readonly folder: string;

  constructor(
    readonly cacheDir: string,
    readonly name: string,
  ) {
    this.folder = join(cacheDir, `models--${name.replace("/", "--")}`);
  }

  get blobs(): string {
    return join(this.folder, "blobs");
  }

  blob(hash: string): string {
    return join(this.blobs, hash);
  }

  snapshot(commit: string): string {
    return join(this.folder, "snapshots", commit);
  }

  /** Throws `RepositoryError` for a name that would lead out of the cache. */
  path(commit: string, file: string): string {
    if (!isFileName(file)) {
      const problem = `has a file ${quoted(file)}, which is no name for a file here`;
      throw new RepositoryError(this.name, "unsafe", problem);
    }
    return join(this.snapshot(commit), file);
  }

  /** The commit of a revision, as far as the cache knows. */
  async commitOf(revision: string): Promise<string | undefined> {
    if (isCommit(revision)) return revision;
    const text = await readFile(join(this.folder, "refs", revision), "utf8").catch(() => "");
    return isCommit(text.trim()) ? text.trim() : undefined;
  }

  async setCommit(revision: string, commit: string): Promise<void> {
    if (isCommit(revision) || (await this.commitOf(revision)) === commit) return;
    const path = join(this.folder, "refs", revision);
    await makeFolder(dirname(path));
    await writeFileAtomically(path, (write) => write(Buffer.from(commit)));
  }

  /** Branches and tags, with their commits. */
  async refs(): Promise<{ readonly name: string; readonly commit: string }[]> {
    const names = await filesBelow(join(this.folder, "refs"));
    const refs = names.map(async (name) => ({ name, commit: (await this.commitOf(name)) ?? "" }));
    return Promise.all(refs);
  }

  async commits(): Promise<string[]> {
    const entries = await readdir(join(this.folder, "snapshots"), { withFileTypes: true }).catch(() => []);
    return entries.filter((entry) => entry.isDirectory() && isCommit(entry.name)).map(({ name }) => name);
  }

  /** Paths of the files of a commit that are here, whole. */
  async files(commit: string): Promise<string[]> {
    const names = await filesBelow(this.snapshot(commit));
    const here = await Promise.all(names.map((name) => isFile(join(this.snapshot(commit), name))));
    return names.filter((_, i) => here[i]);
  }

  /** Whether the snapshot has the file; links it there if only its bytes are here. */
  async has(commit: string, { path, size, hash }: RepositoryFile): Promise<boolean> {
    if (await isFile(this.path(commit, path), size)) return true;
    if (!(await isFile(this.blob(hash), size))) return false;
    await this.link(commit, path, hash);
    return true;
  }

  /** Puts a file whose bytes are here into a snapshot. */
  async link(commit: string, path: string, hash: string): Promise<void> {
    const target = this.path(commit, path);
    const temporary = join(dirname(target), `.${randomBytes(6).toString("hex")}.tmp`);
    await makeFolder(dirname(target));
    try {
      await linkTo(this.blob(hash), temporary);
      await rename(temporary, target);
    } catch (error) {
      await rm(temporary, { force: true });
      throw fileAccessError(target, error);
    }
  }

  /** Notes that a file is used now, for people who look for what they may delete. */
  async touch(commit: string, path: string): Promise<void> {
    const file = this.path(commit, path);
    try {
      await utimes(file, new Date(), (await stat(file)).mtime);
    } catch {
      // A cache that only others may write to.
    }
  }
}

/** A link where the system has such for everybody, else another name, else the only name. */
async function linkTo(blob: string, path: string): Promise<void> {
  await symlink(relative(dirname(path), blob), path)
    .catch(() => link(blob, path))
    .catch(() => rename(blob, path));
}

/** Paths of the files and links in a folder and those within, without going through links. */
export async function filesBelow(folder: string, prefix = ""): Promise<string[]> {
  const entries = await readdir(join(folder, prefix), { withFileTypes: true }).catch(() => []);
  const names = entries.map((entry) => {
    const name = prefix === "" ? entry.name : `${prefix}/${entry.name}`;
    return entry.isDirectory() ? filesBelow(folder, name) : [name];
  });
  return (await Promise.all(names)).flat().sort();
}

async function isFile(path: string, size?: number): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  return found?.isFile() === true && (size === undefined || found.size === size);
}

/** Creates a folder and those above. Not by mkdir's `recursive`, which never returns from some places (/proc, Node 20). */
export async function makeFolder(path: string): Promise<void> {
  if (await lstat(path).catch(() => undefined)) return;
  if (dirname(path) !== path) await makeFolder(dirname(path));
  try {
    await mkdir(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw fileAccessError(path, error);
  }
}
