import { UnsupportedError } from "../base/errors.ts";
import type { StoredTensor } from "../files/model-file.ts";
import { quoted } from "../files/quoted.ts";
import { inverseRuns, RenamedTensor, type Run, SlicedTensor } from "./changed-tensors.ts";
import { type ChangedModule, patternOf, type Translation } from "./families/family.ts";

/** A module of a checkpoint, by GGUF's name. */
interface Found {
  /** In the checkpoint, with `*` for the layer and `#` for the part. */
  readonly module: string;
  readonly changed: ChangedModule | undefined;
}

/**
 * Tensors in GGUF's terms as those of a checkpoint: what its configuration's translation does, the other way round. All
 * throw `UnsupportedError` for a tensor that such checkpoints lack.
 */
export class CheckpointTensors {
  private readonly known: ReadonlyMap<string, Found>;

  constructor(private readonly translation: Translation) {
    const named = Object.entries(translation.modules).flatMap(([module, to]): [string, Found][] => {
      if (typeof to === "string") return [[to, { module, changed: undefined }]];
      return "name" in to ? [[to.name, { module, changed: to }]] : [];
    });
    this.known = new Map(named);
  }

  /**
   * The name of a tensor in the checkpoint: `blk.3.attn_q.weight` → `model.layers.3.self_attn.q_proj.weight`. The output
   * head stands beside what the prefix is of.
   */
  name(tensor: string): string {
    const { name, layer, parameter, found } = this.find(tensor);
    const prefix = name === "output" ? "" : (this.translation.prefixes[0] ?? "");
    return `${prefix}${found.module.replace("*", layer)}${parameter}`;
  }

  /** The rows of a matrix in the checkpoint's order; undefined where that is GGUF's. */
  runs(tensor: string): readonly Run[] | undefined {
    const runs = this.find(tensor).found.changed?.runs;
    return runs && inverseRuns(runs());
  }

  /**
   * A tensor of floats in the checkpoint's form, under its name there; or its parts; none where it follows from the
   * configuration.
   */
  stored(tensor: StoredTensor): readonly StoredTensor[] {
    if (this.translation.vectors?.has(tensor.name)) return [];
    const { changed, module } = this.find(tensor.name).found;
    const name = this.name(tensor.name);
    const whole = changed?.restore(tensor) ?? tensor;
    if (!module.includes("#")) return [new RenamedTensor(whole, name, whole.shape)];
    const shape = whole.shape.slice(0, -1);
    const rows = shape.slice(1).reduce((product, extent) => product * extent, 1);
    return Array.from({ length: whole.shape.at(-1) ?? 1 }, (_, part) => {
      return new SlicedTensor(whole, name.replace("#", String(part)), part * rows, shape);
    });
  }

  private find(tensor: string) {
    const dot = tensor.lastIndexOf(".");
    const { pattern, layer } = patternOf(`${tensor.slice(0, dot)}.`);
    const name = pattern.slice(0, -1);
    const found = this.known.get(name);
    if (found !== undefined) return { name, layer, parameter: tensor.slice(dot), found };
    throw new UnsupportedError(`tensor ${quoted(tensor)} has no name in checkpoints of this family`);
  }
}
