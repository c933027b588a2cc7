import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import {
  AbortedError,
  FileAccessError,
  FileFormatError,
  type LoadModelOptions,
  loadModel,
  MachineError,
  QigenError,
  UnsupportedError,
  UsageError,
} from "../../src/api/index.ts";
import { saveGguf, temporaryFolder, tinyLlama } from "../cli/harness.ts";

const folder = temporaryFolder();
const model = join(folder, "tiny.gguf");
const elsewhere = join(folder, "perceptron.gguf");
const page = join(folder, "page.gguf");

beforeAll(async () => {
  await saveGguf(model, tinyLlama());
  await saveGguf(elsewhere, tinyLlama({ "general.architecture": { type: "string", value: "perceptron" } }));
  writeFileSync(page, "<!DOCTYPE html><title>Log in</title>");
});

afterEach(() => vi.unstubAllEnvs());

/** Options as a caller in plain JavaScript may pass them. */
function load(options: Readonly<Record<string, unknown>>) {
  return loadModel(model, options as LoadModelOptions);
}

async function failure(promise: Promise<unknown>): Promise<QigenError> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof QigenError) return error;
  throw new Error(`no stated error: ${error}`, { cause: error });
}

describe("an option that cannot be is a UsageError with its name and what it may be", () => {
  const isas = "avx512-vnni, avx2, wasm-simd128";
  const formats = /^quantize must be one of F32, F16, BF16, Q4_0, .*Q5_1, .*, 4bit-g128, .*, not /;
  test.each([
    ["backend", "cuda", 'backend must be one of native, wasm, interpreter, not "cuda"'],
    ["backend", null, "backend must be one of native, wasm, interpreter, not object"],
    ["backend", "toString", 'not "toString"'],
    ["isa", "mmx", `isa must be one of ${isas}, not "mmx"`],
    ["isa", 2, `isa must be one of ${isas}, not 2`],
    ["activations", "int4", 'activations must be one of int8, f32, not "int4"'],
    ["kv", "f64", 'kv must be one of f32, f16, q8_0, not "f64"'],
    ["placement", "cloud", 'placement must be one of auto, arena, mapped, not "cloud"'],
    ["quantize", "5bit-g7", formats],
    ["quantize", 4, formats],
    ["quantize", "\u001b[31m", /not "\\u001b\[31m"$/],
    ["threads", 0, "threads must be a whole number from 1 to 1024, not 0"],
    ["threads", 1.5, "not 1.5"],
    ["threads", Number.NaN, "not NaN"],
    ["threads", "2", 'threads must be a whole number from 1 to 1024, not "2"'],
    ["threads", 2 ** 31, "not 2147483648"],
    ["contextLength", 0, "contextLength must be a whole number from 1 to 16777216, not 0"],
    ["contextLength", -1, "not -1"],
    ["contextLength", Number.POSITIVE_INFINITY, "not Infinity"],
    ["contextLength", 2 ** 24 + 1, "not 16777217"],
    ["contextLength", null, "not object"],
  ])("%s: %o", async (name, value, message) => {
    for (const backend of ["wasm", undefined]) {
      const error = await failure(load({ backend, [name]: value }));
      expect(error).toBeInstanceOf(UsageError);
      expect(error.code).toBe("USAGE");
      expect(error.message).toMatch(message);
      expect(error.message.startsWith(name)).toBe(true);
    }
  });

  test.each([
    [{ backend: "wasm", isa: "avx2" }, "the wasm backend does not run avx2"],
    [{ backend: "native", isa: "wasm-simd128" }, "the native backend does not run wasm-simd128"],
    [{ backend: "wasm", placement: "mapped" }, 'use placement "arena"'],
  ])("together: %o", async (options, message) => {
    const error = await failure(load(options));
    expect(error).toBeInstanceOf(UsageError);
    expect(error.message).toContain(message);
  });
});

describe("options that are in range", () => {
  test("undefined is the default, and format names may be written in any case", async () => {
    const options = {
      backend: "wasm",
      threads: undefined,
      contextLength: undefined,
      kv: undefined,
      quantize: "q4_0",
    };
    await using loaded = await load({ ...options, isa: undefined, activations: undefined });
    expect(loaded).toMatchObject({ backend: "wasm", isa: "wasm-simd128", threads: 1, contextLength: 96 });
    expect(loaded.config).toMatchObject({ architecture: "llama", vocabularySize: 300, layers: 1 });
    expect(loaded.memory.weights).toBeGreaterThan(0);
  });

  test("a context longer than trained, or shorter", async () => {
    for (const contextLength of [1, 500]) {
      await using loaded = await load({ backend: "wasm", contextLength });
      expect(loaded.contextLength).toBe(contextLength);
    }
  });

  test("without a compiler wasm takes the place of native, with a notice that says why", async () => {
    for (const name of ["QIGEN_CC", "CC", "PATH", "Path"]) vi.stubEnv(name, "");
    const notices: string[] = [];
    await using loaded = await load({ onNotice: (line: string) => notices.push(line) });
    expect(loaded.backend).toBe("wasm");
    expect(notices[0]).toMatch(/^wasm, not native: no /);
    const asked = await failure(load({ backend: "native" }));
    expect(asked).toBeInstanceOf(MachineError);
    expect(asked.message).toContain("the wasm backend can");
  });
});

describe("every failure has a class and a code", () => {
  test.each([
    ["FILE_ACCESS", FileAccessError, join(folder, "absent.gguf"), "no such file"],
    ["FILE_ACCESS", FileAccessError, folder, "is a folder, not a file"],
    ["FILE_FORMAT", FileFormatError, page, "this is not a GGUF file: it looks like a web page"],
    ["UNSUPPORTED", UnsupportedError, elsewhere, 'architecture "perceptron" is not supported; known: llama'],
  ])("%s: %o %s", async (code, type, path, message) => {
    const error = await failure(loadModel(path));
    expect(error).toBeInstanceOf(type);
    expect(error).toMatchObject({ code, name: type.name });
    expect(error.message).toContain(message);
    expect(error.message).toContain(path);
  });

  test("MACHINE: a compiler that was named and does not work", async () => {
    vi.stubEnv("QIGEN_CC", "/nowhere/cc");
    const error = await failure(load({ backend: "native" }));
    expect(error).toMatchObject({ code: "MACHINE", message: "$QIGEN_CC: /nowhere/cc: not found" });
  });

  test("ABORTED: before, and while weights are read", async () => {
    const before = await failure(load({ backend: "wasm", signal: AbortSignal.abort() }));
    expect(before).toBeInstanceOf(AbortedError);
    expect(before.code).toBe("ABORTED");
    const controller = new AbortController();
    const during = load({ backend: "wasm", signal: controller.signal, onProgress: () => controller.abort() });
    expect(await failure(during)).toBeInstanceOf(AbortedError);
  });

  test("a perplexity of what is no text", async () => {
    await using loaded = await load({ backend: "wasm" });
    const error = await failure(loaded.perplexity(7 as unknown as string));
    expect(error).toBeInstanceOf(UsageError);
    expect(error.message).toBe("a text is wanted, not number");
  });

  test("a path that is no string", async () => {
    for (const path of [undefined, 7, ""]) {
      expect(await failure(loadModel(path as string))).toBeInstanceOf(FileAccessError);
    }
  });
});
