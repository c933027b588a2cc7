/**
 * Joins the bytes of successive tokens to text. A character that ends in a later piece waits for it; malformed
 * sequences become U+FFFD, as `TextDecoder` does for the whole. A byte order mark is kept.
 */
export class Utf8Stream {
  private readonly decoder = new TextDecoder("utf-8", { ignoreBOM: true });

  /** The text that `bytes` complete, perhaps none. */
  push(bytes: Uint8Array): string {
    return this.decoder.decode(bytes, { stream: true });
  }

  /** What is left at the end: U+FFFD if the last character is incomplete. The stream can then be used again. */
  flush(): string {
    return this.decoder.decode();
  }
}
