const utf8 = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/**
 * SentencePiece's precompiled normalizer: a table of byte sequences and what replaces each. The sequences are a trie
 * in a double array of 32-bit units (Darts-clone): bits 0–7 are the byte that leads to a node (bit 31 is clear), bit
 * 8 says that a sequence ends here, bits 10–30 (times 256 where bit 9 is set) where its children are. A leaf's unit
 * is an offset into the replacements, which end with a zero byte.
 */
export class Charsmap {
  private constructor(
    private readonly units: Uint32Array,
    private readonly replacements: Uint8Array,
  ) {}

  /** From the length of the units in bytes, the units, the replacements; `undefined` if they cannot be that. */
  static parse(bytes: Uint8Array): Charsmap | undefined {
    if (bytes.length < 4) return undefined;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const length = view.getUint32(0, true);
    if (length % 4 !== 0 || length === 0 || length > bytes.length - 4) return undefined;
    const units = Uint32Array.from({ length: length / 4 }, (_, i) => view.getUint32(4 + 4 * i, true));
    return new Charsmap(units, bytes.slice(4 + length));
  }

  /** From left to right, the longest sequence that the table has is replaced. */
  normalize(text: string): string {
    const bytes = utf8.encode(text);
    let normalized = "";
    let kept = 0;
    for (let at = 0; at < bytes.length; ) {
      const match = this.longestAt(bytes, at);
      if (match === undefined) {
        at += sequenceLength(bytes[at] as number);
        continue;
      }
      normalized += decoder.decode(bytes.subarray(kept, at)) + this.replacement(match.offset);
      at = match.end;
      kept = at;
    }
    return kept === 0 ? text : normalized + decoder.decode(bytes.subarray(kept));
  }

  private longestAt(
    bytes: Uint8Array,
    start: number,
  ): { readonly offset: number; readonly end: number } | undefined {
    let longest: { offset: number; end: number } | undefined;
    let node = childrenOf(this.units[0] as number);
    for (let at = start; at < bytes.length; at++) {
      const byte = bytes[at] as number;
      node ^= byte;
      const unit = this.units[node];
      if (unit === undefined || byte === 0 || (unit & 0x800000ff) !== byte) break;
      node ^= childrenOf(unit);
      const leaf = this.units[node];
      if ((unit & 0x100) !== 0 && leaf !== undefined) longest = { offset: leaf & 0x7fffffff, end: at + 1 };
    }
    return longest;
  }

  private replacement(offset: number): string {
    const end = this.replacements.indexOf(0, offset);
    return decoder.decode(this.replacements.subarray(offset, end < 0 ? undefined : end));
  }
}

function childrenOf(unit: number): number {
  return (unit >>> 10) << ((unit & 0x200) >>> 6);
}

/** Bytes of the UTF-8 sequence that starts with `byte`. */
function sequenceLength(byte: number): number {
  return byte < 0x80 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
}
