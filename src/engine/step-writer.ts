import { type EmbedChange, embed, embedName } from "../kernels/embed.ts";
import { type Activation, gate, gateName, softcapName, softcapRows } from "../kernels/gate.ts";
import { tilesArgument } from "../kernels/records.ts";
import { score, scoreName } from "../kernels/score.ts";
import type {
  Attention,
  Block,
  Embedding,
  FeedForward,
  Linear,
  OutputHead,
  Routing,
  SharedExpert,
} from "../models/model.ts";
import { writeAppend, writeAttention } from "./attention-steps.ts";
import type { Step } from "./backend.ts";
import { writeCombine, writeRoute } from "./expert-steps.ts";
import { innerRows, type OutputKind } from "./model-program.ts";
import { writeHeadNorm, writeNorm } from "./norm-steps.ts";
import { writeProjections } from "./projection-steps.ts";
import { StepList } from "./step-list.ts";

/** Writes the steps of one forward pass: the blocks of the model in order, as kernels on named buffers. */
export class StepWriter extends StepList {
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
    return this.steps;
  }

  /** x, as a forward pass left it → logits of the rows whose output is wanted → what is wanted of them. */
  scores(kind: OutputKind): Step[] {
    const { output } = this.program.spec;
    if (output === undefined) return this.steps;
    this.output(output);
    if (kind !== "logits") this.score(output.head.rows, kind === "comparison");
    return this.steps;
  }

  private score(cols: number, compared: boolean): void {
    const { isa, kernels, comparedRows } = this.program;
    const scoreSpec = { cols, compared };
    const name = kernels.add(scoreName(scoreSpec), scoreSpec, () => score(scoreSpec, isa));
    const base = compared ? [this.logits(comparedRows)] : [];
    const results = [this.work("targets"), this.work("scores"), this.count("outputs")];
    this.add(name, [this.work("logits"), ...base, ...results]);
  }

  /** Tokens → x. */
  private embed({ table, scale, projection, positions }: Embedding): void {
    this.rowsOf(table, "tokens", projection === undefined ? "x" : "embedded", { scale });
    if (projection !== undefined) writeProjections(this, "embedded", [{ linear: projection, to: "x" }]);
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
    this.add(name, [
      ...[this.weight(linear), this.work(list), this.work(to), this.count("rows")],
      ...tilesArgument(packing),
    ]);
  }

  /** What a block takes: the residual stream, or its norm in the buffer `to`. */
  private input(block: Block, to: string, barrier = true): string {
    return this.ownInput(block, to, barrier) ?? "x";
  }

  private ownInput({ inputNorm }: Block, to: string, barrier = true): string | undefined {
    if (inputNorm === undefined) return undefined;
    writeNorm(this, inputNorm, { to, barrier });
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
      writeNorm(this, outputNorm, { from: "added", to: "x", accumulate: true });
    }
    if (streamNorm !== undefined) writeNorm(this, streamNorm, { to: "x" });
  }

  private attend(block: Attention, input: string, layer: number): void {
    const { q, k, v, o, qNorm, kNorm } = block;
    const { heads, kvHeads } = this.program.spec.config;
    writeProjections(this, input, [
      { linear: q, to: "q" },
      { linear: k, to: "k" },
      { linear: v, to: "v" },
    ]);
    if (qNorm !== undefined) writeHeadNorm(this, qNorm, "q", heads, kNorm === undefined);
    if (kNorm !== undefined) writeHeadNorm(this, kNorm, "k", kvHeads, true);
    writeAppend(this, block, layer);
    writeAttention(this, block, layer);
    this.addToStream(block, (to, accumulate) =>
      writeProjections(this, "mixed", [{ linear: o, to, accumulate }]),
    );
  }

  private feedForward(block: FeedForward, input: string): void {
    const { down, routing } = block;
    if (routing === undefined) {
      const inner = this.inner(block, input);
      this.addToStream(block, (to, accumulate) =>
        writeProjections(this, inner, [{ linear: down, to, accumulate }]),
      );
      return;
    }
    writeRoute(this, routing, input);
    const inner = this.inner(block, input, routing);
    writeProjections(this, inner, [{ linear: down, to: "slotOutputs" }], "slots", routing);
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
    writeProjections(this, input, gated ? [{ linear: gateMatrix, to: gates }, ...targets] : targets);
    const spec = { cols: up.rows, activation, gated };
    const name = kernels.add(gateName(spec), spec, () => gate(spec, isa));
    const count = this.count(routing === undefined ? "rows" : "slots");
    const args = [...(gated ? [this.work(gates)] : []), this.work(ups), count];
    this.add(name, args, true, this.rowParts(routing));
    return gated ? gates : ups;
  }

  /** What all rows pass besides their experts, and how much of it they take. */
  private share({ gate, up, down, amount }: SharedExpert, activation: Activation, input: string): void {
    writeProjections(this, input, [{ linear: amount, to: "amounts" }]);
    const inner = this.inner({ activation, gate, up }, input);
    writeProjections(this, inner, [{ linear: down, to: "shared" }]);
  }

  /** x → logits of the rows whose output is wanted. */
  private output({ norm, projection, head, softcap: cap }: OutputHead): void {
    const { isa, kernels } = this.program;
    writeNorm(this, norm, { to: "h", gather: true });
    if (projection !== undefined)
      writeProjections(this, "h", [{ linear: projection, to: "projected" }], "outputs");
    const from = projection === undefined ? "h" : "projected";
    writeProjections(this, from, [{ linear: head, to: "logits" }], "outputs");
    if (cap === undefined) return;
    const capSpec = { cols: head.rows, cap };
    const name = kernels.add(softcapName(capSpec), capSpec, () => softcapRows(capSpec, isa));
    this.add(name, [this.work("logits"), this.count("outputs")]);
  }
}
