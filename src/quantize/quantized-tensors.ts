import { assert } from "../base/assert.ts";
import { AbortedError } from "../base/errors.ts";
import type { ModelFile, StoredTensor } from "../files/model-file.ts";
import type { QuantizedFormat } from "../quant/formats.ts";
import { roundToNearest } from "./nearest.ts";
import type { ModuleRecord, QuantizedTensor } from "./quantized-tensor.ts";
import { extentsOf, readWeights } from "./working-tensors.ts";

/** Gives quantized tensors as they are asked for, and keeps the record of all. */
export class QuantizedTensors {
  readonly records: ModuleRecord[] = [];
  private readonly ready = new Map<string, QuantizedTensor>();
  private taken = 0;

  /**
   * @param formats format of each tensor that is quantized
   * @param layers those that are quantized layer by layer, in order; all others are rounded to nearest
   */
  constructor(
    private readonly file: ModelFile,
    private readonly formats: ReadonlyMap<string, QuantizedFormat>,
    private readonly leastZero: number,
    private readonly layers: AsyncGenerator<ReadonlyMap<string, QuantizedTensor>> | undefined,
    private readonly ofLayers: ReadonlySet<string>,
    private readonly onTensor: (done: number, total: number) => void,
    private readonly signal: AbortSignal | undefined,
  ) {}

  format(name: string): QuantizedFormat | undefined {
    return this.formats.get(name);
  }

  /** The quantized tensor; once, since it is not kept. */
  async take(name: string): Promise<QuantizedTensor> {
    if (this.signal?.aborted) throw new AbortedError();
    const tensor =
      this.layers !== undefined && this.ofLayers.has(name)
        ? await this.next(name, this.layers)
        : await this.nearest(name);
    this.records.push(tensor.record);
    this.taken++;
    this.onTensor(this.taken, this.formats.size);
    return tensor;
  }

  /** Lets the layers go on to the last, where none of it was wanted. */
  async finish(): Promise<void> {
    while (this.layers !== undefined && (await this.layers.next()).done !== true);
  }

  private async next(
    name: string,
    layers: AsyncGenerator<ReadonlyMap<string, QuantizedTensor>>,
  ): Promise<QuantizedTensor> {
    for (;;) {
      const found = this.ready.get(name);
      if (found !== undefined) {
        this.ready.delete(name);
        return found;
      }
      const layer = await layers.next();
      assert(layer.done !== true, `no layer has ${name}`);
      for (const [tensor, quantized] of layer.value) this.ready.set(tensor, quantized);
    }
  }

  private async nearest(name: string): Promise<QuantizedTensor> {
    const tensor = this.file.tensors.get(name) as StoredTensor;
    const weights = await readWeights(tensor, 0, extentsOf(tensor).rows);
    return roundToNearest(name, weights, this.formats.get(name) as QuantizedFormat, this.leastZero);
  }
}
