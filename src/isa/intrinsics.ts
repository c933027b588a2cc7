/**
 * The lines that declare intrinsics. gcc takes 0.3 s to read <immintrin.h>, as it has those of all instruction sets; the
 * parts of it that are wanted (each after those that it needs) ask for no more than to be told that they are read for it.
 */
export function intrinsics(...parts: readonly string[]): string[] {
  return [
    "#ifdef __clang__",
    "#include <immintrin.h>",
    "#else",
    "#define _IMMINTRIN_H_INCLUDED",
    ...parts.map((part) => `#include <${part}.h>`),
    "#endif",
  ];
}
