/** The longest name of a file or folder (bytes) and of a whole path in a repository. */
const MAX_NAME = 255;
const MAX_PATH = 1024;

// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
const FORBIDDEN = /[\u0000-\u001f\u007f-\u009f\\:]/;

/**
 * Whether a path that a server names stays within the folder it is joined to, on every system: relative, with `/` between
 * its parts, no `..`, no drive, nothing that a terminal would obey.
 */
export function isFileName(path: string): boolean {
  if (path.length > MAX_PATH || FORBIDDEN.test(path)) return false;
  return path
    .split("/")
    .every((part) => part !== "" && part !== "." && part !== ".." && Buffer.byteLength(part) <= MAX_NAME);
}

/** Text from a server as an error message may show it: on one line, quoted, cut. */
export function quoted(text: string): string {
  const clean = text.replace(/\p{C}/gu, "\ufffd");
  return JSON.stringify(clean.length > 200 ? `${clean.slice(0, 200)}…` : clean);
}
