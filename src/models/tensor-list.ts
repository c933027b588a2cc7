import { UnsupportedError } from "../base/errors.ts";
import type { ModelFile } from "../files/model-file.ts";
import { quoted } from "../files/quoted.ts";

/** The tensors of a model, as its architecture asks for them. Shapes are GGUF's: the length of a row first. */
export interface TensorList {
  /** Whether there is a tensor of this name, for those that a model may lack. */
  has(name: string): boolean;
  /** Rows of a matrix that nothing else tells. */
  rows(name: string): number | undefined;
  /** The architecture has a tensor of this name and shape. Throws `FileFormatError` where the model has not. */
  expect(name: string, shape: readonly number[]): void;
  /** Nothing more is asked for. Throws `UnsupportedError` where the model has more. */
  end(): void;
}

/** The tensors of a file. */
export class FileTensors implements TensorList {
  private readonly unused: Set<string>;

  constructor(
    private readonly file: ModelFile,
    private readonly architecture: string,
  ) {
    this.unused = new Set(file.tensors.keys());
  }

  has(name: string): boolean {
    return this.file.tensors.has(name);
  }

  rows(name: string): number | undefined {
    return this.file.tensors.get(name)?.shape[1];
  }

  expect(name: string, shape: readonly number[]): void {
    const tensor = this.file.tensors.get(name);
    if (tensor === undefined) throw this.file.metadata.error(`tensor ${name}`, "is missing");
    const found = tensor.shape.join(" × ");
    if (found !== shape.join(" × ")) {
      throw this.file.metadata.error(`tensor ${name}`, `has shape ${found}, not ${shape.join(" × ")}`);
    }
    this.unused.delete(name);
  }

  /** A tensor that the forward pass would ignore means a model that is not quite one: better no text than wrong text. */
  end(): void {
    const [first] = this.unused;
    if (first === undefined) return;
    throw new UnsupportedError(
      `${this.file.metadata.file}: ${this.unused.size} tensors have no place in the architecture ${this.architecture}, ` +
        `the first is ${quoted(first)}; is this another architecture?`,
    );
  }
}
