import { byteOfPiece } from "./vocabulary.ts";

const utf8 = new TextEncoder();

/** Spells characters that have no piece with the pieces of their bytes, `<0x41>`. */
export class ByteFallback {
  /** Id of the piece for each byte; −1 where there is none. */
  private readonly ids = new Int32Array(256).fill(-1);

  /** @param pieces piece → id, of which those of bytes are taken */
  constructor(pieces: Iterable<readonly [string, number]>) {
    for (const [text, id] of pieces) {
      const byte = byteOfPiece(text);
      if (byte !== undefined) this.ids[byte] = id;
    }
  }

  /** The ids of the text's bytes; `undefined` if one of them has no piece. */
  spell(text: string): readonly number[] | undefined {
    const ids = Array.from(utf8.encode(text), (byte) => this.ids[byte] as number);
    return ids.every((id) => id >= 0) ? ids : undefined;
  }
}
