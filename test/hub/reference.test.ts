import fc from "fast-check";
import { expect, test } from "vitest";
import { UsageError } from "../../src/base/errors.ts";
import { isFileName, quoted } from "../../src/hub/file-name.ts";
import { parseReference, referenceText } from "../../src/hub/reference.ts";

test.each([
  ["hf:owner/name", { repository: "owner/name", revision: "main" }],
  ["hf:o/n-GGUF:Q4_K_M", { repository: "o/n-GGUF", revision: "main", type: "Q4_K_M" }],
  ["hf:o/n.1:UD-Q4_K_XL@v1.0", { repository: "o/n.1", revision: "v1.0", type: "UD-Q4_K_XL" }],
  ["hf:o/n/a b/c.GGUF", { repository: "o/n", revision: "main", file: "a b/c.GGUF" }],
  ["hf:o/n/a@b.gguf@refs/pr/1", { repository: "o/n", revision: "refs/pr/1", file: "a@b.gguf" }],
])("%s", (text, expected) => {
  const reference = parseReference(text);
  expect(reference).toEqual(expected);
  expect(parseReference(referenceText(reference))).toEqual(reference);
});

test.each([
  ...[
    "",
    "hf:",
    "o/n",
    "hf:o",
    "hf:/n",
    "hf:o/",
    "hf:../n",
    "hf:o/..",
    "hf:o/.n",
    "hf:o--x/n",
    "hf:o/n\0",
    "hf:o/n\n",
  ],
  ...[
    "hf:o/n/",
    "hf:o/n/../../x.gguf",
    "hf:o/n//x.gguf",
    "hf:o/n/x.bin",
    "hf:o/n/a\\b.gguf",
    "hf:o/n/C:x.gguf",
  ],
  ...[
    "hf:o/n:",
    "hf:o/n:a/b",
    "hf:o/n:.*",
    "hf:o/n@",
    "hf:o/n@../x",
    "hf:o/n@a/../b",
    "hf:o/n@-x",
    "hf:o/n@a b",
  ],
])("%j is none", (text) => {
  expect(() => parseReference(text)).toThrow(UsageError);
});

test("what is no text is none", () => {
  expect(() => parseReference(undefined as unknown as string)).toThrow(UsageError);
});

test("whatever is parsed has parts that are safe to join to a folder", () => {
  const piece = fc.constantFrom(
    "hf:",
    "/",
    ":",
    "@",
    "..",
    ".",
    "a",
    "b",
    "\\",
    "--",
    ".gguf",
    "\0",
    "Q4_K",
    " ",
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
      let reference: ReturnType<typeof parseReference>;
      try {
        reference = parseReference(`hf:${pieces.join("")}`);
      } catch (error) {
        expect(error).toBeInstanceOf(UsageError);
        return;
      }
      for (const part of [reference.repository, reference.revision, reference.file ?? "x"]) {
        expect(isFileName(part)).toBe(true);
      }
      expect(parseReference(referenceText(reference))).toEqual(reference);
    }),
    { numRuns: 2000 },
  );
});

test("what a server says is quoted without control characters, and cut", () => {
  expect(quoted('a\u001b[2J\u009bb"\n')).toBe('"a\ufffd[2J\ufffdb\\"\ufffd"');
  expect(quoted("x".repeat(1000))).toHaveLength(203);
});
