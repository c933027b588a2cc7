import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";

/** Where the code is that plans and kernels follow from. */
const FOLDERS = ["base", "emit", "ir", "isa", "kernels", "plan", "quant"];

let version: { readonly hash: string | undefined } | undefined;

/** A hash of the generator's own files; undefined where they are not files of their own (bundled). */
export function generatorVersion(): string | undefined {
  version ??= { hash: hashOf(new URL("../", import.meta.url)) };
  return version.hash;
}

function hashOf(root: URL): string | undefined {
  const hash = createHash("sha256");
  try {
    for (const folder of FOLDERS) {
      const url = new URL(`${folder}/`, root);
      const files = readdirSync(url).filter((name) => /\.[jt]s$/.test(name) && !name.endsWith(".d.ts"));
      for (const name of files.sort()) hash.update(name).update(readFileSync(new URL(name, url)));
    }
    return hash.digest("hex");
  } catch {
    return undefined;
  }
}
