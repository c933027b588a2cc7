import { UnsupportedError } from "../../base/errors.ts";
import { quoted } from "../../files/quoted.ts";
import type { JsonView } from "../../text/json-view.ts";
import { awq } from "./awq.ts";
import type { CodeMatrix, Parameters, Warn } from "./code-matrix.ts";
import { compressedTensors } from "./compressed-tensors.ts";
import { gptq } from "./gptq.ts";

/** How a checkpoint stores quantized matrices. */
export interface Method {
  /** The parameter that quantized modules have. */
  readonly marker: string;
  /** All parameters of a quantized matrix. */
  readonly parameters: readonly string[];
  /** Reads what must be known before weights are read. Throws `FileFormatError` for parameters that do not fit together. */
  matrix(parameters: Parameters, warn: Warn): Promise<CodeMatrix>;
}

/** Known methods, each with its formats, the one that is meant without a name first. */
const FORMATS: Readonly<Record<string, readonly string[]>> = {
  gptq: ["gptq", "gptq_v2"],
  awq: ["gemm", "gemv"],
  "compressed-tensors": ["pack-quantized"],
};

/** Of which parameters say all there is to know: their families read them. */
const OF_FAMILIES = ["mxfp4"];

/**
 * The method that a `quantization_config` (of config.json, or the whole of quantize_config.json) names; undefined where
 * families read it themselves. Throws `UnsupportedError` for a method or format that is not known.
 */
export function methodOf(config: JsonView): Method | undefined {
  // Configurations from before there were other methods do not name theirs.
  const name = config.string("quant_method") ?? "gptq";
  if (OF_FAMILIES.includes(name)) return undefined;
  const formats = Object.hasOwn(FORMATS, name) ? (FORMATS[name] as readonly string[]) : undefined;
  if (formats === undefined) {
    const known = [...Object.keys(FORMATS), ...OF_FAMILIES].join(", ");
    throw new UnsupportedError(
      `${config.file}: quantization method ${quoted(name)} is not supported; known: ${known}`,
    );
  }
  const named = config.string("checkpoint_format") ?? config.string("format") ?? config.string("version");
  const format = named?.toLowerCase() ?? (formats[0] as string);
  if (!formats.includes(format)) {
    throw new UnsupportedError(
      `${config.file}: ${name} in the format ${quoted(format)} is not supported; known: ${formats.join(", ")}`,
    );
  }
  if (name === "awq") return awq(config, format);
  return name === "gptq" ? gptq(config, format) : compressedTensors(config);
}
