import { describe, expect, test } from "vitest";
import { RepositoryError, UsageError } from "../../src/base/errors.ts";
import { chooseFiles } from "../../src/hub/choice.ts";
import { parseReference } from "../../src/hub/reference.ts";

const choose = (names: readonly string[], reference = "hf:o/n", text = "") =>
  chooseFiles(names, parseReference(reference), async () => text);
const ggufs = (...types: readonly string[]) => types.map((type) => `Tiny-1B-${type}.gguf`);

describe("GGUF", () => {
  test.each([
    [ggufs("Q2_K", "Q4_0", "Q4_K_M", "Q8_0"), "Tiny-1B-Q4_K_M.gguf"],
    [ggufs("Q2_K", "Q4_0", "Q4_K_S", "Q8_0"), "Tiny-1B-Q4_0.gguf"],
    [ggufs("f16", "q8_0"), "Tiny-1B-q8_0.gguf"],
    [["odd.gguf"], "odd.gguf"],
    [["mmproj-F16.gguf", "imatrix.gguf", "odd.gguf"], "odd.gguf"],
    [["config.json", "model.safetensors", "odd.gguf"], "odd.gguf"],
    [["x.Q4_K_M.gguf", "x.Q4_K_L.gguf"], "x.Q4_K_M.gguf"],
    [["Q4_K_M/x.gguf", "Q8_0/x.gguf"], "Q4_K_M/x.gguf"],
    [["x-Q4_K_M-00001-of-00002.gguf", "x-Q8_0.gguf"], "x-Q8_0.gguf"],
  ])("of %j", async (names, expected) => {
    expect(await choose(names)).toEqual({ file: expected, files: [expected] });
  });

  test("a type is a word of the name, in any case", async () => {
    const names = [...ggufs("Q4_K_M", "Q4_K", "IQ4_XS", "UD-Q4_K_XL"), "tiny_q5_k_s.gguf"];
    const file = async (type: string) => (await choose(names, `hf:o/n:${type}`)).file;
    expect(await file("q4_k")).toBe("Tiny-1B-Q4_K.gguf");
    expect(await file("UD-Q4_K_XL")).toBe("Tiny-1B-UD-Q4_K_XL.gguf");
    expect(await file("Q4_K_XL")).toBe("Tiny-1B-UD-Q4_K_XL.gguf");
    expect(await file("Q5_K_S")).toBe("tiny_q5_k_s.gguf");
    await expect(file("Q4_XS")).rejects.toThrow(RepositoryError);
    await expect(file("Q5_K")).rejects.toThrow(RepositoryError);
  });

  test("all parts of a split file, by type, by default, by the name of any part", async () => {
    const parts = [1, 2, 3].map((i) => `d/x-Q4_K_M-0000${i}-of-00003.gguf`);
    const names = [...parts].reverse();
    for (const reference of ["hf:o/n", "hf:o/n:q4_k_m", "hf:o/n/d/x-Q4_K_M-00002-of-00003.gguf"]) {
      expect(await choose(names, reference)).toEqual({ file: parts[0], files: parts });
    }
    await expect(choose(parts.slice(0, 2), `hf:o/n/${parts[0]}`)).rejects.toThrow(
      /has no d\/x.*-00003-of-00003\.gguf/,
    );
    await expect(choose(parts.slice(0, 2))).rejects.toThrow(/neither GGUF files nor/);
  });

  test("where several fit the choices are listed", async () => {
    const names = ["a-Q4_K_M.gguf", "b-Q4_K_M.gguf", "b-Q8_0.gguf"];
    const list = "choose one:\n  hf:o/n/a-Q4_K_M.gguf@v1\n  hf:o/n/b-Q4_K_M.gguf@v1";
    await expect(choose(names, "hf:o/n@v1")).rejects.toThrow(`o/n: several files fit; ${list}`);
    await expect(choose(names, "hf:o/n:Q4_K_M@v1")).rejects.toThrow(UsageError);
    await expect(choose(["a.gguf", "b.gguf"])).rejects.toThrow(
      /no file is of a usual type; choose one:\n {2}hf:o\/n\/a\.gguf\n/,
    );
    await expect(choose(names, "hf:o/n:Q6_K")).rejects.toThrow(
      /has no GGUF file of type Q6_K; it has:\n {2}hf:/,
    );
    const many = Array.from({ length: 100 }, (_, i) => `${i}\u001b.gguf`);
    const failure = choose(many);
    await expect(failure).rejects.toThrow(/ {2}… and 60 more$/);
    await expect(failure).rejects.toMatchObject({ message: expect.not.stringContaining("\u001b") });
  });

  test("a file that is no model by its name, where it is named", async () => {
    const names = ["mmproj-F16.gguf", "x.gguf"];
    expect(await choose(names, "hf:o/n/mmproj-F16.gguf")).toMatchObject({ file: "mmproj-F16.gguf" });
  });
});

describe("safetensors", () => {
  const BESIDE = ["config.json", "tokenizer.json"];
  const index = (...shards: readonly string[]) =>
    JSON.stringify({ weight_map: Object.fromEntries(shards.map((shard, i) => [`w${i}`, shard])) });

  test("one file, or what the index names", async () => {
    const single = [...BESIDE, "model.safetensors"];
    expect(await choose([...single, "adapter.safetensors"])).toEqual({ file: undefined, files: single });
    expect((await choose([...BESIDE, "gptq.safetensors"])).files).toContain("gptq.safetensors");
    const names = [...BESIDE, "gptq.safetensors.index.json", "a.safetensors", "b.safetensors"];
    expect((await choose(names, "hf:o/n", index("b.safetensors", "b.safetensors"))).files).toEqual([
      ...BESIDE,
      "gptq.safetensors.index.json",
      "b.safetensors",
    ]);
  });

  test("an index that names what is not there, or is none", async () => {
    const names = [...BESIDE, "model.safetensors.index.json", "a.safetensors"];
    await expect(choose(names, "hf:o/n", index("../x"))).rejects.toThrow(/has no "\.\.\/x", which model/);
    for (const text of ["", "[]", "{}", '{"weight_map":{"a":7}}']) {
      await expect(choose(names, "hf:o/n", text)).rejects.toThrow(
        /model\.safetensors\.index\.json is no index/,
      );
    }
    await expect(choose(names, "hf:o/n:Q4_0")).rejects.toThrow(/has no GGUF file of type Q4_0$/);
  });
});
