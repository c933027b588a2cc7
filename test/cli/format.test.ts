import { describe, expect, test } from "vitest";
import {
  columns,
  formatCount,
  formatFloat32,
  formatLarge,
  oneLine,
  printable,
} from "../../src/cli/format.ts";
import { bar } from "../../src/cli/status.ts";

describe("numbers", () => {
  test.each([
    [0, "0"],
    [999, "999"],
    [5_770_496, "5,770,496"],
  ])("the count %d is %s", (value, text) => expect(formatCount(value)).toBe(text));

  test.each([
    [999, "999"],
    [3_328, "3.33 K"],
    [5_770_496, "5.77 M"],
    [6_738_415_616, "6.74 G"],
  ])("%d is about %s", (value, text) => expect(formatLarge(value)).toBe(text));

  test.each([
    [Math.fround(1e-5), "0.00001"],
    [Math.fround(0.1), "0.1"],
    [Math.fround(1 / 3), "0.33333334"],
    [10000, "10000"],
    [2 ** -149, "1e-45"],
  ])("the f32 %d is written %s", (value, text) => {
    expect(formatFloat32(value)).toBe(text);
    expect(Math.fround(Number(text))).toBe(value);
  });
});

describe("text of strangers", () => {
  test("control characters are replaced, line ends and tabs are kept", () => {
    expect(printable("a\u001b[31mb\u0007\u009bc\r\n\td")).toBe("a\ufffd[31mb\ufffd\ufffdc\ufffd\n\td");
  });

  test("one line, cut at a width in characters", () => {
    expect(oneLine("a\n b   c", 10)).toBe("a b c");
    expect(oneLine("🌲🌲🌲🌲", 3)).toBe("🌲🌲…");
    expect(oneLine("abc", 3)).toBe("abc");
  });
});

test("columns are aligned and nothing trails", () => {
  const rows = [
    ["a", "1", "x"],
    ["long", "100", ""],
  ];
  expect(columns(rows, [1], "  ")).toBe("  a       1  x\n  long  100\n");
});

test("a bar is full at the end and never past it", () => {
  expect(bar(0)).toBe(`${"░".repeat(24)}   0 %`);
  expect(bar(0.999)).toContain(" 99 %");
  expect(bar(1)).toBe(`${"█".repeat(24)} 100 %`);
  expect(bar(7)).toBe(bar(1));
  expect(bar(0 / 0)).toBe(bar(1));
});
