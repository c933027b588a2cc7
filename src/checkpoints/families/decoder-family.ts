import type { ModelSpec } from "../../models/model.ts";
import type { JsonView } from "../../text/json-view.ts";
import { type Decoder, type DecoderKeys, readDecoder } from "./decoder.ts";
import { decoderSettings } from "./decoder-settings.ts";
import type { Family, Settings, Translation } from "./family.ts";

/** A family of decoders: its keys serve both directions. */
export interface DecoderFamily {
  readonly keys: DecoderKeys;
  /** The class in the reference implementation. */
  readonly modelClass: string;
  /** The rest of what the configuration means. */
  translate(decoder: Decoder, config: JsonView): Translation;
  /** The settings that `translate` reads, of a model in GGUF's terms, and others that other loaders want. */
  own?(spec: ModelSpec): Settings;
}

export function decoderFamily({ keys, modelClass, translate, own }: DecoderFamily): Family {
  return {
    read: (config) => translate(readDecoder(config, keys), config),
    written: {
      architecture: keys.architecture,
      modelClass,
      settings: (model) => decoderSettings(model, keys, own?.(model.spec) ?? {}),
    },
  };
}

/** Whether any layer sees a window. */
export function hasWindows({ layers }: ModelSpec): boolean {
  return layers.some(({ attention }) => attention.window !== undefined);
}
