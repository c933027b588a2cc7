import { UnsupportedError } from "../../base/errors.ts";
import { quoted } from "../../files/quoted.ts";
import type { JsonView } from "../../text/json-view.ts";
import { falcon } from "./falcon.ts";
import type { Family, WrittenFamily } from "./family.ts";
import { gemma, gemma2, gemma3, gemma3Text } from "./gemma.ts";
import { gptOss } from "./gpt-oss.ts";
import { gpt2 } from "./gpt2.ts";
import { gptneox } from "./gptneox.ts";
import { llama, mistral, qwen2, qwen3, smollm3 } from "./llama.ts";
import { mixtral, qwen2Moe, qwen3Moe } from "./mixtures.ts";
import { opt } from "./opt.ts";
import { phi, phi3 } from "./phi.ts";
import { stablelm, stablelmEpoch } from "./stablelm.ts";
import { starcoder2 } from "./starcoder2.ts";

/** Families by `model_type` of config.json. */
const FAMILIES: Readonly<Record<string, Family>> = {
  llama,
  mistral,
  qwen2,
  qwen3,
  mixtral,
  qwen2_moe: qwen2Moe,
  qwen3_moe: qwen3Moe,
  gpt_oss: gptOss,
  gemma,
  gemma2,
  gemma3,
  gemma3_text: gemma3Text,
  phi,
  phi3,
  smollm3,
  stablelm,
  starcoder2,
  gpt2,
  gpt_neox: gptneox,
  falcon,
  opt,
  // What the first files of Falcon and StableLM say.
  RefinedWeb: falcon,
  RefinedWebModel: falcon,
  stablelm_epoch: stablelmEpoch,
};

/** Names of the families that are known. */
export const MODEL_TYPES: readonly string[] = Object.keys(FAMILIES);

/** A family that can be written, with its `model_type`. */
export interface NamedFamily extends Family {
  readonly type: string;
  readonly written: WrittenFamily;
}

/** Each once, under its first type. */
const WRITTEN: readonly NamedFamily[] = Object.entries(FAMILIES).flatMap(([type, family], i, all) => {
  const isFirst = all.findIndex(([, one]) => one === family) === i;
  return family.written !== undefined && isFirst ? [{ ...family, type, written: family.written }] : [];
});

/** Architectures of GGUF's that can be written as checkpoints. */
export const WRITTEN_ARCHITECTURES: readonly string[] = [
  ...new Set(WRITTEN.map(({ written }) => written.architecture)),
];

/** The families that can be written of an architecture of GGUF's; one that has words for less comes first. */
export function writtenFamilies(architecture: string): readonly NamedFamily[] {
  return WRITTEN.filter(({ written }) => written.architecture === architecture);
}

/** The family of a checkpoint. Throws `UnsupportedError` for one that is not known, listing those that are. */
export function familyOf(config: JsonView): Family {
  const type = config.string("model_type");
  if (type === undefined) throw config.error("model_type", "is missing");
  if (Object.hasOwn(FAMILIES, type)) return FAMILIES[type] as Family;
  throw new UnsupportedError(
    `${config.file}: model_type ${quoted(type)} is not supported; known: ${MODEL_TYPES.join(", ")}`,
  );
}
