import { RepositoryError, UsageError } from "../base/errors.ts";
import { quoted } from "./file-name.ts";
import { type HubReference, referenceText } from "./reference.ts";

/** A model in GGUF: one file, or all parts of a split one, in order. */
export type GgufModel = readonly [first: string, ...more: string[]];

/**
 * Which of a repository's files is taken where none is asked for: the first of these types that it has. First what most
 * people want, a good balance of size and quality with kernels that are fast; then what is nearest to it.
 */
export const PREFERRED_TYPES = [
  ...[
    "Q4_K_M",
    "Q4_0",
    "Q8_0",
    "Q5_K_M",
    "Q6_K",
    "Q4_K_S",
    "Q5_K_S",
    "IQ4_XS",
    "IQ4_NL",
    "Q4_1",
    "Q5_0",
    "Q5_1",
  ],
  ...["MXFP4", "Q3_K_M", "Q2_K", "BF16", "F16", "F32"],
] as const;

const PART = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/i;
/** Files beside a model, not models: image encoders and what quantizers recorded. */
const NO_MODEL = /mmproj|^imatrix/i;
const SHOWN_CHOICES = 40;

/** The models among files, by name; a split one whose parts are not all there is none. */
export function ggufModels(names: readonly string[]): GgufModel[] {
  const all = new Set(names);
  return names
    .filter((name) => /\.gguf$/i.test(name) && !NO_MODEL.test(baseName(name)))
    .filter((name) => Number(PART.exec(name)?.[2] ?? 1) === 1)
    .map((name): GgufModel => [name, ...partsOf(name).slice(1)])
    .filter((model) => model.every((part) => all.has(part)))
    .sort(([a], [b]) => (a < b ? -1 : 1));
}

/** The files that belong to a file: itself, or all parts where it is one. */
function partsOf(name: string): string[] {
  const [, stem, , parts] = PART.exec(name) ?? [];
  if (parts === undefined) return [name];
  const extension = name.slice(-5);
  return Array.from(
    { length: Number(parts) },
    (_, i) => `${stem}-${String(i + 1).padStart(5, "0")}-of-${parts}${extension}`,
  );
}

/**
 * The model that a reference means. Without a file or type in it: the only one, else the first of `PREFERRED_TYPES`.
 * Throws `RepositoryError` where it is not there, `UsageError` with the choices where several fit.
 */
export function chooseGguf(names: readonly string[], reference: HubReference): GgufModel {
  const { repository, file, type } = reference;
  const models = ggufModels(names);
  const fitting = file === undefined ? ofType(models, type) : models.filter((model) => model.includes(file));
  const [only, another] = fitting;
  if (only !== undefined && another === undefined) return only;
  const choices = listed(fitting.length > 0 ? fitting : models, reference);
  if (only !== undefined) throw new UsageError(`${repository}: several files fit; choose one:\n${choices}`);
  if (file !== undefined) return namedGguf(names, file, repository, choices);
  if (type === undefined && models.length > 0) {
    throw new UsageError(`${repository}: no file is of a usual type; choose one:\n${choices}`);
  }
  const missing = type === undefined ? "GGUF file that is whole" : `GGUF file of type ${type}`;
  throw new RepositoryError(repository, "missing", `has no ${missing}${choices && `; it has:\n${choices}`}`);
}

/** A file that is no model by its name, but asked for by its name. */
function namedGguf(names: readonly string[], file: string, repository: string, choices: string): GgufModel {
  const lost = partsOf(file).find((part) => !names.includes(part));
  if (lost === undefined) return [file];
  throw new RepositoryError(repository, "missing", `has no ${lost}${choices && `; it has:\n${choices}`}`);
}

/** Models of a type; without one those of the type that is preferred, unless there is but one model. */
function ofType(models: readonly GgufModel[], type: string | undefined): readonly GgufModel[] {
  if (type !== undefined) return models.filter(([name]) => isOfType(name, type));
  if (models.length === 1) return models;
  const preferred = PREFERRED_TYPES.find((type) => models.some(([name]) => isOfType(name, type)));
  return preferred === undefined ? [] : ofType(models, preferred);
}

/** Whether a path has the type in it as a word: Q4_K is in `model-q4_k.gguf`, but not in `model-Q4_K_M.gguf`. */
function isOfType(name: string, type: string): boolean {
  const word = type.replace(/[.-]/g, "\\$&");
  return new RegExp(`(?<![A-Za-z0-9])${word}(?![A-Za-z0-9_])`, "i").test(name);
}

function listed(models: readonly GgufModel[], { repository, revision }: HubReference): string {
  const lines = models.slice(0, SHOWN_CHOICES).map(([file]) => {
    const text = referenceText({ repository, revision, file });
    return `  ${/\p{C}/u.test(text) ? quoted(text) : text}`;
  });
  const more = models.length - lines.length;
  return [...lines, ...(more > 0 ? [`  … and ${more} more`] : [])].join("\n");
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}
