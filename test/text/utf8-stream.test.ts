import fc from "fast-check";
import { expect, test } from "vitest";
import { Utf8Stream } from "../../src/text/utf8-stream.ts";

/** The pieces that the stream gives for bytes cut at `cuts`. */
function streamed(bytes: Uint8Array, cuts: readonly number[]): string[] {
  const stream = new Utf8Stream();
  const places = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  const pieces = places.slice(1).map((end, i) => stream.push(bytes.subarray(places[i], end)));
  return [...pieces, stream.flush()];
}

const cuts = fc.array(fc.nat(1000));

test("characters wait for their last byte", () => {
  const stream = new Utf8Stream();
  const pieces = [...new TextEncoder().encode("é€😀")].map((byte) => stream.push(Uint8Array.of(byte)));
  expect(pieces).toEqual(["", "é", "", "", "€", "", "", "", "😀"]);
  expect(stream.flush()).toBe("");
});

test("text cut anywhere is the text, and no piece has half a character", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), cuts, (text, where) => {
      const pieces = streamed(new TextEncoder().encode(text), where);
      expect(pieces.join("")).toBe(text);
      expect(pieces.every((piece) => !piece.includes("\ufffd")) || text.includes("\ufffd")).toBe(true);
    }),
  );
});

test("any bytes cut anywhere give what they give whole", () => {
  const bytes = fc.uint8Array({ maxLength: 40 });
  fc.assert(
    fc.property(bytes, cuts, (all, where) => {
      expect(streamed(all, where).join("")).toBe(new TextDecoder("utf-8", { ignoreBOM: true }).decode(all));
    }),
  );
});

test("an unfinished character at the end is U+FFFD, and the stream starts anew", () => {
  const stream = new Utf8Stream();
  expect(stream.push(Uint8Array.of(0x61, 0xf0, 0x9f))).toBe("a");
  expect(stream.flush()).toBe("\ufffd");
  expect(stream.push(Uint8Array.of(0x62))).toBe("b");
});
