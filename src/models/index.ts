import { UnsupportedError } from "../base/errors.ts";
import type { ModelFile } from "../files/model-file.ts";
import { quoted } from "../files/quoted.ts";
import { llama } from "./llama.ts";
import type { ModelSpec } from "./model.ts";

/** Architectures by their `general.architecture`. */
const ARCHITECTURES: Readonly<Record<string, (file: ModelFile) => ModelSpec>> = { llama };

/** The model in a GGUF file. Throws `UnsupportedError` for an architecture that is not known, listing those that are. */
export function modelSpec(file: ModelFile): ModelSpec {
  const architecture = file.metadata.string("general.architecture");
  if (!Object.hasOwn(ARCHITECTURES, architecture)) {
    const known = Object.keys(ARCHITECTURES).join(", ");
    throw new UnsupportedError(
      `architecture ${quoted(architecture)} is not supported; known: ${known} (general.architecture of ${file.metadata.file})`,
    );
  }
  return (ARCHITECTURES[architecture] as (file: ModelFile) => ModelSpec)(file);
}
