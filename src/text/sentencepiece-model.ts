import { ByteReader } from "../base/bytes.ts";
import { FileFormatError } from "../base/errors.ts";

/** A piece of a SentencePiece model: text, score, and its type (as in `tokenizer.ggml.token_type`). */
export interface SentencePiece {
  readonly text: string;
  readonly score: number;
  readonly type: number;
}

/** What tokenizing needs of a SentencePiece model. */
export interface SentencePieceModel {
  readonly pieces: readonly SentencePiece[];
  readonly algorithm: "unigram" | "bpe";
  readonly unknownId: number;
  /** −1: none. */
  readonly bosId: number;
  readonly eosId: number;
  readonly charsmap: Uint8Array;
  readonly addsPrefix: boolean;
  readonly mergesSpaces: boolean;
}

/** A field of a protocol buffer: a varint, or bytes (8, 4 or any number). */
interface Field {
  readonly number: number;
  readonly integer?: bigint;
  readonly bytes?: Uint8Array;
}

const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
const NORMAL = 1;

/**
 * Reads a `tokenizer.model`: SentencePiece's `ModelProto`, of which fields 1 (pieces), 2 (how it was trained) and 3
 * (the normalizer) matter. Throws `FileFormatError`.
 */
export function readSentencePieceModel(file: string, bytes: Uint8Array): SentencePieceModel {
  const pieces: SentencePiece[] = [];
  let trainer: ReadonlyMap<number, Field> = new Map();
  let normalizer: ReadonlyMap<number, Field> = new Map();
  for (const field of fieldsOf(file, bytes)) {
    const part = field.bytes ?? new Uint8Array(0);
    if (field.number === 1) pieces.push(readPiece(file, part));
    if (field.number === 2) trainer = byNumber(file, part);
    if (field.number === 3) normalizer = byNumber(file, part);
  }
  const algorithm = integerAt(trainer, 3, 1);
  if (algorithm !== 1 && algorithm !== 2) {
    throw new FileFormatError(
      file,
      "trainer_spec.model_type",
      `is ${algorithm}, neither unigram (1) nor BPE (2)`,
    );
  }
  return {
    pieces,
    algorithm: algorithm === 1 ? "unigram" : "bpe",
    unknownId: integerAt(trainer, 40, 0),
    bosId: integerAt(trainer, 41, 1),
    eosId: integerAt(trainer, 42, 2),
    charsmap: normalizer.get(2)?.bytes ?? new Uint8Array(0),
    addsPrefix: integerAt(normalizer, 3, 1) !== 0,
    mergesSpaces: integerAt(normalizer, 4, 1) !== 0,
  };
}

function readPiece(file: string, bytes: Uint8Array): SentencePiece {
  const fields = byNumber(file, bytes);
  const score = fields.get(2)?.bytes;
  return {
    text: utf8.decode(fields.get(1)?.bytes ?? new Uint8Array(0)),
    score: score === undefined ? 0 : new ByteReader(file, score).f32("pieces.score"),
    type: integerAt(fields, 3, NORMAL),
  };
}

function byNumber(file: string, bytes: Uint8Array): ReadonlyMap<number, Field> {
  return new Map([...fieldsOf(file, bytes)].map((field) => [field.number, field]));
}

function integerAt(fields: ReadonlyMap<number, Field>, number: number, fallback: number): number {
  const { integer } = fields.get(number) ?? {};
  return integer === undefined ? fallback : Number(BigInt.asIntN(32, integer));
}

function* fieldsOf(file: string, bytes: Uint8Array): Generator<Field> {
  const reader = new ByteReader(file, bytes);
  while (reader.remaining > 0) {
    const tag = Number(readVarint(reader));
    const number = Math.floor(tag / 8);
    switch (tag % 8) {
      case 0:
        yield { number, integer: readVarint(reader) };
        break;
      case 1:
        yield { number, bytes: reader.slice("field", 8) };
        break;
      case 2:
        yield { number, bytes: reader.slice("field", Number(readVarint(reader))) };
        break;
      case 5:
        yield { number, bytes: reader.slice("field", 4) };
        break;
      default:
        throw new FileFormatError(file, "field", "is not one of a protocol buffer");
    }
  }
}

/** Up to 64 bits, 7 in a byte, the lowest first. */
function readVarint(reader: ByteReader): bigint {
  let value = 0n;
  for (let shift = 0n; shift < 70n; shift += 7n) {
    const byte = reader.u8("field");
    value |= BigInt(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  throw new FileFormatError(reader.file, "field", "is a number of more than 64 bits");
}
