import { expect, test, vi } from "vitest";
import { choices, commandLine, list, parsedOrExit, wholeNumber, words } from "../../bench/arguments.mjs";

test("lists and counts", () => {
  expect(list("a, b,c")).toEqual(["a", "b", "c"]);
  expect(() => list("a,,b")).toThrow('"a,,b" is no list');
  expect(choices("only", "b,a", ["a", "b", "c"])).toEqual(["b", "a"]);
  expect(() => choices("only", "a,d", ["a", "b"])).toThrow("--only: no d; known: a, b");
  expect(wholeNumber("rounds", "12", 1)).toBe(12);
  for (const wrong of ["0", "-1", "1.5", "x", ""]) {
    expect(() => wholeNumber("rounds", wrong, 1)).toThrow(`--rounds: ${wrong} is no whole number from 1`);
  }
});

test("commands", () => {
  expect(words("taskset  -c 0,1")).toEqual(["taskset", "-c", "0,1"]);
  expect(words()).toEqual([]);
  expect(commandLine(["--prefix", "taskset -c 0", "it's"])).toBe("--prefix 'taskset -c 0' 'it'\\''s'");
});

test("what cannot be meant ends the process with the usage", () => {
  const exit = vi.spyOn(process, "exit").mockImplementation(() => undefined as never);
  const error = vi.spyOn(console, "error").mockImplementation(() => undefined);
  expect(parsedOrExit("usage: x", () => 3)).toBe(3);
  parsedOrExit("usage: x", () => wholeNumber("n", "y", 0));
  expect(exit).toHaveBeenCalledWith(2);
  expect(error).toHaveBeenCalledWith("--n: y is no whole number from 0\n\nusage: x");
  vi.restoreAllMocks();
});
