import { readFile } from "node:fs/promises";
import type { TestContext } from "vitest";
import { readGguf } from "../../src/files/gguf.ts";
import { GgufMetadata } from "../../src/files/gguf-metadata.ts";
import type { GgufValue } from "../../src/files/gguf-values.ts";
import { PackedStrings } from "../../src/files/packed-strings.ts";
import { memorySource } from "../../src/files/source.ts";
import { CHAR_OF_BYTE } from "../../src/text/byte-alphabet.ts";
import { tokenizerFromGguf } from "../../src/text/gguf-tokenizer.ts";
import type { Tokenizer } from "../../src/text/tokenizer.ts";
import { shared } from "../files/gguf-fixtures.ts";

/** The metadata of a GGUF file in `shared`. */
export async function sharedMetadata(context: TestContext, path: string): Promise<GgufMetadata> {
  const full = shared(context, path);
  return (await readGguf(memorySource(path, await readFile(full)))).metadata;
}

export async function sharedTokenizer(context: TestContext, path: string): Promise<Tokenizer> {
  return tokenizerFromGguf(await sharedMetadata(context, path));
}

export async function sharedText(context: TestContext, path: string): Promise<string> {
  return readFile(shared(context, path), "utf8");
}

type Plain = string | number | boolean | readonly string[] | Float32Array | Int32Array | undefined;

/** Metadata from plain values: integers are u32, `undefined` is left out. */
export function metadataOf(entries: Readonly<Record<string, Plain>>): GgufMetadata {
  const values = Object.entries(entries).flatMap(([key, value]) =>
    value === undefined ? [] : [[key, ggufValue(value)] as const],
  );
  return new GgufMetadata("test.gguf", new Map(values));
}

function ggufValue(value: Exclude<Plain, undefined>): GgufValue {
  if (typeof value === "string") return { type: "string", value };
  if (typeof value === "boolean") return { type: "bool", value };
  if (typeof value === "number") return { type: "u32", value };
  if (value instanceof Float32Array) return { type: "array", of: "f32", values: value };
  if (value instanceof Int32Array) return { type: "array", of: "i32", values: value };
  return { type: "array", of: "string", values: PackedStrings.from(value) };
}

const KEY = "tokenizer.ggml.";

/** A token of a small vocabulary: text, score, type. */
export type Token = readonly [text: string, score?: number, type?: number];

/** `<unk> <s> </s>`, the 256 bytes, then `tokens`. */
export function smallSentencePiece(tokens: readonly Token[], more: Readonly<Record<string, Plain>> = {}) {
  const all: Token[] = [
    ["<unk>", 0, 2],
    ["<s>", 0, 3],
    ["</s>", 0, 3],
    ...Array.from({ length: 256 }, (_, byte): Token => {
      return [`<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`, 0, 6];
    }),
    ...tokens,
  ];
  return metadataOf({
    [`${KEY}model`]: "llama",
    [`${KEY}tokens`]: all.map(([text]) => text),
    [`${KEY}scores`]: Float32Array.from(all, ([, score]) => score ?? 0),
    [`${KEY}token_type`]: Int32Array.from(all, ([, , type]) => type ?? 1),
    ...more,
  });
}

/** The 256 bytes, then the result of every merge (`"a b"`), then `tokens`; ids from 0. */
export function smallByteLevel(
  merges: readonly string[],
  tokens: readonly Token[] = [],
  more: Readonly<Record<string, Plain>> = {},
) {
  const all: Token[] = [
    ...CHAR_OF_BYTE.map((char): Token => [char]),
    ...merges.map((merge): Token => [merge.replace(" ", "")]),
    ...tokens,
  ];
  return metadataOf({
    [`${KEY}model`]: "gpt2",
    [`${KEY}pre`]: "gpt-2",
    [`${KEY}tokens`]: all.map(([text]) => text),
    [`${KEY}token_type`]: Int32Array.from(all, ([, , type]) => type ?? 1),
    [`${KEY}merges`]: merges,
    ...more,
  });
}
