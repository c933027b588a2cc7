import { UnsupportedError } from "../base/errors.ts";
import type { GgufMetadata } from "../files/gguf-metadata.ts";
import type { ModelFile } from "../files/model-file.ts";
import { quoted } from "../files/quoted.ts";
import { falcon } from "./falcon.ts";
import { gemma, gemma2, gemma3 } from "./gemma.ts";
import { gptOss } from "./gpt-oss.ts";
import { gpt2 } from "./gpt2.ts";
import { gptneox } from "./gptneox.ts";
import { llama } from "./llama.ts";
import type { ModelSpec } from "./model.ts";
import { opt } from "./opt.ts";
import { phi2 } from "./phi2.ts";
import { phi3 } from "./phi3.ts";
import { qwen2 } from "./qwen2.ts";
import { qwen2moe } from "./qwen2moe.ts";
import { qwen3 } from "./qwen3.ts";
import { qwen3moe } from "./qwen3moe.ts";
import { ModelReader } from "./reader.ts";
import { smollm3 } from "./smollm3.ts";
import { stablelm } from "./stablelm.ts";
import { starcoder2 } from "./starcoder2.ts";
import { FileTensors, type TensorList } from "./tensor-list.ts";

/** Architectures by their `general.architecture`. */
const ARCHITECTURES: Readonly<Record<string, (reader: ModelReader) => ModelSpec>> = {
  llama,
  qwen2,
  qwen3,
  qwen2moe,
  qwen3moe,
  gemma,
  gemma2,
  gemma3,
  phi2,
  phi3,
  smollm3,
  stablelm,
  starcoder2,
  gpt2,
  gptneox,
  "gpt-oss": gptOss,
  falcon,
  opt,
};

/** Names of the architectures that are known. */
export const ARCHITECTURE_NAMES: readonly string[] = Object.keys(ARCHITECTURES);

/** The model in a GGUF file. Throws `UnsupportedError` for an architecture that is not known, listing those that are. */
export function modelSpec(file: ModelFile): ModelSpec {
  return specOf(file.metadata, (architecture) => new FileTensors(file, architecture));
}

/** The model that metadata and tensors make. */
export function specOf(metadata: GgufMetadata, tensorsOf: (architecture: string) => TensorList): ModelSpec {
  const architecture = metadata.string("general.architecture");
  if (!Object.hasOwn(ARCHITECTURES, architecture)) {
    const known = ARCHITECTURE_NAMES.join(", ");
    throw new UnsupportedError(
      `architecture ${quoted(architecture)} is not supported; known: ${known} (general.architecture of ${metadata.file})`,
    );
  }
  const tensors = tensorsOf(architecture);
  const read = ARCHITECTURES[architecture] as (reader: ModelReader) => ModelSpec;
  const spec = read(new ModelReader(metadata, tensors));
  tensors.end();
  return spec;
}
