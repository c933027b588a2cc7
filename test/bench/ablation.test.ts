import { readFileSync } from "node:fs";
import ts from "typescript";
import { describe, expect, test } from "vitest";
import { type Ablation, effectOf, markdown } from "../../bench/ablation/summary.mjs";
import { applyEdit, TECHNIQUES } from "../../bench/ablation/techniques.mjs";

/** What the build makes of a file. */
function built(file: string): string {
  const source = readFileSync(new URL(`../../src/${file.replace(/\.js$/, ".ts")}`, import.meta.url), "utf8");
  const compilerOptions = { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext };
  return ts.transpileModule(source, { compilerOptions }).outputText;
}

describe("techniques", () => {
  const names = TECHNIQUES.map(({ name }) => name);

  test("have names of their own, and a way to do without", () => {
    expect(new Set(names).size).toBe(names.length);
    for (const { edits = [], flags = [] } of TECHNIQUES)
      expect(edits.length + flags.length).toBeGreaterThan(0);
  });

  test.each(TECHNIQUES)("$name: its edits fit what is built", ({ edits = [] }) => {
    const texts = new Map<string, string>();
    for (const edit of edits) texts.set(edit.file, applyEdit(texts.get(edit.file) ?? built(edit.file), edit));
    for (const [file, text] of texts) {
      expect(text).not.toBe(built(file));
      const { diagnostics } = ts.transpileModule(text, { reportDiagnostics: true, fileName: file });
      expect(diagnostics).toEqual([]);
    }
  });

  test("an edit must have one place", () => {
    const edit = { file: "a.js", find: /x = \d/, replace: "x = 0" };
    expect(applyEdit("let x = 4;", edit)).toBe("let x = 0;");
    expect(() => applyEdit("let y = 4;", edit)).toThrow("dist/a.js has 0 places");
    expect(() => applyEdit("x = 1; x = 2;", edit)).toThrow("dist/a.js has 2 places");
  });
});

describe("a report", () => {
  const rates = (prefill: number, decode: number) => ({
    prefill: [prefill],
    decode: [decode - 1, decode + 1],
  });
  const rounds = [
    { full: rates(200, 60), without: rates(100, 50) },
    { full: rates(100, 30), without: rates(40, 30) },
  ];
  const ablation: Ablation = {
    started: "2026-11-22T16:00:00.000Z",
    finished: null,
    command: "npm run bench:ablation -- --rounds 2",
    machine: "Some CPU",
    versions: { qigen: "0.1.0" },
    model: "tinyllama-1.1b Q4_0",
    threads: 2,
    tests: { promptTokens: 512, genTokens: 64, repeat: 2 },
    techniques: [
      { name: "one", what: "this; that instead", depth: 0, rounds },
      { name: "two", what: "those", depth: 2048, rounds: [], error: "exit code 1" },
    ],
  };

  test("ratios are of the runs of a round", () => {
    const found = { name: "one", what: "", depth: 0, rounds };
    expect(effectOf(found, "prefill")).toEqual({
      full: 150,
      without: 70,
      ratio: { median: 2.25, min: 2, max: 2.5 },
    });
    expect(effectOf(found, "decode")?.ratio).toEqual({ median: 1.1, min: 1, max: 1.2 });
    expect(effectOf({ ...found, rounds: [] }, "decode")).toBeUndefined();
  });

  test("a row for every technique, also for one that failed", () => {
    const text = markdown(ablation);
    expect(text).toContain(
      "| `one` | this; that instead | 0 | 150 | 70.0 | **2.25** (2.00–2.50) | 45.0 | 40.0 | **1.10** (1.00–1.20) |\n",
    );
    expect(text).toContain("| `two` | those (failed: exit code 1) | 2048 | – |");
    expect(text).toContain("partial results");
    expect(text).toContain("npm run bench:ablation -- --rounds 2");
  });
});
