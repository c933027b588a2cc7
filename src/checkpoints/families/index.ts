import { UnsupportedError } from "../../base/errors.ts";
import { quoted } from "../../files/quoted.ts";
import type { JsonView } from "../../text/json-view.ts";
import type { Family } from "./family.ts";
import { llama } from "./llama.ts";

/** Families by the name that `architectures` in a config.json has. */
const FAMILIES: Readonly<Record<string, Family>> = {
  LlamaForCausalLM: llama,
  MistralForCausalLM: llama,
};

/** The family of a checkpoint. Throws `UnsupportedError` for one that is not known, listing those that are. */
export function familyOf(config: JsonView): Family {
  const [architecture] = config.list("architectures");
  if (typeof architecture !== "string") throw config.error("architectures", "does not name the architecture");
  if (Object.hasOwn(FAMILIES, architecture)) return FAMILIES[architecture] as Family;
  const known = Object.keys(FAMILIES).join(", ");
  throw new UnsupportedError(
    `${config.file}: architecture ${quoted(architecture)} is not supported; known: ${known}`,
  );
}
