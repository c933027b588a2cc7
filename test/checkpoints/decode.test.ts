import { describe, expect, it } from "vitest";
import { at } from "../../src/base/assert.ts";
import { QigenError, UnsupportedError } from "../../src/base/errors.ts";
import { readCheckpoint } from "../../src/checkpoints/checkpoint.ts";
import { unpackStream } from "../../src/checkpoints/quantized/bit-fields.ts";
import { groupingOf } from "../../src/checkpoints/quantized/grouping.ts";
import type { ModelFile } from "../../src/files/model-file.ts";
import { rowBytes } from "../../src/quant/blocks.ts";
import { formatNamed } from "../../src/quant/formats.ts";
import { dequantizeRows } from "../../src/quant/reference.ts";
import {
  type Choice,
  packAwq,
  packAwqGemv,
  packCompressed,
  packGptq,
  type Quantized,
  randomQuantized,
  threeBitCodes,
} from "./packers.ts";
import { type Checkpoint, codes, memoryFolder, type Pack, randomCheckpoint } from "./random-checkpoint.ts";

interface Read {
  readonly file: ModelFile;
  readonly warnings: readonly string[];
}

async function read(checkpoint: Pick<Checkpoint, "files">): Promise<Read> {
  const warnings: string[] = [];
  const file = await readCheckpoint(memoryFolder(checkpoint), (line) => warnings.push(line));
  return { file, warnings };
}

const PARTS = [
  ["attn_q", "self_attn.q_proj"],
  ["attn_output", "self_attn.o_proj"],
  ["ffn_up", "mlp.up_proj"],
  ["ffn_down", "mlp.down_proj"],
] as const;

/** Reads matrices of the first layer, in two parts; they must be the weights, exactly. Returns their formats. */
async function expectWeights({ weights }: Checkpoint, { file }: Read): Promise<string[]> {
  const types: string[] = [];
  for (const [part, module] of PARTS) {
    const tensor = file.tensors.get(`blk.0.${part}.weight`)!;
    const [cols = 0, rows = 0] = tensor.shape;
    const format = formatNamed(tensor.type);
    const stride = rowBytes(format, cols);
    const bytes = new Uint8Array(rows * stride);
    await tensor.readRows(5, bytes.subarray(5 * stride));
    await tensor.readRows(0, bytes.subarray(0, 5 * stride));
    const found = dequantizeRows(format, bytes, rows, cols);
    const order = tensor.order ?? Uint32Array.from({ length: cols }, (_, i) => i);
    const expected = weights.matrices
      .get(`model.layers.0.${module}`)!
      .map((row) => Array.from(order, (input) => Math.fround(at(row, input))));
    expect(Array.from(found)).toEqual(expected.flat());
    types.push(tensor.type);
  }
  return types;
}

const quantization = (more: object) => ({ quantization_config: more });

function gptqCheckpoint(choice: Choice, config: object, options: Parameters<typeof packGptq>[2]): Checkpoint {
  const pack: Pack = codes(
    (outputs, inputs, rng) => randomQuantized(outputs, inputs, choice, rng),
    (module, quantized) => packGptq(module, quantized, options),
  );
  const { bits, group, symmetric } = choice;
  return randomCheckpoint(pack, {
    layers: 1,
    config: quantization({ quant_method: "gptq", bits, group_size: group, sym: symmetric, ...config }),
  });
}

const BITS = [2, 3, 4, 8];
const GROUPS = [-1, 16, 32, 64, 128];

describe("gptq", () => {
  const cases = BITS.flatMap((bits) =>
    GROUPS.flatMap((group) =>
      [true, false].map((symmetric) => ({ bits, group, symmetric, format: "gptq" }) as const),
    ),
  );
  it.each(cases)("$bits bits, groups of $group, symmetric: $symmetric", async (choice) => {
    for (const [ordered, format] of [
      [false, "gptq"],
      [true, "gptq_v2"],
    ] as const) {
      const checkpoint = gptqCheckpoint({ ...choice, ordered }, { checkpoint_format: format }, { format });
      const found = await read(checkpoint);
      const types = await expectWeights(checkpoint, found);
      expect(found.warnings).toEqual([]);
      expect(types.every((type) => type.startsWith(`${choice.bits}bit-`))).toBe(true);
      expect(types.every((type) => type.endsWith("-sym"))).toBe(choice.symmetric);
      const { order } = found.file.tensors.get("blk.0.attn_q.weight")!;
      expect(order !== undefined).toBe(ordered && choice.group !== -1 && choice.group < 128);
    }
  });

  it("without g_idx, with scales of other types, with a format for a group that is no family's", async () => {
    for (const scales of ["BF16", "F32"] as const) {
      const checkpoint = gptqCheckpoint(
        { bits: 4, group: 96, symmetric: false },
        {},
        { format: "gptq", gIdx: false },
      );
      expect(await expectWeights(checkpoint, await read(checkpoint))).toEqual([
        "4bit-g32",
        "4bit-g32",
        "4bit-g32",
        "4bit-g32",
      ]);
      const typed = gptqCheckpoint({ bits: 4, group: 64, symmetric: true }, {}, { format: "gptq", scales });
      const found = await read(typed);
      if (scales === "F32") await expectWeights(typed, found);
      expect(found.warnings).toEqual([]);
    }
  });

  it("says so where scales are rounded", async () => {
    const pack: Pack = codes(
      (outputs, inputs, rng) => {
        const made = randomQuantized(outputs, inputs, { bits: 4, group: 32, symmetric: true }, rng);
        return { ...made, scales: made.scales.map((row) => row.map((scale) => scale * 1.00001)) };
      },
      (module, quantized) => packGptq(module, quantized, { format: "gptq", scales: "F32" }),
    );
    const config = quantization({ bits: 4, group_size: 32, sym: true });
    const { file, warnings } = await read(randomCheckpoint(pack, { layers: 1, config }));
    for (const tensor of file.tensors.values()) {
      if (tensor.type.startsWith("4bit"))
        await tensor.readRows(0, new Uint8Array(rowBytes(formatNamed(tensor.type), tensor.shape[0]!)));
    }
    expect(warnings).toEqual(["folder: scales of type F32 are rounded to F16"]);
  });

  it.each([
    ["gptq", "gptq_v2"],
    ["gptq_v2", "gptq"],
  ] as const)("%s that is called %s is found out where it is symmetric", async (format, called) => {
    for (const bits of BITS) {
      const checkpoint = gptqCheckpoint(
        { bits, group: 32, symmetric: true },
        { checkpoint_format: called },
        { format },
      );
      const found = await read(checkpoint);
      expect(await expectWeights(checkpoint, found)).toContain(`${bits}bit-g32-sym`);
      expect(found.warnings).toEqual([
        `folder: zero points are those of ${format}, though the checkpoint says ${called}: read as ${format}`,
      ]);
    }
  });

  it("with its own bits and groups for some modules, and floats for others (dynamic)", async () => {
    let n = 0;
    const choices: Choice[] = [
      { bits: 4, group: 64, symmetric: false },
      { bits: 8, group: 32, symmetric: true },
      { bits: 3, group: 32, symmetric: false, ordered: true },
      { bits: 2, group: -1, symmetric: true },
    ];
    const pack: Pack = codes(
      (outputs, inputs, rng) => randomQuantized(outputs, inputs, at(choices, n++ % choices.length), rng),
      (module, quantized) => packGptq(module, quantized, { format: "gptq" }),
    );
    const dynamic = { "-:.*lm_head": {}, "+:.*k_proj": { bits: 8, group_size: 32, sym: true } };
    const config = quantization({ bits: 4, group_size: 64, sym: false, checkpoint_format: "gptq", dynamic });
    const checkpoint = randomCheckpoint(pack, { layers: 1, config });
    const found = await read(checkpoint);
    const types = await expectWeights(checkpoint, found);
    expect(new Set(types).size).toBeGreaterThan(2);
    expect(found.file.tensors.get("output.weight")?.type).toBe("F16");
  });

  it("packs 3 bits as its authors do, across words", () => {
    const words = Uint32Array.of(0x88c6fa21, 0x7d4159e3, 0xb3a90f17);
    const found = new Uint8Array(32);
    unpackStream(words, 0, 3, found, 32);
    expect([...found]).toEqual(threeBitCodes([words[0]!, words[1]!, words[2]!]));
  });

  it("reads quantize_config.json where config.json says nothing", async () => {
    const checkpoint = gptqCheckpoint({ bits: 4, group: 32, symmetric: false }, {}, { format: "gptq" });
    const config = JSON.parse(new TextDecoder().decode(checkpoint.files["config.json"]));
    const { quantization_config: own, ...rest } = config;
    const bytes = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
    delete own.quant_method;
    const files = {
      ...checkpoint.files,
      "config.json": bytes(rest),
      "quantize_config.json": bytes({ ...own, desc_act: false, damp_percent: 0.01 }),
    };
    await expectWeights(checkpoint, await read({ files }));
  });
});

describe("awq", () => {
  const cases = GROUPS.flatMap((group) => [["gemm", group] as const, ["gemv", group] as const]);
  it.each(cases)("%s, groups of %s", async (version, group) => {
    const pack: Pack = codes(
      (outputs, inputs, rng) => randomQuantized(outputs, inputs, { bits: 4, group, symmetric: false }, rng),
      version === "gemm" ? packAwq : packAwqGemv,
    );
    const config = quantization({
      quant_method: "awq",
      bits: 4,
      group_size: group,
      zero_point: true,
      version,
    });
    const checkpoint = randomCheckpoint(pack, { layers: 1, config });
    const types = await expectWeights(checkpoint, await read(checkpoint));
    expect(types.every((type) => type.startsWith("4bit-") && !type.endsWith("-sym"))).toBe(true);
  });
});

describe("compressed-tensors", () => {
  const cases = BITS.flatMap((bits) => [true, false].map((symmetric) => ({ bits, symmetric })));
  it.each(cases)("$bits bits, symmetric: $symmetric", async ({ bits, symmetric }) => {
    for (const [group, gIdx, plainZeros] of [
      [32, false, false],
      [64, true, false],
      [-1, false, true],
    ] as const) {
      const choice = { bits, group, symmetric, ordered: gIdx };
      const pack: Pack = codes(
        (outputs, inputs, rng) => randomQuantized(outputs, inputs, choice, rng),
        (module, quantized) =>
          packCompressed(module, quantized, { symmetric, scales: "F16", gIdx, plainZeros }),
      );
      const weights = { num_bits: bits, group_size: group, symmetric, type: "int" };
      const config = quantization({
        quant_method: "compressed-tensors",
        format: "pack-quantized",
        config_groups: { group_0: { weights, targets: ["Linear"] } },
        ignore: ["lm_head"],
      });
      const checkpoint = randomCheckpoint(pack, { layers: 1, config });
      const types = await expectWeights(checkpoint, await read(checkpoint));
      expect(types.every((type) => type.endsWith("-sym"))).toBe(symmetric);
    }
  });
});

describe("what is refused", () => {
  const good = (more: object) =>
    gptqCheckpoint({ bits: 4, group: 32, symmetric: false }, more, { format: "gptq" });

  it.each([
    [
      { quant_method: "bitsandbytes" },
      'quantization method "bitsandbytes" is not supported; known: gptq, awq',
    ],
    [{ checkpoint_format: "marlin" }, 'gptq in the format "marlin" is not supported; known: gptq, gptq_v2'],
    [
      { quant_method: "awq", version: "exllama" },
      'awq in the format "exllama" is not supported; known: gemm, gemv',
    ],
  ])("%o", async (config, message) => {
    const error = await read(good(config)).catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(UnsupportedError);
    expect(String(error)).toContain(message);
  });

  it("groups of 8", async () => {
    const checkpoint = gptqCheckpoint({ bits: 4, group: 8, symmetric: false }, {}, { format: "gptq" });
    await expect(read(checkpoint)).rejects.toThrow("has groups that are neither of 16 nor multiples of 32");
  });

  const damage: readonly (readonly [string, (quantized: Quantized) => Record<string, unknown>, string])[] = [
    ["no zero points", () => ({ qzeros: undefined }), "comes without qzeros"],
    ["no scales", () => ({ scales: undefined }), "comes without scales"],
    [
      "a group that is not there",
      (q) => ({
        g_idx: i32(
          [q.inputs],
          q.groups.map((g, i) => (i === 3 ? 99 : g)),
        ),
      }),
      "input 3 is in group 99, but there are 4 groups",
    ],
    [
      "a negative group",
      (q) => ({
        g_idx: i32(
          [q.inputs],
          q.groups.map((g, i) => (i === 3 ? -2 : g)),
        ),
      }),
      "input 3 is in group -2",
    ],
    [
      "too few groups",
      (q) => ({ g_idx: i32([q.inputs - 1], q.groups.slice(1)) }),
      "has shape [127], not [128]",
    ],
    [
      "words of bytes",
      () => ({ qweight: { dtype: "I8", shape: [4, 4], data: new Uint8Array(16) } }),
      "has elements of type I8, not I32 or U32",
    ],
    [
      "a vector of words",
      () => ({ qweight: i32([16], Array(16).fill(1)) }),
      "has shape [16], not that of a matrix",
    ],
    [
      "zero points of another width",
      () => ({ qzeros: i32([4, 5], Array(20).fill(0)) }),
      "has shape [4,5], for 128 outputs; codes have 2, 3, 4, 8 bits",
    ],
    [
      "scales for other outputs",
      () => ({ scales: { dtype: "F16", shape: [4, 3], data: new Uint8Array(24) } }),
      "has shape [4,3], not [4,128]",
    ],
  ];
  it.each(damage)("%s", async (_, change, message) => {
    const target = "model.layers.0.self_attn.o_proj";
    const pack: Pack = codes(
      (outputs, inputs, rng) =>
        randomQuantized(outputs, inputs, { bits: 4, group: 32, symmetric: false }, rng),
      (module, quantized) => {
        const tensors = packGptq(module, quantized, { format: "gptq" });
        if (module !== target) return tensors;
        const changes = Object.entries(change(quantized));
        const all = {
          ...tensors,
          ...Object.fromEntries(changes.map(([name, value]) => [`${module}.${name}`, value])),
        };
        return Object.fromEntries(
          Object.entries(all).filter(([, value]) => value !== undefined),
        ) as typeof tensors;
      },
    );
    const config = quantization({ bits: 4, group_size: 32, sym: false });
    const error = await read(randomCheckpoint(pack, { layers: 1, config })).catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(QigenError);
    expect(String(error)).toContain(`folder/model.safetensors: tensor "${target}.`);
    expect(String(error)).toContain(message);
  });
});

function i32(shape: readonly number[], values: readonly number[]) {
  return { dtype: "I32", shape, data: new Uint8Array(Int32Array.from(values).buffer) };
}

describe("grouping", () => {
  it("sorts inputs by group, those of one group in their order", () => {
    const groups = Uint32Array.from({ length: 64 }, (_, i) => (i * 7) % 2);
    const { group, order, from } = groupingOf(groups)!;
    expect(group).toBe(32);
    expect([...order!]).toEqual([...groups.keys()].sort((a, b) => groups[a]! - groups[b]! || a - b));
    expect([...from]).toEqual([0, 1]);
  });

  it("splits large groups into the family's, and takes the row where there is one group", () => {
    const even = (cols: number, size: number) =>
      Uint32Array.from({ length: cols }, (_, i) => Math.floor(i / size));
    expect(groupingOf(even(2048, 1024))).toMatchObject({ group: 128, order: undefined });
    expect(groupingOf(even(512, 96))).toMatchObject({ group: 32 });
    expect(groupingOf(even(64, 64))).toMatchObject({ group: "row" });
    expect(groupingOf(even(64, 16))).toMatchObject({ group: 16 });
    expect(groupingOf(even(96, 48))).toMatchObject({ group: 16 });
    expect(groupingOf(even(48, 16))).toBeUndefined();
    expect(groupingOf(even(64, 8))).toBeUndefined();
    expect(groupingOf(Uint32Array.of(0, 1, 1))).toBeUndefined();
  });
});
