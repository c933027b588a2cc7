import { assert } from "../base/assert.ts";
import {
  type ActivationLayout,
  activationKey,
  activationLayout,
  paddedCols,
} from "../kernels/activations.ts";
import { attention, attentionName } from "../kernels/attention.ts";
import { type EmbedChange, embed, embedName } from "../kernels/embed.ts";
import { type Activation, gate, gateName, softcapName, softcapRows } from "../kernels/gate.ts";
import { headNorm, headNormName } from "../kernels/head-norm.ts";
import { type NormSpec, norm, normName } from "../kernels/norm.ts";
import { prepare, prepareName } from "../kernels/prepare.ts";
import { type ProjectionSpec, projection, projectionName } from "../kernels/projection.ts";
import { type RopeSpec, rope, ropeName } from "../kernels/rope.ts";
import { ROUTE_COUNTS } from "../kernels/route.ts";
import { score, scoreName } from "../kernels/score.ts";
import {
  type Attention,
  type Block,
  type Embedding,
  type FeedForward,
  type Linear,
  type ModelPart,
  type Norm,
  nameOf,
  type OutputHead,
  type Routing,
  type SharedExpert,
  type Vector,
} from "../models/model.ts";
import { rowParts } from "../plan/parts.ts";
import type { Step } from "./backend.ts";
import { writeCombine, writeRoute } from "./expert-steps.ts";
import {
  type Bases,
  COUNTS,
  innerRows,
  type ModelProgram,
  type OutputKind,
  orderOf,
  slotsOf,
} from "./model-program.ts";

/** A projection into a buffer; `accumulate` adds to what is there. */
interface Target {
  readonly linear: Linear;
  readonly to: string;
  readonly accumulate?: boolean;
}

/** What there is a number of in memory: rows of the step, those whose output is wanted, slots of a mixture. */
type Counted = "rows" | "outputs" | "slots";

/** Steps that look at the inputs of matrices: f32 rows at an address, as many as the counter at another one says. */
export type Observer = (linears: readonly Linear[], input: number, counts: number) => readonly Step[];

/** How a norm is applied. */
interface NormUse {
  readonly from?: string;
  readonly to: string;
  readonly accumulate?: boolean;
  /** Only the rows whose output is wanted. */
  readonly gather?: boolean;
  readonly barrier?: boolean;
}

/** Prepared activations: their layout, the matrix in whose order they are, and the buffer that they are in. */
interface PreparedInput {
  readonly layout: ActivationLayout;
  readonly order: string | undefined;
  readonly to: string;
}

function equalOrders(a: Uint32Array | undefined, b: Uint32Array | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return a.length === b.length && a.every((input, i) => input === b[i]);
}

/** Writes the steps of one forward pass: the blocks of the model in order, as kernels on named buffers. */
export class StepWriter {
  private readonly out: Step[] = [];

  constructor(
    readonly program: ModelProgram<ModelPart>,
    private readonly rows: number,
    private readonly bases: Bases,
    private readonly observe?: Observer,
  ) {}

  forward(): Step[] {
    const { embedding, layers, output } = this.program.spec;
    if (embedding !== undefined) this.embed(embedding);
    layers.forEach(({ attention, feedForward, parallel = false }, n) => {
      const input = this.input(attention, "h", !(parallel && feedForward.inputNorm));
      const second = parallel ? (this.ownInput(feedForward, "h2") ?? input) : undefined;
      this.attend(attention, input, n);
      this.feedForward(feedForward, second ?? this.input(feedForward, "h"));
    });
    if (output !== undefined) this.output(output);
    return this.out;
  }

  /** x, as a forward pass left it → logits of the rows whose output is wanted → what is wanted of them. */
  scores(kind: OutputKind): Step[] {
    const { output } = this.program.spec;
    if (output === undefined) return this.out;
    this.output(output);
    if (kind !== "logits") this.score(output.head.rows, kind === "comparison");
    return this.out;
  }

  private score(cols: number, compared: boolean): void {
    const { isa, kernels, comparedRows } = this.program;
    const scoreSpec = { cols, compared };
    const name = kernels.add(scoreName(scoreSpec), scoreSpec, () => score(scoreSpec, isa));
    const base = compared ? [this.bases.work + this.program.logitsAt(comparedRows)] : [];
    const results = [this.work("targets"), this.work("scores"), this.count("outputs")];
    this.add(name, [this.work("logits"), ...base, ...results]);
  }

  /** Tokens → x. */
  private embed({ table, scale, projection, positions }: Embedding): void {
    this.rowsOf(table, "tokens", projection === undefined ? "x" : "embedded", { scale });
    if (projection !== undefined) this.project("embedded", [{ linear: projection, to: "x" }]);
    if (positions !== undefined) this.rowsOf(positions, "positions", "x", { accumulate: true });
  }

  private rowsOf(linear: Linear, list: string, to: string, { scale, accumulate }: EmbedChange): void {
    const { isa, kernels } = this.program;
    const { packing } = this.program.matrix(linear);
    const { format, cols, tileRows } = packing;
    const change: EmbedChange = {
      ...(scale === undefined ? {} : { scale: Math.fround(scale) }),
      ...(accumulate === undefined ? {} : { accumulate }),
    };
    const spec = { format, cols, tileRows, ...change };
    const name = kernels.add(embedName(packing, change), spec, () => embed(packing, isa, change));
    this.add(name, [this.weight(linear), this.work(list), this.work(to), this.count("rows")]);
  }

  /** What a block takes: the residual stream, or its norm in the buffer `to`. */
  private input(block: Block, to: string, barrier = true): string {
    return this.ownInput(block, to, barrier) ?? "x";
  }

  private ownInput({ inputNorm }: Block, to: string, barrier = true): string | undefined {
    if (inputNorm === undefined) return undefined;
    this.norm(inputNorm, { to, barrier });
    return to;
  }

  /** x ← x + what `write` writes, with the norms that the block has around that. */
  private addToStream(
    { outputNorm, streamNorm }: Block,
    write: (to: string, accumulate: boolean) => void,
  ): void {
    if (outputNorm === undefined) {
      write("x", true);
    } else {
      write("added", false);
      this.norm(outputNorm, { from: "added", to: "x", accumulate: true });
    }
    if (streamNorm !== undefined) this.norm(streamNorm, { to: "x" });
  }

  private attend(block: Attention, input: string, layer: number): void {
    const { q, k, v, o, qNorm, kNorm } = block;
    const { heads, kvHeads } = this.program.spec.config;
    this.project(input, [
      { linear: q, to: "q" },
      { linear: k, to: "k" },
      { linear: v, to: "v" },
    ]);
    if (qNorm !== undefined) this.headNorm(qNorm, "q", heads, kNorm === undefined);
    if (kNorm !== undefined) this.headNorm(kNorm, "k", kvHeads, true);
    this.append(block, layer);
    this.mix(block, layer);
    this.addToStream(block, (to, accumulate) => this.project("mixed", [{ linear: o, to, accumulate }]));
  }

  private feedForward(block: FeedForward, input: string): void {
    const { down, routing } = block;
    if (routing === undefined) {
      const inner = this.inner(block, input);
      this.addToStream(block, (to, accumulate) => this.project(inner, [{ linear: down, to, accumulate }]));
      return;
    }
    writeRoute(this, routing, input);
    const inner = this.inner(block, input, routing);
    this.project(inner, [{ linear: down, to: "slotOutputs" }], "slots", routing);
    if (routing.shared !== undefined) this.share(routing.shared, block.activation, input);
    this.addToStream(block, (to, accumulate) => writeCombine(this, block, routing, to, accumulate));
  }

  /** activation(gate(input)) · up(input), of the rows or of the slots of a mixture; returns where it is. */
  private inner(
    { activation, gate: gateMatrix, up }: Pick<FeedForward, "activation" | "gate" | "up">,
    input: string,
    routing?: Routing,
  ): string {
    const { isa, kernels } = this.program;
    const gated = gateMatrix !== undefined;
    const [gates, ups] = [innerRows("gate", up), innerRows("up", up)];
    const targets = [{ linear: up, to: ups }];
    this.project(input, gated ? [{ linear: gateMatrix, to: gates }, ...targets] : targets);
    const spec = { cols: up.rows, activation, gated };
    const name = kernels.add(gateName(spec), spec, () => gate(spec, isa));
    const count = this.count(routing === undefined ? "rows" : "slots");
    const args = [...(gated ? [this.work(gates)] : []), this.work(ups), count];
    this.add(name, args, true, this.rowParts(routing));
    return gated ? gates : ups;
  }

  /** What all rows pass besides their experts, and how much of it they take. */
  private share({ gate, up, down, amount }: SharedExpert, activation: Activation, input: string): void {
    this.project(input, [{ linear: amount, to: "amounts" }]);
    const inner = this.inner({ activation, gate, up }, input);
    this.project(inner, [{ linear: down, to: "shared" }]);
  }

  /** x → logits of the rows whose output is wanted. */
  private output({ norm, projection, head, softcap: cap }: OutputHead): void {
    const { isa, kernels } = this.program;
    this.norm(norm, { to: "h", gather: true });
    if (projection !== undefined) this.project("h", [{ linear: projection, to: "projected" }], "outputs");
    const from = projection === undefined ? "h" : "projected";
    this.project(from, [{ linear: head, to: "logits" }], "outputs");
    if (cap === undefined) return;
    const capSpec = { cols: head.rows, cap };
    const name = kernels.add(softcapName(capSpec), capSpec, () => softcapRows(capSpec, isa));
    this.add(name, [this.work("logits"), this.count("outputs")]);
  }

  /** Adds a step. */
  add(kernel: string, args: number[], barrier = true, parts = this.rowParts()): void {
    this.out.push({ kernel, arguments: args, barrier, parts });
  }

  /** Parts of what is done row by row, or slot by slot. */
  private rowParts(routing?: Routing): number {
    return rowParts(slotsOf(routing, this.rows), this.program.threads);
  }

  /** Address of a part of the working memory. */
  work(name: string): number {
    return this.bases.work + this.program.work.offset(name);
  }

  private weight(part: Linear | Vector): number {
    return this.offsetOf(nameOf(part));
  }

  private offsetOf(weights: string): number {
    return this.bases.weights + this.program.weights.offset(weights);
  }

  /** Address of a number of things. */
  count(of: Counted | "blocks" | "experts"): number {
    if (of === "slots" || of === "experts") return this.work("slotCounts") + ROUTE_COUNTS[of];
    return this.work("counts") + COUNTS[of];
  }

  private norm({ kind, weight, bias, epsilon }: Norm, use: NormUse): void {
    const { from = "x", to, accumulate = false, gather = false, barrier = true } = use;
    const cols = weight.length;
    const spec: NormSpec = { kind, cols, epsilon, gather, bias: bias !== undefined, accumulate };
    const name = this.program.kernels.add(normName(spec), spec, () => norm(spec, this.program.isa));
    const args = [
      this.work(from),
      this.weight(weight),
      this.work(to),
      this.count(gather ? "outputs" : "rows"),
    ];
    if (gather) args.push(this.work("outputList"));
    if (bias !== undefined) args.push(this.weight(bias));
    this.add(name, args, barrier);
  }

  private headNorm({ kind, weight, epsilon }: Norm, rows: string, heads: number, barrier: boolean): void {
    const { headDim } = this.program.spec.config;
    const spec = { kind, heads, headDim, epsilon, ownWeights: weight.length > headDim };
    const name = this.program.kernels.add(headNormName(spec), spec, () => headNorm(spec, this.program.isa));
    this.add(name, [this.work(rows), this.weight(weight), this.count("rows")], barrier);
  }

  /** Projections of one input: prepares the activations once per layout they need, then multiplies. */
  project(input: string, targets: readonly Target[], rows: Counted = "rows", routing?: Routing): void {
    const linears = targets.map(({ linear }) => linear);
    this.out.push(...(this.observe?.(linears, this.work(input), this.count(rows)) ?? []));
    const inputs = this.inputsOf(linears, routing);
    this.prepare(input, [...new Set(inputs)], rows, this.rowParts(routing));
    let scratch = this.work("scratch");
    targets.forEach((target, i) => {
      const prepared = (inputs[i] as PreparedInput).to;
      this.multiply(target, prepared, rows, scratch, i === targets.length - 1);
      scratch += this.program.scratchOf(target.linear);
    });
  }

  private multiply(
    { linear, to, accumulate = false }: Target,
    prepared: string,
    rows: Counted,
    scratch: number,
    barrier: boolean,
  ): void {
    const { isa } = this.program;
    const { packing, activations, blocking } = this.program.matrix(linear);
    const { bias, cols } = linear;
    const experts = linear.experts && (rows === "slots" ? "of slots" : "of tokens");
    const spec: ProjectionSpec = {
      format: packing.format,
      cols,
      activations,
      blocking,
      accumulate,
      ...(bias === undefined ? {} : { bias: true }),
      ...(experts === undefined ? {} : { experts }),
    };
    const name = this.program.kernels.add(projectionName(spec), spec, () => projection(spec, isa));
    this.add(
      name,
      [
        this.weight(linear),
        this.work(prepared),
        this.work(to),
        4 * paddedCols(linear.rows),
        packing.tiles,
        this.count(experts === undefined ? rows : "experts"),
        blocking.tb / blocking.tu,
        ...(blocking.expand ? [scratch] : []),
        ...(bias === undefined ? [] : [this.weight(bias)]),
        ...(experts === undefined ? [] : [this.work("slotExperts")]),
        ...(experts === "of tokens" ? [this.work("slotTokens")] : []),
      ],
      barrier,
      this.program.projectionParts(linear, this.rows),
    );
  }

  private prepare(input: string, distinct: readonly PreparedInput[], rows: Counted, parts: number): void {
    const { isa, kernels } = this.program;
    distinct.forEach(({ layout, order, to }, i) => {
      const ordered = order !== undefined;
      const name = kernels.add(prepareName(layout, ordered), { layout, ordered }, () =>
        prepare(layout, isa, ordered),
      );
      const list = ordered ? [this.offsetOf(orderOf(order))] : [];
      const args = [this.work(input), this.work(to), this.count(rows), ...list];
      this.add(name, args, i === distinct.length - 1, parts);
    });
  }

  /** What each matrix of one input reads; the same object for those that read the same. */
  private inputsOf(linears: readonly Linear[], routing?: Routing): PreparedInput[] {
    const found: { readonly input: PreparedInput; readonly order: Uint32Array | undefined }[] = [];
    return linears.map((linear) => {
      const { activations, packing, order } = this.program.matrix(linear);
      const layout = activationLayout(activations, packing.format, linear.cols);
      const alike = found.filter(({ input }) => activationKey(input.layout) === activationKey(layout));
      const same = alike.find((one) => equalOrders(one.order, order));
      if (same !== undefined) return same.input;
      const to = this.program.prepared(layout, alike.length, routing);
      const input = { layout, order: order && nameOf(linear), to };
      found.push({ input, order });
      return input;
    });
  }

  private cache(layer: number): number {
    return this.bases.cache + this.program.cache.offset(`layer${layer}`);
  }

  /** q and k rotate; k and v go to the cache. */
  private append({ rope: config }: Attention, layer: number): void {
    const { kernels, isa, kv, ropes, spec: model } = this.program;
    const { pairing = "halves", rotated = 0 } = config ?? {};
    const spec: RopeSpec = { heads: model.config.heads, kv, rotated, pairing };
    const name = kernels.add(ropeName(spec), spec, () => rope(spec, isa));
    const table = config === undefined ? -1 : ropes.indexOf(config);
    assert(config === undefined || table >= 0, "a rotation without a table");
    this.add(name, [
      ...(config === undefined ? [] : [this.work("q")]),
      this.work("k"),
      this.work("v"),
      this.cache(layer),
      ...(config === undefined ? [] : [this.work(`ropeTable${table}`)]),
      this.work("positions"),
      this.work("pageOf"),
      this.work("kvScratch"),
      this.count("rows"),
    ]);
  }

  /** q and the cache → mixed. */
  private mix(block: Attention, layer: number): void {
    const { program } = this;
    const spec = program.attention(block, this.rows);
    const name = program.kernels.add(attentionName(spec), spec, () => attention(spec, program.isa));
    const args = [
      this.work("q"),
      this.work("mixed"),
      this.cache(layer),
      this.work("positions"),
      this.work("tables"),
      this.work("tableOf"),
      this.work("blocks"),
      this.work("attentionScratch"),
      this.count("blocks"),
      ...(block.sinks === undefined ? [] : [this.weight(block.sinks)]),
    ];
    this.add(name, args, true, program.parts);
  }
}
