import { quoted } from "./quoted.ts";

/** What people hand over instead of a model, by how it starts (a prefix or a pattern). */
const LOOKALIKES: readonly (readonly [RegExp | string, string])[] = [
  [/^$/, "the file is empty"],
  [/^\0+$/, "it starts with zeros, like an unfinished download"],
  [/^\s*<(!doctype|html|head|\?xml)/i, "it looks like a web page: was a log-in or error page downloaded?"],
  ["version https://git-lfs", "it is a Git LFS pointer: fetch the real file with `git lfs pull`"],
  [/^(lmgg|fmgg|tjgg|algg)/, "it is a GGML file from before GGUF: convert the model again"],
  ["FUGG", "it is a GGUF file with its bytes swapped"],
  ["GGUF", "it is a GGUF file"],
  [/^[\s\S]{5}\0\0\0\{/, "it looks like safetensors"],
  ["PK\x03\x04", "it is a zip archive, perhaps a PyTorch checkpoint"],
  ["\x1f\x8b", "it is compressed with gzip: unpack it first"],
  [/^\s*[{[]/, "it looks like JSON"],
];

/** Says what a file that is not what it should be seems to be, from its first bytes (16 or so are enough). */
export function describeStart(start: Uint8Array): string {
  const text = String.fromCharCode(...start.subarray(0, 64));
  const known = LOOKALIKES.find(([pattern]) =>
    typeof pattern === "string" ? text.startsWith(pattern) : pattern.test(text),
  );
  if (known) return known[1];
  const bytes = [...start.subarray(0, 8)].map((byte) => byte.toString(16).padStart(2, "0"));
  return `it starts with ${bytes.join(" ")} (${quoted(text.slice(0, 8))})`;
}
