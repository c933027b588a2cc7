import { UnsupportedError } from "../base/errors.ts";
import { quoted } from "../files/quoted.ts";
import type { JsonView } from "./json-view.ts";
import type { SpacePrefix } from "./piece-tokenizer.ts";
import { GPT2_PATTERN, isolate } from "./pre-tokenizers.ts";
import { type JsonObject, MARK_SPACES, type Normalizer } from "./text-splitter.ts";
import { SPACE_MARK } from "./vocabulary.ts";

/**
 * A `pre_tokenizer` taken apart. What depends on the place in the text (prefixes) is done by the tokenizer, which
 * works on slices of it; bytes are spelled by the merger; what remains only divides text.
 */
export interface PreTokenizerParts {
  readonly byteLevel: boolean;
  /** To be done after the normalizer. */
  readonly normalizers: readonly Normalizer[];
  readonly prefix: SpacePrefix | undefined;
  readonly splits: readonly JsonObject[];
}

/** Throws `UnsupportedError` for types and behaviours that are not known to give the right division. */
export function readPreTokenizer(view: JsonView | undefined): PreTokenizerParts {
  const parts = {
    byteLevel: false,
    normalizers: [] as Normalizer[],
    prefix: undefined as SpacePrefix | undefined,
    splits: [] as JsonObject[],
  };
  const steps = flatten(view, "pretokenizers");
  for (const [i, step] of steps.entries()) {
    const found = readStep(step);
    if (found.prefix !== undefined && i > 0) {
      // One before every word is one before the text, where one space is left between words.
      const words = found.prefix.sections === "every" && steps[i - 1]?.string("type") === "WhitespaceSplit";
      if (i > 1 || !words) throw unsupported(step, "a space prefix after another step");
    }
    parts.byteLevel ||= found.byteLevel ?? false;
    parts.prefix ??= found.prefix;
    parts.normalizers.push(...(found.normalizers ?? []));
    parts.splits.push(...(found.splits ?? []));
  }
  return parts;
}

/** Sequences within sequences, at most. */
const DEPTH = 8;

/** The steps of a component, which may be a (nested) sequence of them under `key`. */
export function flatten(view: JsonView | undefined, key: string, depth = 0): JsonView[] {
  if (view === undefined) return [];
  if (view.string("type") !== "Sequence") return [view];
  if (depth === DEPTH) throw view.error(key, `is nested more than ${DEPTH} deep`);
  return view.objects(key).flatMap((part) => flatten(part, key, depth + 1));
}

function readStep(step: JsonView): Partial<PreTokenizerParts> {
  const type = step.string("type") ?? "";
  switch (type) {
    case "ByteLevel": {
      const prefix: SpacePrefix = { text: " ", sections: "every", unlessPresent: true };
      return {
        byteLevel: true,
        ...(step.bool("add_prefix_space") ? { prefix } : {}),
        splits: step.bool("use_regex") === false ? [] : [isolate(GPT2_PATTERN)],
      };
    }
    case "Metaspace":
      return readMetaspace(step);
    case "WhitespaceSplit":
      return {
        normalizers: [(text) => text.replace(/\p{White_Space}+/gu, " ").replace(/^ | $/g, "")],
        splits: [step.json],
      };
    case "BertPreTokenizer":
      return { splits: [step.json] };
    case "Punctuation":
      return readPunctuation(step);
    case "Digits":
      return { splits: [isolate(step.bool("individual_digits") ? "\\p{N}" : "\\p{N}+")] };
    case "Split":
      return readSplit(step);
    default:
      throw unsupported(step, `type ${quoted(type)}`);
  }
}

function readMetaspace(step: JsonView): Partial<PreTokenizerParts> {
  if ((step.string("replacement") ?? SPACE_MARK) !== SPACE_MARK)
    throw unsupported(step, "another space mark");
  const scheme =
    step.string("prepend_scheme") ?? (step.bool("add_prefix_space") === false ? "never" : "always");
  const prefix: SpacePrefix = {
    text: SPACE_MARK,
    sections: scheme === "first" ? "first" : "every",
    unlessPresent: true,
  };
  const word = { Regex: `${SPACE_MARK}?[^${SPACE_MARK}]*` };
  return {
    normalizers: [MARK_SPACES],
    ...(scheme === "never" ? {} : { prefix }),
    splits:
      step.bool("split") === false
        ? []
        : [{ type: "Split", pattern: word, behavior: "Removed", invert: true }],
  };
}

/** Unicode's punctuation, and ASCII's symbols. */
const PUNCTUATION = String.raw`[\p{P}$+<=>^${"`"}|~]`;

function readPunctuation(step: JsonView): Partial<PreTokenizerParts> {
  const behavior = step.string("behavior") ?? "Isolated";
  if (behavior === "Isolated") return { splits: [isolate(PUNCTUATION)] };
  if (behavior === "Contiguous") return { splits: [isolate(`${PUNCTUATION}+`)] };
  throw unsupported(step, `Punctuation with behavior ${quoted(behavior)}`);
}

/** The library divides as `Isolated` or `Removed` say, whatever the behaviour. */
function readSplit(step: JsonView): Partial<PreTokenizerParts> {
  const behavior = step.string("behavior") ?? "";
  if (behavior === "Isolated" || behavior === "Removed") return { splits: [step.json] };
  // Gemma divides at spaces that its normalizer has replaced before.
  if (step.object("pattern")?.get("String") === " ") return {};
  throw unsupported(step, `Split with behavior ${quoted(behavior)}`);
}

function unsupported(step: JsonView, what: string): UnsupportedError {
  return new UnsupportedError(`${step.file}: pre_tokenizer: ${what} is not something this version can do`);
}
