import type { GgufValue } from "../../files/gguf-values.ts";
import type { StoredTensor } from "../../files/model-file.ts";
import type { SafeTensor } from "../../files/safetensors.ts";
import type { ModelSpec } from "../../models/model.ts";
import type { JsonView } from "../../text/json-view.ts";
import type { Run } from "../changed-tensors.ts";
import type { Parameters } from "../quantized/code-matrix.ts";

/** A family of architectures, in checkpoints and in GGUF's terms. */
export interface Family {
  /** What a configuration means. Throws `FileFormatError` and `UnsupportedError`. */
  read(config: JsonView): Translation;
  /** The way back; absent where another family says the same, or no checkpoint can be written yet. */
  readonly written?: WrittenFamily;
}

/** How a model in GGUF's terms is told as a checkpoint. */
export interface WrittenFamily {
  /** `general.architecture` of GGUF. */
  readonly architecture: string;
  /** The class in the reference implementation. */
  readonly modelClass: string;
  /**
   * What config.json says. It need not be enough: whether it means the same model is for the caller to check. Throws
   * `UnsupportedError`.
   */
  settings(model: WrittenModel): Settings;
}

/** A model that is to be told as a checkpoint. */
export interface WrittenModel {
  readonly spec: ModelSpec;
  /** Factors of the rotation, by tensor. */
  readonly vectors: ReadonlyMap<string, Float32Array>;
}

/** Keys of config.json. */
export type Settings = Readonly<Record<string, unknown>>;

/** A checkpoint in GGUF's terms, as far as its configuration tells. */
export interface Translation {
  readonly metadata: ReadonlyMap<string, GgufValue>;
  /** What names in the checkpoint may start with; what follows does not have it. */
  readonly prefixes: readonly string[];
  /**
   * Modules by their names; `*` is the number of a layer, `#` that of a module whose tensors are parts of one. Of several
   * that are one in GGUF, the last is the name that is written.
   */
  readonly modules: Readonly<Record<string, Module>>;
  /** Tensors that some checkpoints have and that follow from the configuration; `*` as above. */
  readonly derived?: readonly string[];
  /** Vectors that follow from the configuration, by GGUF's names. */
  readonly vectors?: ReadonlyMap<string, Float32Array>;
  /** Whether the embedding is the output head. */
  readonly tied: boolean;
  /** What tensors start with that belong to other parts of the model, which are not run. */
  readonly others?: readonly string[];
}

/**
 * GGUF's name of a module, alone or with what becomes of its tensors on the way; or what is made of parameters that are no
 * weight and bias, by their names.
 */
export type Module =
  | string
  | ChangedModule
  | { readonly parameters: Readonly<Record<string, ParameterReader>> };

/** A module whose tensors GGUF has in another form. */
export interface ChangedModule {
  /** GGUF's. */
  readonly name: string;
  /** Makes GGUF's form of a tensor. */
  change(tensor: StoredTensor): StoredTensor;
  /** Makes the checkpoint's form of a tensor of floats. */
  restore(tensor: StoredTensor): StoredTensor;
  /** The rows of the checkpoint's form in GGUF's order, where that is all that differs. */
  readonly runs?: () => Iterable<Run>;
}

/** GGUF's names of all modules, `*` for the number of a layer. */
export function moduleNames({ modules }: Translation): ReadonlySet<string> {
  const names = Object.values(modules).flatMap((module) => {
    if (typeof module === "string") return [module];
    return "name" in module ? [module.name] : [];
  });
  return new Set(names);
}

/** The tensors, by GGUF's names, that one parameter of a module in layer `layer` makes; `all` has those beside it. */
export type ParameterReader = (tensor: SafeTensor, all: Parameters, layer: string) => readonly StoredTensor[];

/** The name with the first number between dots, or at the end, replaced by `*`, the second by `#`, and those numbers. */
export function patternOf(name: string): {
  readonly pattern: string;
  readonly layer: string;
  readonly part: number | undefined;
} {
  const words = name.split(".");
  const [first = -1, second = -1] = words.flatMap((word, i) => (NUMBER.test(word) ? [i] : []));
  const [layer = "", part] = [words[first], words[second]];
  if (first >= 0) words[first] = "*";
  if (second >= 0) words[second] = "#";
  return { pattern: words.join("."), layer, part: part === undefined ? undefined : Number(part) };
}

/** Of a layer or of a part of it, without zeros in front. */
const NUMBER = /^(0|[1-9]\d{0,5})$/;
