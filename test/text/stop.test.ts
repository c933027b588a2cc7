import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { UsageError } from "../../src/base/errors.ts";
import { StopStrings } from "../../src/text/stop.ts";

/** What comes out when `pieces` go in, piece by piece. */
function run(strings: readonly string[], pieces: readonly string[]) {
  const stop = new StopStrings(strings);
  const out = pieces.map((piece) => stop.push(piece));
  out.push(stop.flush());
  return { out, stoppedBy: stop.stoppedBy };
}

/** The match that is complete first in the whole text, of those the longest. */
function reference(strings: readonly string[], text: string) {
  const matches = strings
    .map((string) => ({ string, start: text.indexOf(string) }))
    .filter(({ start }) => start >= 0)
    .sort((a, b) => a.start + a.string.length - (b.start + b.string.length) || a.start - b.start);
  const first = matches[0];
  return { text: text.slice(0, first?.start ?? text.length), stoppedBy: first?.string };
}

describe("stop strings", () => {
  test("hold back what may become one", () => {
    const stop = new StopStrings(["</s>", "\nUser:"]);
    expect(["a<", "b</", "s", "!x\nUs"].map((piece) => stop.push(piece))).toEqual(["a", "<b", "", "</s!x"]);
    expect(stop.push("er: hi")).toBe("");
    expect(stop.stoppedBy).toBe("\nUser:");
    expect(stop.push("more")).toBe("");
    expect(stop.flush()).toBe("");
  });

  test("give back what was held when the text ends", () => {
    expect(run(["###"], ["a#", "#"])).toEqual({ out: ["a", "", "##"], stoppedBy: undefined });
    expect(run([], ["a", "b"])).toEqual({ out: ["a", "b", ""], stoppedBy: undefined });
  });

  test("in any pieces: as in the whole text, and nothing of a match is given out", () => {
    const letters = fc.constantFrom("a", "b", "c");
    const strings = fc.array(fc.string({ unit: letters, minLength: 1, maxLength: 4 }), { maxLength: 3 });
    const pieces = fc.array(fc.string({ unit: letters, maxLength: 5 }), { maxLength: 10 });
    fc.assert(
      fc.property(strings, pieces, (stops, parts) => {
        const { out, stoppedBy } = run(stops, parts);
        expect({ text: out.join(""), stoppedBy }).toEqual(reference(stops, parts.join("")));
      }),
      { numRuns: 2000 },
    );
  });

  test("are checked", () => {
    for (const wrong of [
      [""],
      ["a".repeat(1025)],
      new Array<string>(65).fill("a"),
      [3 as unknown as string],
    ]) {
      expect(() => new StopStrings(wrong)).toThrow(UsageError);
    }
    expect(() => new StopStrings([""])).toThrow(/^stop: /);
  });
});
