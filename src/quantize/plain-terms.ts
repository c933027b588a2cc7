import { GgufMetadata } from "../files/gguf-metadata.ts";
import type { ModelFile } from "../files/model-file.ts";
import type { RopePairing } from "../kernels/rope.ts";
import { difference } from "../models/difference.ts";
import { modelSpec } from "../models/index.ts";
import type { ModelSpec } from "../models/model.ts";

/** Keys that only files have which were folders, for what configurations can say and GGUF cannot. */
const OWN_KEYS = [
  "feed_forward.activation",
  "attention.sliding_window_pattern",
  "rope.scaling.yarn_truncate",
] as const;

/** What a file in other engines' terms is: how it pairs dimensions, and which of a folder's keys it does not need. */
export interface PlainTerms {
  readonly pairing: RopePairing;
  readonly ownKeys: ReadonlySet<string>;
}

/** Finds which keys say nothing that the architecture does not say itself. */
export function plainTerms({
  file,
  spec,
}: {
  readonly file: ModelFile;
  readonly spec: ModelSpec;
}): PlainTerms {
  const { architecture } = spec.config;
  const without = (keys: readonly string[]) => {
    const entries = [...file.metadata.entries].filter(([key]) => !keys.includes(key));
    return modelSpec({
      tensors: file.tensors,
      metadata: new GgufMetadata(file.metadata.file, new Map(entries)),
    });
  };
  const pairing = `${architecture}.rope.pairing`;
  const unneeded = OWN_KEYS.map((key) => `${architecture}.${key}`).filter(
    (key) => difference(spec, without([key])) === undefined,
  );
  return {
    pairing: without([pairing]).config.rope?.pairing ?? "halves",
    ownKeys: new Set([pairing, ...unneeded]),
  };
}
