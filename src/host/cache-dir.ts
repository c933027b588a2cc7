import {
  accessSync,
  constants,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  type Stats,
  statSync,
} from "node:fs";
import { homedir, tmpdir } from "node:os";
import { dirname, isAbsolute, join, resolve } from "node:path";
import { FileAccessError, MachineError } from "../base/errors.ts";

/** Where compiled kernels are kept. `note` tells the user when it is not where it was expected to be. */
export interface CacheDir {
  readonly path: string;
  readonly note?: string;
}

/** The variables of a process. */
export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The folder of compiled kernels: $QIGEN_CACHE, else $XDG_CACHE_HOME/qigen, else ~/.cache/qigen; where that cannot
 * be written or trusted, a private one among the temporary files (with a note).
 *
 * @throws MachineError when $QIGEN_CACHE itself is one that others could write to
 */
export function openCacheDir(env: Environment = process.env): CacheDir {
  const asked = env.QIGEN_CACHE ? resolve(env.QIGEN_CACHE) : undefined;
  const wanted = asked ?? join(userCaches(env), "qigen");
  const verdict = prepare(wanted);
  if (verdict.ok) return { path: wanted };
  if (asked && verdict.unsafe) throw unsafe(asked, verdict.why);
  const path = temporaryDir();
  return { path, note: `kernels are cached in ${path}, since ${wanted} cannot be used: ${verdict.why}` };
}

/**
 * Creates a cache folder (mode 0700) or makes sure that an existing one is safe: compiled kernels are code that
 * this process will run, so nobody else may be able to put files there.
 *
 * @throws MachineError when others could write to it or replace it
 * @throws FileAccessError when it cannot be created or written
 */
export function prepareCacheDir(path: string): void {
  const verdict = prepare(path);
  if (verdict.ok) return;
  if (verdict.unsafe) throw unsafe(path, verdict.why);
  throw new FileAccessError(path, verdict.why);
}

/** XDG says to ignore relative paths. */
function userCaches(env: Environment): string {
  if (env.XDG_CACHE_HOME && isAbsolute(env.XDG_CACHE_HOME)) return env.XDG_CACHE_HOME;
  if (process.platform === "win32" && env.LOCALAPPDATA) return env.LOCALAPPDATA;
  return join(env.HOME || homedir(), ".cache");
}

type Verdict = { readonly ok: true } | { readonly ok: false; readonly unsafe: boolean; readonly why: string };

function prepare(path: string): Verdict {
  try {
    const why = dangerAbove(nearestExisting(dirname(path))) ?? dangerIn(path);
    if (why !== undefined) return { ok: false, unsafe: true, why };
    accessSync(path, constants.R_OK | constants.W_OK | constants.X_OK);
    return { ok: true };
  } catch (error) {
    return { ok: false, unsafe: false, why: (error as Error).message };
  }
}

function nearestExisting(path: string): string {
  let folder = path;
  while (!existsSync(folder) && dirname(folder) !== folder) folder = dirname(folder);
  return folder;
}

/** Creates the folder where it is missing; says why an existing one is not safe. */
function dangerIn(path: string): string | undefined {
  makeFolders(path);
  const real = realpathSync(path);
  const stats = statSync(real);
  if (!stats.isDirectory()) throw new Error("not a folder");
  if (process.getuid === undefined) return undefined;
  const link = lstatSync(path);
  if (link.isSymbolicLink() && isForeign(link, true)) return "it is a link made by another user";
  if (isForeign(stats, false)) return `it belongs to user ${stats.uid}`;
  if ((stats.mode & 0o022) !== 0) return `others may write to it (mode ${(stats.mode & 0o777).toString(8)})`;
  return dangerAbove(dirname(real));
}

/** Not by mkdir's `recursive`, which never returns where the parent exists but takes no folders (/proc, Node 20). */
function makeFolders(path: string): void {
  if (existsSync(path) || dirname(path) === path) return;
  makeFolders(dirname(path));
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
}

/**
 * Why somebody else could swap a folder inside this one for their own. Write access of a group is let pass here:
 * it is usual for home folders where every user has a group of their own.
 */
function dangerAbove(folder: string): string | undefined {
  if (process.getuid === undefined) return undefined;
  const stats = statSync(folder);
  if (isForeign(stats, true)) return `${folder} belongs to user ${stats.uid}`;
  const anyoneMayReplace = (stats.mode & 0o002) !== 0 && (stats.mode & 0o1000) === 0;
  return anyoneMayReplace ? `anyone may replace what is in ${folder}` : undefined;
}

function isForeign(stats: Stats, rootIsTrusted: boolean): boolean {
  return stats.uid !== process.getuid?.() && !(rootIsTrusted && stats.uid === 0);
}

function unsafe(path: string, why: string): MachineError {
  return new MachineError(
    `cache folder ${path}: ${why}, so compiled code in it cannot be trusted. ` +
      "Make it yours alone (chown, chmod 700), or name another folder in QIGEN_CACHE.",
  );
}

let privateDir: string | undefined;

/** One per user that lasts; where somebody else sits on that name, one for this process alone. */
function temporaryDir(): string {
  const lasting = join(tmpdir(), `qigen-${process.getuid?.() ?? "cache"}`);
  if (prepare(lasting).ok) return lasting;
  if (privateDir === undefined) {
    const created = mkdtempSync(join(tmpdir(), "qigen-"));
    process.once("exit", () => rmSync(created, { recursive: true, force: true }));
    privateDir = created;
  }
  return privateDir;
}
