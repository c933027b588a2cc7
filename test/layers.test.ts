import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

/** A file imports only from its own layer or a lower one; layers 0 to 3 run in a browser unchanged. */
const LAYERS: Readonly<Record<string, number>> = {
  base: 0,
  ir: 1,
  quant: 1,
  files: 1,
  text: 1,
  isa: 2,
  kernels: 2,
  solver: 2,
  models: 2,
  checkpoints: 2,
  emit: 3,
  plan: 3,
  host: 4,
  engine: 5,
  quantize: 5,
  hub: 5,
  plot: 0,
  report: 6,
  api: 6,
  evaluation: 6,
  cli: 6,
};
const LAST_PORTABLE_LAYER = 3;

const source = resolve(dirname(fileURLToPath(import.meta.url)), "../src");
const files = readdirSync(source, { recursive: true, encoding: "utf8" }).filter((name) =>
  name.endsWith(".ts"),
);

function importsOf(file: string): string[] {
  const text = readFileSync(join(source, file), "utf8");
  return [...text.matchAll(/(?:from|import)\s*\(?\s*"([^"]+)"/g)].map((match) => match[1] as string);
}

const folderOf = (file: string): string => file.split("/")[0] as string;

describe("layers", () => {
  test("every folder has a layer", () => {
    expect([...new Set(files.map(folderOf))].filter((folder) => !(folder in LAYERS))).toEqual([]);
  });

  test("no file imports from a higher layer", () => {
    const wrong = files.flatMap((file) =>
      importsOf(file)
        .filter((name) => name.startsWith("."))
        .map((name) => relative(source, resolve(source, dirname(file), name)))
        .filter((target) => (LAYERS[folderOf(target)] as number) > (LAYERS[folderOf(file)] as number))
        .map((target) => `${file} imports ${target}`),
    );
    expect(wrong).toEqual([]);
  });

  test("portable layers do not import from the platform", () => {
    const wrong = files
      .filter((file) => (LAYERS[folderOf(file)] as number) <= LAST_PORTABLE_LAYER)
      .flatMap((file) =>
        importsOf(file)
          .filter((name) => name.startsWith("node:") || name === "koffi")
          .map((name) => `${file} imports ${name}`),
      );
    expect(wrong).toEqual([]);
  });
});
