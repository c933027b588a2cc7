import { basename, isAbsolute, relative } from "node:path";

/** A path as a reader elsewhere should see it: from the current folder on, or its last part alone. */
export function shownPath(path: string): string {
  if (!isAbsolute(path) && !path.startsWith("..")) return path.replace(/[/\\]+$/, "");
  const below = relative(process.cwd(), path);
  return below !== "" && !below.startsWith("..") && !isAbsolute(below) ? below : basename(path);
}
