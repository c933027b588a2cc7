import { FileFormatError } from "../base/errors.ts";
import { describeStart } from "./sniff.ts";
import type { ByteSource } from "./source.ts";

/** Objects and arrays, of some 50 bytes each at least: how many, and how many within each other. */
const LIMITS = { count: 1 << 22, depth: 64 } as const;

/** ASCII. */
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const BRACKET = 0x5b;
const BRACE = 0x7b;
/** From an opening bracket or brace to its closing one. */
const CLOSING = 2;

/** The JSON value of a whole file of at most `limit` bytes. Throws `FileFormatError` for anything else. */
export async function readJson(source: ByteSource, limit: number): Promise<unknown> {
  if (source.size > limit) {
    throw new FileFormatError(source.name, "size", `${source.size} bytes, above the limit of ${limit}`);
  }
  return parseJson(source.name, "the file", await source.read(0, source.size));
}

/** A JSON value in UTF-8. Throws a `FileFormatError` on `field` of `file` for anything else. */
export function parseJson(file: string, field: string, bytes: Uint8Array): unknown {
  const { count, depth } = measure(bytes);
  if (depth > LIMITS.depth) {
    throw new FileFormatError(file, field, `is nested more than ${LIMITS.depth} deep`);
  }
  if (count > LIMITS.count) {
    throw new FileFormatError(file, field, `has more than ${LIMITS.count} objects and arrays`);
  }
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw new FileFormatError(
      file,
      field,
      `is not JSON: ${beginsWell(bytes) ? BROKEN : describeStart(bytes)}`,
    );
  }
}

const BROKEN = "it begins like it, but has a mistake or ends too early";

function beginsWell(bytes: Uint8Array): boolean {
  return /^\s*[{[]/.test(String.fromCharCode(...bytes.subarray(0, 64)));
}

/** Objects and arrays, by the brackets outside of strings. */
function measure(bytes: Uint8Array): { readonly count: number; readonly depth: number } {
  let [count, open, depth] = [0, 0, 0];
  let inString = false;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]!;
    if (byte === QUOTE) inString = !inString;
    else if (inString) {
      if (byte === BACKSLASH) i++;
    } else if (byte === BRACKET || byte === BRACE) {
      count++;
      open++;
      if (open > depth) depth = open;
    } else if (byte === BRACKET + CLOSING || byte === BRACE + CLOSING) open--;
  }
  return { count, depth };
}
