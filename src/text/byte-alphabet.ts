/**
 * GPT-2's spelling of bytes as characters, in which byte-level vocabularies are written: a printable Latin-1 byte
 * is its own character, the others are U+0100 and up in order. So a space is "Ġ" and a newline "Ċ".
 */
export const CHAR_OF_BYTE: readonly string[] = spell();

const BYTE_OF_CHAR: ReadonlyMap<string, number> = new Map(CHAR_OF_BYTE.map((char, byte) => [char, byte]));

const utf8 = new TextEncoder();

function spell(): string[] {
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);
    return String.fromCharCode(printable ? byte : next++);
  });
}

/** The bytes that `spelling` stands for; characters outside the alphabet stand for their own UTF-8. */
export function bytesOfSpelling(spelling: string): Uint8Array {
  const bytes: number[] = [];
  for (const char of spelling) {
    const byte = BYTE_OF_CHAR.get(char);
    if (byte === undefined) bytes.push(...utf8.encode(char));
    else bytes.push(byte);
  }
  return Uint8Array.from(bytes);
}
