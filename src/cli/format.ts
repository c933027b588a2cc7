/** Numbers and tables as people read them, where `plan/text` does not have it. */

import { digits, table } from "../plan/text.ts";

/** 5812345 → "5,812,345". */
export function formatCount(count: number): string {
  return count.toLocaleString("en-US");
}

/** 5812345 → "5.81 M". */
export function formatLarge(count: number): string {
  const units = ["", " K", " M", " G", " T"];
  let unit = 0;
  let value = count;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return unit === 0 ? String(value) : `${digits(value)}${units[unit]}`;
}

/** The shortest decimal number that is this f32. */
export function formatFloat32(value: number): string {
  for (let digits = 1; digits < 10; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return String(short);
  }
  return String(value);
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;

/** Without control characters (but line ends and tabs), which a terminal would obey. */
export function printable(text: string): string {
  return text.replace(CONTROL, "\ufffd");
}

/** On one line, cut to `width` characters. */
export function oneLine(text: string, width: number): string {
  const line = printable(text).replace(/\s+/g, " ").trim();
  const characters = [...line];
  return characters.length <= width ? line : `${characters.slice(0, width - 1).join("")}…`;
}

/** Lines of aligned columns, those in `right` aligned to the right. */
export function columns(
  rows: readonly (readonly string[])[],
  right: readonly number[] = [],
  indent = "",
): string {
  return table(rows, right)
    .map((line) => `${indent}${line}\n`)
    .join("");
}
