import { describe, expect, test } from "vitest";
import { Rng } from "../../src/base/rng.ts";
import { readCheckpoint } from "../../src/checkpoints/checkpoint.ts";
import { modelSpec } from "../../src/models/index.ts";
import { rowBytes } from "../../src/quant/blocks.ts";
import { formatNamed } from "../../src/quant/formats.ts";
import { outcomeOf } from "../files/outcome.ts";
import type { TensorData } from "../files/safetensors-fixtures.ts";
import { CASES, type FamilyCase, filesOf, folderFor, tensorsOf } from "./family-cases.ts";
import { json, memoryFolder } from "./random-checkpoint.ts";
import { randomOpt } from "./random-opt.ts";

type Files = Readonly<Record<string, Uint8Array>>;

/** Heads of 32 dimensions, as the factors of LongRoPE need. */
const SMALL = { layers: 1, hiddenSize: 64, intermediateSize: 64, heads: 2, kvHeads: 2, vocabularySize: 300 };
const FLIPS = 150;

const FOLDERS: readonly (readonly [string, Files])[] = [
  ...CASES.map((choice) => {
    // One head for all queries, as that type says without saying so.
    const shape = choice.type === "RefinedWebModel" ? { ...SMALL, kvHeads: 1 } : SMALL;
    const { config, tensors } = folderFor(choice, shape);
    const more = Object.keys(choice.config ?? {}).join(", ");
    const files: Files = filesOf(config, tensorsOf(tensors));
    return [`${choice.type}: ${choice.of} ${more}`, files] as const;
  }),
  ["opt: plain norms", randomOpt({ isPreNorm: true, hasNormWeights: false, hasBias: false }).files],
];

/** Everything that is read before a model runs, weights too; stated errors name the folder. */
async function outcome(files: Files): Promise<string> {
  const result = await outcomeOf(async () => {
    const file = await readCheckpoint(memoryFolder({ files }), () => {});
    modelSpec(file);
    for (const tensor of file.tensors.values()) {
      const [cols = 1, ...rows] = tensor.shape;
      const count = rows.reduce((product, extent) => product * extent, 1);
      await tensor.readRows(0, new Uint8Array(count * rowBytes(formatNamed(tensor.type), cols)));
    }
  });
  if (result === "accepted") return result;
  expect(result.message).toContain("folder");
  return result.code;
}

describe("tensors", () => {
  const made = (of: string, change: (tensors: Record<string, TensorData>) => void, more = {}) => {
    const choice = (CASES.find(({ type }) => type === of) ??
      CASES.find((one) => one.of === of)) as FamilyCase;
    const { config, tensors } = folderFor(choice, SMALL);
    const all = tensorsOf(tensors);
    change(all);
    return filesOf({ ...config, ...more }, all);
  };
  const vector = (length: number): TensorData => ({
    dtype: "F32",
    shape: [length],
    data: new Uint8Array(4 * length),
  });
  const norm = (head: number) => `model.layers.0.self_attn.q_layernorm.norms.${head}.weight`;

  test.each<[string, (tensors: Record<string, TensorData>) => void]>([
    ["a head's norm is missing", (tensors) => delete tensors[norm(0)]],
    ["a head's norm has another length", (tensors) => (tensors[norm(1)] = vector(31))],
    ["there are more norms than heads", (tensors) => (tensors[norm(2)] = vector(32))],
    ["a norm has a number of millions", (tensors) => (tensors[norm(4_000_000)] = vector(32))],
  ])("%s", async (_, change) => {
    const result = await outcome(made("stablelm, parallel, norms of heads", change));
    expect(["FILE_FORMAT", "UNSUPPORTED"]).toContain(result);
  });

  test("masks and tables that old files have are left out", async () => {
    const masks =
      (...names: readonly string[]) =>
      (tensors: Record<string, TensorData>) => {
        for (const name of names)
          tensors[name] = { dtype: "U8", shape: [1, 1, 4, 4], data: new Uint8Array(16) };
      };
    const old = ["transformer.h.0.attn.bias", "transformer.h.0.attn.masked_bias"];
    expect(await outcome(made("gpt2", masks(...old)))).toBe("accepted");
    expect(await outcome(made("gpt2", masks("h.0.attn.bias")))).toBe("accepted");
    const neox = ["bias", "masked_bias", "rotary_emb.inv_freq"].map(
      (name) => `gpt_neox.layers.0.attention.${name}`,
    );
    expect(await outcome(made("gptneox", masks(...neox)))).toBe("accepted");
    expect(await outcome(made("gptneox", masks("gpt_neox.layers.0.attention.other")))).toBe("UNSUPPORTED");
  });

  test("of images are left out, and that is said", async () => {
    const change = (tensors: Record<string, TensorData>) => {
      tensors["vision_tower.vision_model.embeddings.patch_embedding.weight"] = vector(4);
      tensors["multi_modal_projector.mm_input_projection_weight"] = vector(4);
    };
    const files = made("gemma3", change);
    const said: string[] = [];
    modelSpec(await readCheckpoint(memoryFolder({ files }), (line) => said.push(line)));
    expect(said).toEqual(["folder: the model has parts for other than text, which are left out"]);
  });

  test.each<[string, object, string]>([
    ["falcon", { alibi: true }, "alibi true is not supported"],
    [
      "falcon",
      { parallel_attn: false, new_decoder_architecture: false },
      "parallel_attn false is not supported",
    ],
    [
      "gpt2",
      { scale_attn_by_inverse_layer_idx: true },
      "scale_attn_by_inverse_layer_idx true is not supported",
    ],
    ["starcoder2", { norm_type: "rms" }, 'norm_type "rms" is not supported'],
    ["starcoder2", { hidden_act: "quick_gelu" }, 'hidden_act "quick_gelu" is not supported; known: silu'],
    ["smollm3", { no_rope_layers: [0, 1, 1, 1] }, "no_rope_layers other than every fourth layer"],
    ["gemma2", { attn_logit_softcapping: null }, "without attn_logit_softcapping"],
    [
      "qwen3",
      { layer_types: ["linear_attention"] },
      "layer_types: says of layer 0 neither sliding_attention nor",
    ],
    ["phi3", { rope_scaling: { type: "longrope" } }, "original_max_position_embeddings: is missing"],
    ["llama", { rope_scaling: { type: "yarn", factor: 2, mscale: 1 } }, 'mscale of rope scaling "yarn"'],
  ])("%s with %o is not supported", async (type, more, message) => {
    const files = made(type, () => {}, more);
    const reading = readCheckpoint(memoryFolder({ files }), () => {});
    await expect(reading).rejects.toThrow(message);
  });
});

const WRONG: readonly unknown[] = [
  undefined,
  null,
  -1,
  0,
  1,
  3,
  1.5,
  2 ** 24,
  2 ** 40,
  1e308,
  1e-308,
  true,
  false,
  "",
  "x",
  "__proto__",
  [],
  [1, "x", null],
  {},
  { rope_type: "yarn", factor: -1 },
  { rope_type: "longrope" },
  { rope_type: "linear", factor: 1e308, original_max_position_embeddings: 0 },
];

describe.each(FOLDERS)("%s", (_, files) => {
  const config = JSON.parse(new TextDecoder().decode(files["config.json"])) as Record<string, unknown>;

  test("is a model", async () => {
    expect(await outcome(files)).toBe("accepted");
  });

  test("with any setting wrong is a model or a stated error", async () => {
    const seen = new Set<string>();
    const extra = [
      "rope_scaling",
      "rope_parameters",
      "layer_types",
      "sliding_window",
      "head_dim",
      "hidden_act",
    ];
    for (const key of new Set([...Object.keys(config), ...extra])) {
      for (const value of WRONG) {
        const wrong = { ...config, [key]: value };
        seen.add(await outcome({ ...files, "config.json": json(wrong) }));
      }
    }
    expect(seen).toContain("FILE_FORMAT");
  });

  test("with random changes is a model or a stated error", async () => {
    const rng = new Rng(8);
    for (let i = 0; i < FLIPS; i++) {
      const bytes = (files["config.json"] as Uint8Array).slice();
      const characters = '0123456789-.eE"{}[],: truefalsn';
      for (let n = 1 + rng.integer(3); n > 0; n--) {
        bytes[rng.integer(bytes.length)] = characters.charCodeAt(rng.integer(characters.length));
      }
      await outcome({ ...files, "config.json": bytes });
    }
  });
});
