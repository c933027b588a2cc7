import { AbortedError, UsageError } from "../base/errors.ts";
import { type AddedTokens, withoutMarks } from "./added-tokens.ts";
import type { Encoder } from "./encoder.ts";
import { TextSlices } from "./text-slices.ts";
import type { DecodeOptions, EncodeLongOptions, EncodeOptions, Tokenizer } from "./tokenizer.ts";
import type { Vocabulary } from "./vocabulary.ts";

/** A space put before text, so that a word is the same token at the start of a text as within it. */
export interface SpacePrefix {
  /** As normalized text spells it. Empty if the normalizer puts it there itself. */
  readonly text: string;
  /** Before the first section only, or before every section (each stretch of text between added tokens). */
  readonly sections: "first" | "every";
  /** Not where the section starts with it already. */
  readonly unlessPresent: boolean;
}

export interface PieceTokenizerParts {
  readonly vocabulary: Vocabulary;
  readonly encoder: Encoder;
  readonly addedTokens: AddedTokens;
  readonly prefix: SpacePrefix | undefined;
  readonly bosId: number | undefined;
  readonly eosId: number | undefined;
  readonly eosIds: ReadonlySet<number>;
  readonly addsBos: boolean;
  readonly addsEos: boolean;
}

/** Half a surrogate pair: no text, and no UTF-8. */
const LONE_SURROGATE = /\p{Surrogate}/gu;

/** After how long the event loop gets its turn (milliseconds). */
const BUSY = 8;

/** A vocabulary of pieces, and an encoder that divides text into them. */
export class PieceTokenizer implements Tokenizer {
  readonly bosId: number | undefined;
  readonly eosId: number | undefined;
  readonly eosIds: ReadonlySet<number>;
  readonly addsBos: boolean;
  readonly addsEos: boolean;
  private readonly slices: TextSlices;

  constructor(private readonly parts: PieceTokenizerParts) {
    this.bosId = parts.bosId;
    this.eosId = parts.eosId;
    this.eosIds = parts.eosIds;
    this.addsBos = parts.addsBos;
    this.addsEos = parts.addsEos;
    this.slices = new TextSlices(parts.vocabulary);
  }

  get vocabularySize(): number {
    return this.parts.vocabulary.size;
  }

  encode(text: string, options: EncodeOptions = {}): number[] {
    const ids: number[] = [];
    for (const part of this.encodeParts(text, options)) append(ids, part);
    return ids;
  }

  async encodeLong(text: string, options: EncodeLongOptions = {}): Promise<number[]> {
    const ids: number[] = [];
    let resumed = performance.now();
    for (const part of this.encodeParts(text, options)) {
      if (options.signal?.aborted) throw new AbortedError();
      append(ids, part);
      if (performance.now() - resumed < BUSY) continue;
      await new Promise((resolve) => setTimeout(resolve, 0));
      resumed = performance.now();
    }
    if (options.signal?.aborted) throw new AbortedError();
    return ids;
  }

  *encodeParts(text: string, options: EncodeOptions = {}): Generator<readonly number[]> {
    const { addedTokens, encoder } = this.parts;
    if (options.addBos ?? this.addsBos) yield [required(this.bosId, "addBos")];
    let first = true;
    const parseSpecial = options.parseSpecial ?? false;
    for (const section of addedTokens.split(text.replace(LONE_SURROGATE, "\ufffd"), parseSpecial)) {
      if (section.token !== undefined) {
        yield [section.token];
      } else {
        const plain = parseSpecial ? withoutMarks(section.text) : section.text;
        const normalized = this.withPrefix(encoder.normalize(plain), first);
        for (const slice of this.slices.of(normalized)) yield* encoder.ids(slice);
      }
      first = false;
    }
    if (options.addEos) yield [required(this.eosId, "addEos")];
  }

  literal(text: string): string {
    return this.parts.addedTokens.mark(text);
  }

  decode(ids: ArrayLike<number>, options: DecodeOptions = {}): string {
    const { vocabulary, prefix } = this.parts;
    const chunks: Uint8Array[] = [];
    let prefixed = prefix !== undefined;
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i] as number;
      const added = vocabulary.kind(id) === "control" || vocabulary.kind(id) === "user";
      if (added) prefixed ||= prefix?.sections === "every";
      if (this.isSpecial(id) && (options.skipSpecial || !added)) continue;
      const bytes = vocabulary.bytes(id);
      const strip = prefixed && !added && bytes[0] === 0x20;
      chunks.push(strip ? bytes.subarray(1) : bytes);
      if (!added) prefixed = false;
    }
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(join(chunks));
  }

  tokenBytes(id: number): Uint8Array {
    return this.parts.vocabulary.bytes(id);
  }

  isSpecial(id: number): boolean {
    const kind = this.parts.vocabulary.kind(id);
    return kind === "control" || kind === "unused";
  }

  private withPrefix(normalized: string, first: boolean): string {
    const { prefix } = this.parts;
    if (prefix === undefined || normalized === "") return normalized;
    if (prefix.sections === "first" && !first) return normalized;
    return prefix.unlessPresent && normalized.startsWith(prefix.text) ? normalized : prefix.text + normalized;
  }
}

function required(id: number | undefined, option: string): number {
  if (id !== undefined) return id;
  throw new UsageError(`${option}: this model has no such token`);
}

function append(ids: number[], more: readonly number[]): void {
  for (const id of more) ids.push(id);
}

function join(chunks: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(chunks.reduce((length, chunk) => length + chunk.length, 0));
  let offset = 0;
  for (const chunk of chunks) {
    joined.set(chunk, offset);
    offset += chunk.length;
  }
  return joined;
}
