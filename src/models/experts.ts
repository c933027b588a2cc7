import type { Activation } from "../kernels/gate.ts";
import type { RopePairing } from "../kernels/rope.ts";
import type { Blocks } from "./blocks.ts";
import { readActivation, readMixtureConfig } from "./config.ts";
import type { ExpertCounts, FeedForward, ModelConfig, Routing, SharedExpert } from "./model.ts";
import type { ModelReader } from "./reader.ts";

/** The config of an architecture that always has experts, of a width of their own. */
export function readExpertConfig(
  reader: ModelReader,
  pairing: RopePairing,
): ModelConfig & { readonly experts: ExpertCounts } {
  const { experts, ...config } = readMixtureConfig(reader, "rms", pairing);
  if (experts === undefined) throw reader.error("expert_count", "is missing or 0");
  const usual = Math.max(1, Math.floor(config.intermediateSize / experts.used));
  const intermediateSize = reader.sizeUnlessZero("expert_feed_forward_length", usual) ?? usual;
  return { ...config, experts, intermediateSize };
}

/** What architectures differ in; files may say otherwise. */
interface ExpertKind extends Pick<Routing, "softmaxOver"> {
  readonly activation: Activation;
  /** Name of the norm before the router. */
  readonly norm?: string;
}

/** A gated block of every expert behind one norm; which of them a token passes, `ffn_gate_inp` says. */
export function gatedExperts(
  blocks: Blocks,
  layer: number,
  experts: ExpertCounts,
  { activation, softmaxOver: usual, norm = "ffn_norm" }: ExpertKind,
): FeedForward & { readonly routing: Routing } {
  const { reader, config } = blocks;
  const { hiddenSize, intermediateSize } = config;
  const name = (part: string) => `blk.${layer}.${part}`;
  const inputNorm = blocks.norm(name(norm));
  const router = reader.linear(name("ffn_gate_inp"), experts.count, hiddenSize);
  const isNormed = reader.metadata.boolOr(reader.key("expert_weights_norm"), usual === "chosen");
  // Weights that are divided by their sum are a softmax over the chosen scores.
  const softmaxOver = isNormed ? "chosen" : "all";
  return {
    inputNorm,
    activation: readActivation(reader, activation),
    gate: reader.stack(name("ffn_gate_exps"), intermediateSize, hiddenSize, experts),
    up: reader.stack(name("ffn_up_exps"), intermediateSize, hiddenSize, experts),
    down: reader.stack(name("ffn_down_exps"), hiddenSize, intermediateSize, experts),
    routing: { ...experts, router, softmaxOver },
  };
}

/** The expert that all tokens pass, of a width of its own. */
export function sharedExpert({ reader, config }: Blocks, layer: number): SharedExpert {
  const { hiddenSize } = config;
  const name = (part: string) => `blk.${layer}.${part}`;
  const usual = reader.size("feed_forward_length");
  const size = reader.sizeUnlessZero("expert_shared_feed_forward_length", usual) ?? usual;
  return {
    gate: reader.linear(name("ffn_gate_shexp"), size, hiddenSize),
    up: reader.linear(name("ffn_up_shexp"), size, hiddenSize),
    down: reader.linear(name("ffn_down_shexp"), hiddenSize, size),
    amount: reader.rowVector(name("ffn_gate_inp_shexp"), hiddenSize),
  };
}
