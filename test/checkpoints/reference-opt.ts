/** OPT from its defining equations, in plain numbers: small and slow. */

import { at } from "../../src/base/assert.ts";
import { normalDistribution } from "../kernels/normal-distribution.ts";

type Vector = readonly number[];
type Matrix = readonly Vector[];

export interface OptShape {
  readonly layers: number;
  readonly heads: number;
  /** Norms stand before the blocks, and one after the last layer; else each after its block. */
  readonly isPreNorm: boolean;
  readonly activation: "relu" | "gelu";
}

/** Weights by the names of Hugging Face's tensors, without `model.decoder.`: matrices [outputs][inputs], vectors. */
export interface OptWeights {
  readonly matrices: ReadonlyMap<string, Matrix>;
  readonly vectors: ReadonlyMap<string, Vector>;
}

/** What may be wrong, for controls. */
export interface OptMistake {
  /** Rows of the table of positions before the first one. */
  readonly offset?: number;
  readonly norms?: "swapped";
  readonly bias?: "missing";
  /** Embeddings and outputs are cut or filled up with zeros. */
  readonly projection?: "missing";
}

const EPSILON = 1e-5;

/** Logits [position][token]. */
export function optLogits(
  shape: OptShape,
  weights: OptWeights,
  tokens: readonly number[],
  mistake: OptMistake = {},
): number[][] {
  const opt = new Opt(shape, weights, mistake);
  return opt.logits(tokens);
}

class Opt {
  constructor(
    private readonly shape: OptShape,
    private readonly weights: OptWeights,
    private readonly mistake: OptMistake,
  ) {}

  logits(tokens: readonly number[]): number[][] {
    const { offset = 2, norms } = this.mistake;
    const isPreNorm = this.shape.isPreNorm !== (norms === "swapped");
    const embedding = this.matrix("embed_tokens.weight");
    const positions = this.matrix("embed_positions.weight");
    let xs = tokens.map((token, t) =>
      add(this.project("project_in", at(embedding, token)), at(positions, t + offset)),
    );
    for (let n = 0; n < this.shape.layers; n++) {
      const layer = `layers.${n}`;
      const attend = (all: Matrix) => this.attention(`${layer}.self_attn`, all);
      const forward = (all: Matrix) => all.map((x) => this.feedForward(layer, x));
      for (const [block, name] of [
        [attend, `${layer}.self_attn_layer_norm`],
        [forward, `${layer}.final_layer_norm`],
      ] as const) {
        const added = block(isPreNorm ? xs.map((x) => this.norm(name, x)) : xs);
        xs = xs.map((x, t) => add(x, at(added, t)));
        if (!isPreNorm) xs = xs.map((x) => this.norm(name, x));
      }
    }
    const hasLast = this.shape.isPreNorm;
    const head = this.weights.matrices.get("lm_head.weight") ?? embedding;
    return xs.map((x) => {
      const last = hasLast ? this.norm("final_layer_norm", x) : x;
      return times(head, this.project("project_out", last));
    });
  }

  private matrix(name: string): Matrix {
    return this.weights.matrices.get(name) as Matrix;
  }

  private project(name: string, x: Vector): Vector {
    const matrix = this.weights.matrices.get(`${name}.weight`);
    if (matrix === undefined) return x;
    if (this.mistake.projection === undefined) return times(matrix, x);
    return matrix.map((_, i) => x[i] ?? 0);
  }

  private linear(name: string, x: Vector): number[] {
    const bias = this.weights.vectors.get(`${name}.bias`);
    const y = times(this.matrix(`${name}.weight`), x);
    return bias === undefined || this.mistake.bias === "missing" ? y : add(y, bias);
  }

  private norm(name: string, x: Vector): number[] {
    const weight = this.weights.vectors.get(`${name}.weight`);
    const bias = this.weights.vectors.get(`${name}.bias`);
    const mean = x.reduce((sum, value) => sum + value, 0) / x.length;
    const variance = x.reduce((sum, value) => sum + (value - mean) ** 2, 0) / x.length;
    return x.map((value, i) => {
      const normed = (value - mean) / Math.sqrt(variance + EPSILON);
      return normed * (weight?.[i] ?? 1) + (bias?.[i] ?? 0);
    });
  }

  private feedForward(layer: string, x: Vector): number[] {
    const inner = this.linear(`${layer}.fc1`, x);
    const act = inner.map((value) =>
      this.shape.activation === "relu" ? Math.max(0, value) : value * normalDistribution(value),
    );
    return this.linear(`${layer}.fc2`, act);
  }

  private attention(name: string, xs: Matrix): Matrix {
    const project = (part: string) => xs.map((x) => this.linear(`${name}.${part}_proj`, x));
    const [qs, ks, vs] = [project("q"), project("k"), project("v")];
    const headDim = at(qs, 0).length / this.shape.heads;
    const of = (x: Vector, head: number) => x.slice(head * headDim, (head + 1) * headDim);
    return qs.map((q, t) => {
      const mixed = Array.from({ length: this.shape.heads }, (_, head) => {
        const query = of(q, head);
        const scores = ks.slice(0, t + 1).map((k) => dot(query, of(k, head)) / Math.sqrt(headDim));
        const powers = scores.map((score) => Math.exp(score - Math.max(...scores)));
        const total = powers.reduce((sum, power) => sum + power, 0);
        return Array.from({ length: headDim }, (_, i) =>
          powers.reduce((sum, power, s) => sum + (power / total) * at(at(vs, s), head * headDim + i), 0),
        );
      });
      return this.linear(`${name}.out_proj`, mixed.flat());
    });
  }
}

const dot = (a: Vector, b: Vector) => a.reduce((sum, value, i) => sum + value * at(b, i), 0);
const times = (matrix: Matrix, x: Vector) => matrix.map((row) => dot(row, x));
const add = (a: Vector, b: Vector) => a.map((value, i) => value + at(b, i));
