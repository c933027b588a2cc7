import { UsageError } from "../base/errors.ts";
import { isFileName } from "./file-name.ts";

/** A model on the hub, as `hf:owner/name`, `hf:owner/name/file.gguf` or `hf:owner/name:Q4_K_M` names it. */
export interface HubReference {
  /** `owner/name`. */
  readonly repository: string;
  /** A branch, tag or commit: what follows the last `@`. */
  readonly revision: string;
  /** Path of a GGUF file in the repository. */
  readonly file?: string;
  /** What the name of a GGUF file tells of its tensor types. */
  readonly type?: string;
}

const PREFIX = "hf:";
const DEFAULT_REVISION = "main";
const PARTS = /^([^/:]+)\/([^/:]+)(?:\/(.+)|:([^/:]+))?$/;
/** The hub's own rules. Two dashes separate owner and name in the cache. */
const NAME = /^(?!.*(?:--|\.\.))\w[\w.-]{0,95}$/;
const REVISION = /^\w[\w./-]{0,199}$/;
const TYPE = /^\w[\w.-]{0,63}$/;
const COMMIT = /^[0-9a-f]{40}$/;

export function isHubReference(model: unknown): model is string {
  return typeof model === "string" && model.startsWith(PREFIX);
}

/** Whether a revision can never mean something else. */
export function isCommit(revision: string): boolean {
  return COMMIT.test(revision);
}

export function isRepository(name: string): boolean {
  const parts = name.split("/");
  return parts.length === 2 && parts.every((part) => NAME.test(part));
}

/** Throws `UsageError` for anything that is not a reference. */
export function parseReference(text: string): HubReference {
  if (!isHubReference(text)) throw wrong(text, "no reference");
  const at = text.lastIndexOf("@");
  const [model, revision] = at < 0 ? [text, DEFAULT_REVISION] : [text.slice(0, at), text.slice(at + 1)];
  const [, owner = "", name = "", file, type] = PARTS.exec(model.slice(PREFIX.length)) ?? [];
  const repository = `${owner}/${name}`;
  if (!isRepository(repository)) throw wrong(text, "no repository");
  if (!REVISION.test(revision) || !isFileName(revision)) throw wrong(text, "no revision after @");
  if (file !== undefined && !(isFileName(file) && /\.gguf$/i.test(file))) throw wrong(text, "no GGUF file");
  if (type !== undefined && !TYPE.test(type)) throw wrong(text, "no type after :");
  return {
    repository,
    revision,
    ...(file === undefined ? {} : { file }),
    ...(type === undefined ? {} : { type }),
  };
}

/** The shortest text that names the same. */
export function referenceText({ repository, revision, file, type }: HubReference): string {
  const choice = file === undefined ? (type === undefined ? "" : `:${type}`) : `/${file}`;
  return `${PREFIX}${repository}${choice}${revision === DEFAULT_REVISION ? "" : `@${revision}`}`;
}

function wrong(text: string, problem: string): UsageError {
  return new UsageError(
    `${JSON.stringify(text) ?? String(text)}: ${problem}; a model on the hub is hf:owner/name, hf:owner/name/file.gguf or ` +
      "hf:owner/name:Q4_K_M, each with @revision or without",
  );
}
