/** Numbers and tables as people read them. */

const BYTE_UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

/** 1536 → "1.5 KiB". */
export function formatBytes(bytes: number): string {
  let unit = 0;
  let value = bytes;
  while (value >= 1024 && unit < BYTE_UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? String(value) : significant(value)} ${BYTE_UNITS[unit]}`;
}

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
  return unit === 0 ? String(value) : `${significant(value)}${units[unit]}`;
}

/** 0.00123 → "1.23 ms"; 75 → "1 min 15 s". */
export function formatSeconds(seconds: number): string {
  if (seconds >= 60) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
  if (seconds >= 1 || seconds === 0) return `${significant(seconds)} s`;
  if (seconds >= 1e-3) return `${significant(seconds * 1e3)} ms`;
  return `${significant(seconds * 1e6)} µs`;
}

/** Three digits that count, at most: 1234.5 → "1,235", 12.345 → "12.3", 0.5 → "0.5". */
export function significant(value: number): string {
  if (!Number.isFinite(value)) return "-";
  const digits = value === 0 ? 0 : Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return Number(value.toFixed(Math.min(digits, 12))).toLocaleString("en-US", { maximumFractionDigits: 12 });
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

/** Columns as wide as their widest cell; `align` has an `l` or `r` for each. */
export function table(rows: readonly (readonly string[])[], align: string, indent = ""): string {
  const widths = [...align].map((_, column) => Math.max(0, ...rows.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) =>
        align[column] === "r" ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0),
      )
      .join("  ");
  return rows.map((row) => `${(indent + line(row)).trimEnd()}\n`).join("");
}
