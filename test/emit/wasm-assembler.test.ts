import { describe, expect, test } from "vitest";
import { InternalError } from "../../src/base/errors.ts";
import { assembleWasm } from "../../src/emit/wasm-assembler.ts";
import { WasmBytes } from "../../src/emit/wasm-bytes.ts";
import { OPCODES } from "../../src/emit/wasm-opcodes.ts";
import { expectGolden } from "../golden.ts";
import { engine } from "./wasm-module.ts";

/** A module with one function `f` of that body. */
const moduleOf = (body: string, head = "(result i32)") => `(module (func $f (export "f") ${head} ${body}))`;

function call(text: string, ...values: number[]): unknown {
  const { exports } = new engine.Instance(new engine.Module(assembleWasm(text)), {});
  return (exports.f as (...values: number[]) => unknown)(...values);
}

describe("assembleWasm", () => {
  test("writes the smallest function byte for byte", () => {
    expect([...assembleWasm(moduleOf("i32.const -1"))]).toEqual(
      [
        [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
        [1, 5, 1, 0x60, 0, 1, 0x7f], // types: () → i32
        [3, 2, 1, 0], // functions: of type 0
        [7, 5, 1, 1, 0x66, 0, 0], // exports: f is function 0
        [10, 6, 1, 4, 0, 0x41, 0x7f, 0x0b], // code: no locals, i32.const −1, end
      ].flat(),
    );
  });

  test.each([0, 1, 63, 64, -64, -65, 127, 128, 8191, 8192, 2 ** 31 - 1, -(2 ** 31)])(
    "i32.const %i",
    (value) => {
      expect(call(moduleOf(`i32.const ${value}`))).toBe(value);
    },
  );

  test("takes hexadecimal and unsigned constants, comments and any white space", () => {
    expect(call(moduleOf("i32.const 0xffffffff ;; −1 (really)\n\t i32.const 4294967294 i32.sub"))).toBe(1);
  });

  test.each([0, -0, 0.1, 1e-45, 3.4028234663852886e38, Number.POSITIVE_INFINITY])("f32.const %d", (value) => {
    const text = String(value).replace("Infinity", "inf");
    expect(call(moduleOf(`f32.const ${Object.is(value, -0) ? "-0" : text}`, "(result f32)"))).toBe(
      Math.fround(value),
    );
  });

  test("encodes unsigned integers up to 2^32 − 1", () => {
    const out = new WasmBytes();
    for (const value of [0, 127, 128, 300, 2 ** 32 - 1]) out.unsigned(value);
    expect([...out.written()]).toEqual([0, 0x7f, 0x80, 1, 0xac, 2, 0xff, 0xff, 0xff, 0xff, 0x0f]);
  });

  test("runs of locals of one type are one entry", () => {
    const locals = "(local $a i32) (local $b i32) (local $c v128) (local $d i32)";
    const bytes = assembleWasm(moduleOf(`${locals} local.get $d`));
    expect([...bytes.slice(-10)]).toEqual([3, 2, 0x7f, 1, 0x7b, 1, 0x7f, 0x20, 3, 0x0b]);
  });

  test("resolves labels by name, innermost first, and by depth", () => {
    const body = `
      block $out
        loop $again
          local.get $n  i32.eqz  br_if $out
          local.get $sum  local.get $n  i32.add  local.set $sum
          local.get $n  i32.const 1  i32.sub  local.set $n
          br $again
        end
      end
      block  local.get $sum  i32.const 100  i32.lt_s  br_if 0
        i32.const 100  local.set $sum
      end
      local.get $sum`;
    const text = moduleOf(body, "(param $n i32) (result i32) (local $sum i32)");
    expect([call(text, 4), call(text, 50)]).toEqual([10, 100]);
  });

  test("blocks give results and branches choose", () => {
    const text = moduleOf(
      "local.get $n if (result v128) v128.const i16x8 1 2 3 4 5 6 7 -8 else v128.const f32x4 1 2 3 4 end i32x4.extract_lane 3",
      "(param $n i32) (result i32)",
    );
    expect([call(text, 1), call(text, 0)]).toEqual([(-8 << 16) | 7, 0x40800000]);
  });

  test("calls through the table, with functions that come later", () => {
    const text = `(module
      (type $unary (func (param i32) (result i32)))
      (table (export "t") 2 2 funcref)
      (elem (i32.const 0) func $double $square)
      (func $f (export "f") (param $i i32) (param $n i32) (result i32)
        local.get $n  local.get $i  call_indirect (type $unary))
      (func $double (param $n i32) (result i32)  local.get $n  local.get $n  i32.add)
      (func $square (param $n i32) (result i32)  local.get $n  local.get $n  i32.mul))`;
    expect([call(text, 0, 7), call(text, 1, 7)]).toEqual([14, 49]);
  });

  test.each([
    ["(memory 2)", [1, 1, 97, 1, 98, 2, 0, 2]],
    ["(memory 2 300)", [1, 1, 97, 1, 98, 2, 1, 2, 0xac, 2]],
    ["(memory 2 300 shared)", [1, 1, 97, 1, 98, 2, 3, 2, 0xac, 2]],
  ])("imports %s", (memory, section) => {
    const bytes = assembleWasm(`(module (import "a" "b" ${memory}))`);
    expect([...bytes.slice(10)]).toEqual(section);
    expect(engine.validate(bytes)).toBe(true);
  });

  test.each([
    ["unknown instruction", moduleOf("i32.const 1 i32.frobnicate")],
    ["expected", moduleOf("(i32.const 1)")],
    ["unknown instruction", "(module (func $f "],
    ["unknown name", moduleOf("local.get $missing")],
    ["unknown label", moduleOf("block $a br $b end i32.const 1")],
    ["unknown shape", moduleOf("v128.const i64x2 1 2 drop i32.const 1")],
    ["unknown type", moduleOf("", "(param $a i128)")],
    ["unknown form", "(module (data))"],
    ["defined twice", moduleOf("(local $a i32) (local $a i32) i32.const 1")],
    ["defined twice", "(module (func $f) (func $f))"],
    ["number expected", moduleOf("i32.const local.get")],
    ["integer in", moduleOf("i32.const 4294967296")],
    ["integer in", moduleOf("i32.const 1.5")],
    ["integer in", moduleOf("v128.const i8x16 256")],
    ["out of range", moduleOf("i32.const 0 i32.load offset=-4")],
    ["string expected", '(module (import env "memory" (memory 1)))'],
    ["without an end", '(module (import "env'],
    ["expected", "(module (func $f))) "],
  ])("an error that says %s: %s", (problem, text) => {
    expect(() => assembleWasm(text)).toThrow(InternalError);
    expect(() => assembleWasm(text)).toThrow(problem);
  });

  test("errors name the line", () => {
    expect(() => assembleWasm("(module\n\n  (func $f\n    nop2))")).toThrow("line 4");
  });

  test("assembles at megabytes a second", () => {
    const body = "local.get $a  i32.const 77  i32.add  i32.load offset=1024  local.set $a\n".repeat(30_000);
    const text = `(module (import "env" "memory" (memory 1)) (func $f (param $a i32) ${body}))`;
    const start = performance.now();
    expect(engine.validate(assembleWasm(text))).toBe(true);
    const megabytes = text.length / 1e6;
    expect(megabytes / ((performance.now() - start) / 1000)).toBeGreaterThan(1);
  });
});

test("the opcode table is as it was compared with a reference assembler", () => {
  const rows = [...OPCODES].map(([name, { bytes, immediate, alignment }]) => {
    const hex = bytes.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    return `${name.padEnd(32)}${hex.padEnd(10)}${immediate === "none" ? "" : `${immediate} ${alignment}`}`.trimEnd();
  });
  expect(new Set([...OPCODES.values()].map(({ bytes }) => bytes.join())).size).toBe(rows.length);
  expectGolden("wasm-opcodes.txt", `${rows.join("\n")}\n`);
});
