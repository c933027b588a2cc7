/** Llama from its defining equations, in plain numbers: small and slow. */

import { at } from "../../src/base/assert.ts";

type Vector = readonly number[];
type Matrix = readonly Vector[];

export interface LlamaSizes {
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly epsilon: number;
  readonly ropeBase: number;
  /** Positions that a token sees, its own included; all before it if not given. */
  readonly window?: number;
}

/** Weights by the names of Hugging Face's modules: matrices [outputs][inputs], and the weights of norms. */
export interface LlamaWeights {
  readonly matrices: ReadonlyMap<string, Matrix>;
  readonly norms: ReadonlyMap<string, Vector>;
}

/** What may be wrong, for controls. */
export interface Mistake {
  readonly pairs?: "interleaved";
}

/** Logits [position][token]; the head is `lm_head`, or the embedding where there is none. */
export function llamaLogits(
  sizes: LlamaSizes,
  weights: LlamaWeights,
  tokens: readonly number[],
  mistake: Mistake = {},
): number[][] {
  const matrix = (name: string) => weights.matrices.get(name) as Matrix;
  const norm = (name: string) => weights.norms.get(name) as Vector;
  const embedding = matrix("model.embed_tokens");
  let xs: Matrix = tokens.map((token) => at(embedding, token));
  for (let n = 0; n < sizes.layers; n++) {
    const layer = `model.layers.${n}`;
    const h = xs.map((x) => rmsNorm(x, norm(`${layer}.input_layernorm`), sizes.epsilon));
    const project = (part: string) => h.map((x) => times(matrix(`${layer}.self_attn.${part}_proj`), x));
    const mixed = attention(sizes, project("q"), project("k"), project("v"), mistake);
    xs = xs.map((x, t) => add(x, times(matrix(`${layer}.self_attn.o_proj`), at(mixed, t))));
    xs = xs.map((x) => {
      const inner = rmsNorm(x, norm(`${layer}.post_attention_layernorm`), sizes.epsilon);
      const gate = times(matrix(`${layer}.mlp.gate_proj`), inner);
      const up = times(matrix(`${layer}.mlp.up_proj`), inner);
      const act = gate.map((g, i) => (g / (1 + Math.exp(-g))) * at(up, i));
      return add(x, times(matrix(`${layer}.mlp.down_proj`), act));
    });
  }
  const head = weights.matrices.get("lm_head") ?? embedding;
  return xs.map((x) => times(head, rmsNorm(x, norm("model.norm"), sizes.epsilon)));
}

const times = (matrix: Matrix, x: Vector) =>
  matrix.map((row) => row.reduce((sum, weight, i) => sum + weight * at(x, i), 0));

const add = (a: Vector, b: Vector) => a.map((value, i) => value + at(b, i));

function rmsNorm(x: Vector, weight: Vector, epsilon: number): number[] {
  const meanSquare = x.reduce((sum, value) => sum + value * value, 0) / x.length;
  return x.map((value, i) => (value / Math.sqrt(meanSquare + epsilon)) * at(weight, i));
}

/** Causal; each key-value head serves a run of query heads. */
function attention(sizes: LlamaSizes, q: Matrix, k: Matrix, v: Matrix, mistake: Mistake): number[][] {
  const { heads, kvHeads, headDim, window = Number.POSITIVE_INFINITY } = sizes;
  const headOf = (x: Vector, head: number) => x.slice(head * headDim, (head + 1) * headDim);
  return q.map((query, t) =>
    Array.from({ length: heads }, (_, head) => {
      const kv = Math.floor(head / (heads / kvHeads));
      const rotated = rotate(headOf(query, head), t, sizes.ropeBase, mistake);
      const scores = Array.from({ length: t + 1 }, (_, s) => {
        if (t - s >= window) return Number.NEGATIVE_INFINITY;
        const key = rotate(headOf(at(k, s), kv), s, sizes.ropeBase, mistake);
        return rotated.reduce((sum, value, i) => sum + value * at(key, i), 0) / Math.sqrt(headDim);
      });
      const most = Math.max(...scores);
      const powers = scores.map((score) => Math.exp(score - most));
      const total = powers.reduce((sum, power) => sum + power, 0);
      return Array.from({ length: headDim }, (_, i) =>
        powers.reduce((sum, power, s) => sum + (power / total) * at(at(v, s), kv * headDim + i), 0),
      );
    }).flat(),
  );
}

/** Dimensions i and i + half turn together, by position · base^(−2i / dimensions). */
function rotate(x: Vector, position: number, base: number, { pairs }: Mistake): number[] {
  const half = x.length / 2;
  const out = [...x];
  for (let i = 0; i < half; i++) {
    const [a, b] = pairs === "interleaved" ? [2 * i, 2 * i + 1] : [i, i + half];
    const angle = position * base ** (-i / half);
    out[a] = at(x, a) * Math.cos(angle) - at(x, b) * Math.sin(angle);
    out[b] = at(x, a) * Math.sin(angle) + at(x, b) * Math.cos(angle);
  }
  return out;
}
