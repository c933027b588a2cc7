// @ts-check
import { mkdir, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";

/**
 * Writes files of a folder. Each takes its name when it is complete, so that an interrupt leaves valid files.
 *
 * @param {string} folder
 * @param {Record<string, string>} files names and texts
 */
export async function saveFiles(folder, files) {
  await mkdir(folder, { recursive: true });
  for (const [name, text] of Object.entries(files)) {
    const path = join(folder, name);
    await writeFile(`${path}.tmp`, text);
    await rename(`${path}.tmp`, path);
  }
}
