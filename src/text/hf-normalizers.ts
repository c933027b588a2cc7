import { lowercase, normalizeForBert } from "./bert-normalizer.ts";
import { Charsmap } from "./charsmap.ts";
import type { JsonView } from "./json-view.ts";
import type { Normalizer } from "./text-splitter.ts";

/** A step of the `normalizer` of a `tokenizer.json`: ours where the library's only comes near, else the library's. */
export function readNormalizer(step: JsonView): Normalizer {
  switch (step.string("type")) {
    case "BertNormalizer":
      return readBert(step);
    case "Lowercase":
      return lowercase;
    case "Precompiled":
      return readCharsmap(step);
    case "Prepend":
      return readPrepend(step);
    default:
      return step.json;
  }
}

function readBert(step: JsonView): Normalizer {
  const lower = step.bool("lowercase") ?? true;
  const options = {
    cleanText: step.bool("clean_text") ?? true,
    chineseChars: step.bool("handle_chinese_chars") ?? true,
    lowercase: lower,
    stripAccents: step.bool("strip_accents") ?? lower,
  };
  return (text) => normalizeForBert(text, options);
}

/** Nothing is put before nothing. */
function readPrepend(step: JsonView): Normalizer {
  const before = step.string("prepend") ?? "";
  return (text) => (text === "" ? "" : before + text);
}

function readCharsmap(step: JsonView): Normalizer {
  const key = "precompiled_charsmap";
  const base64 = step.string(key);
  if (base64 === undefined || base64 === "") return (text) => text;
  const charsmap = Charsmap.parse(decodeBase64(base64) ?? new Uint8Array(0));
  if (charsmap === undefined) throw step.error(key, "is not a table of replacements");
  return (text) => charsmap.normalize(text);
}

/** Undefined for what is no base64. */
export function decodeBase64(base64: string): Uint8Array | undefined {
  try {
    return Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
  } catch {
    return undefined;
  }
}
