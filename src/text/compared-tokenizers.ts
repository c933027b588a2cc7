import { UnsupportedError } from "../base/errors.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** Words, code, numbers, several scripts, marks and emoji; one space between words, none at the ends. */
const PROBES = [
  "The quick brown fox's 1234567 jumps, 3.14 times!",
  "for (let i = 0; i < n; i++) {\n\tsum += a[i] * 0x1F;\n}\nreturn sum;",
  "Ünïcödé straße, naïve café — “quotes” … ½ ﬁ Ａ",
  "שלום עולם مرحبا بالعالم नमस्ते दुनिया",
  "你好，世界。こんにちは 안녕하세요 👩‍👩‍👧 🇩🇪 🙂",
];

/** Throws `UnsupportedError` where a tokenizer that was written down would divide text otherwise than the one it is of. */
export function expectSameIds(file: string, tokenizer: Tokenizer, written: Tokenizer): void {
  for (const text of PROBES) {
    const [ids, found] = [tokenizer.encode(text), written.encode(text)];
    if (ids.length === found.length && ids.every((id, i) => id === found[i])) continue;
    const at = ids.findIndex((id, i) => id !== found[i]);
    const near = JSON.stringify(tokenizer.decode(ids.slice(Math.max(0, at - 1), at + 2)));
    throw new UnsupportedError(
      `${file}: the tokenizer would divide text otherwise in the other form, for instance near ${near}`,
    );
  }
}
