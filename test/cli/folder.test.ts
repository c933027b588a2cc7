import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { packGptq, randomQuantized } from "../checkpoints/packers.ts";
import { codes, json, randomCheckpoint, saveCheckpoint } from "../checkpoints/random-checkpoint.ts";
import { cli, temporaryFolder } from "./harness.ts";

const root = temporaryFolder();
let folder: string;

beforeAll(async () => {
  const choice = { bits: 4, group: 32, symmetric: true } as const;
  const { files } = randomCheckpoint(
    codes(
      (outputs, inputs, rng) => randomQuantized(outputs, inputs, choice, rng),
      (module, quantized) => packGptq(module, quantized, { format: "gptq_v2" }),
    ),
    { config: { quantization_config: { quant_method: "gptq", bits: 4, group_size: 32, sym: true } } },
  );
  folder = await saveCheckpoint(join(root, "a folder"), {
    files: {
      ...files,
      "generation_config.json": json({ temperature: 0, eos_token_id: 257 }),
      "tokenizer_config.json": json({ chat_template: "{{ messages[0].content }}" }),
    },
  });
});

describe("a Hugging Face folder with a space in its name", () => {
  test("runs, as its makers say, with a word about its zero points", async () => {
    const args = ["--backend", "wasm", "-n", "8", "-p", "ab"];
    const { code, stdout, stderr } = await cli(["run", folder, ...args]);
    expect({ code, stderr }).toMatchObject({ code: 0 });
    expect(stderr).toContain(`${folder}: zero points are those of gptq_v2, though the checkpoint says gptq`);
    // Temperature 0: the same text again, and from any file of the folder.
    for (const name of ["config.json", "model.safetensors"]) {
      const again = await cli(["run", join(folder, name), ...args]);
      expect(again.stdout).toBe(stdout);
    }
  });

  test("is inspected", async () => {
    const { code, stdout } = await cli(["inspect", folder, "--json", "--tensors"]);
    expect(code).toBe(0);
    const found = JSON.parse(stdout);
    expect(found.file).toMatchObject({ path: folder });
    expect(found.file.ggufVersion).toBeUndefined();
    expect(found).toMatchObject({ architecture: "llama", supported: true });
    expect(found.notices).toEqual([expect.stringContaining("read as gptq_v2")]);
    const types = found.tensors.types.map(({ type }: { type: string }) => type);
    expect(types.sort()).toEqual(["4bit-g32-sym", "F16", "F32"]);
    const text = (await cli(["inspect", folder])).stdout;
    expect(text).toContain("4bit-g32-sym");
    expect(text).toMatch(/note +.*read as gptq_v2/);
  });

  test("is explained, timed and talked to", async () => {
    const explained = await cli(["explain", folder]);
    expect(explained.code).toBe(0);
    expect(explained.stdout).toContain("4bit-g32-sym");
    const timed = await cli([
      "bench",
      folder,
      "--backend",
      "wasm",
      "--prompt-tokens",
      "4",
      "--gen-tokens",
      "4",
      "--repeat",
      "1",
    ]);
    expect(timed).toMatchObject({ code: 0 });
    const chat = await cli(["chat", folder, "--backend", "wasm", "-n", "4"], { stdin: "hello\n/exit\n" });
    expect(chat).toMatchObject({ code: 0 });
  });
});

test("a folder of something else says what is missing", async () => {
  const { code, stderr } = await cli(["run", root]);
  expect(code).not.toBe(0);
  expect(stderr).toContain(`${root}: is a folder, not a file, and has no config.json of a model`);
});
