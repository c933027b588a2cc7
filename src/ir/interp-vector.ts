import { fusedMultiplyAdd } from "./fma.ts";
import { nothing, type Row } from "./interp-machine.ts";
import { everyByte, excessBits, VECTOR_MEMORY_ROWS } from "./interp-memory.ts";
import type { VectorOpName } from "./ops.ts";

/** Adding this to an f64 below 2^51 leaves the nearest integer, ties to even, in the low bits. */
const TO_INTEGER = 1.5 * 2 ** 52;

/** A move of registers that keeps every bit. */
const move: Row =
  ({ i32, a, r, lanes }) =>
  () => {
    for (let i = 0; i < lanes; i++) i32[r + i] = i32[a + i]!;
  };

const splat: Row =
  ({ i32, a, r, lanes }) =>
  () => {
    i32.fill(i32[a]!, r, r + lanes);
  };

const select: Row =
  ({ i32, a, b, c, r, lanes }) =>
  () => {
    for (let i = 0; i < lanes; i++) i32[r + i] = i32[a + i] !== 0 ? i32[b + i]! : i32[c + i]!;
  };

const or: Row =
  ({ i32, a, b, r, lanes }) =>
  () => {
    for (let i = 0; i < lanes; i++) i32[r + i] = i32[a + i]! | i32[b + i]!;
  };

const vfma: Row = ({ f32, a, b, c, r, lanes, fused }) =>
  fused
    ? () => {
        for (let i = 0; i < lanes; i++) f32[r + i] = fusedMultiplyAdd(f32[a + i]!, f32[b + i]!, f32[c + i]!);
      }
    : () => {
        for (let i = 0; i < lanes; i++) f32[r + i] = Math.fround(f32[a + i]! * f32[b + i]!) + f32[c + i]!;
      };

const vftoi: Row = (o) => {
  const { f32, i32, a, r, lanes } = o;
  return () => {
    for (let i = 0; i < lanes; i++) {
      const value = f32[a + i]!;
      if (!(Math.abs(value) < 2 ** 31)) o.fail(`lane ${i} holds ${value}`);
      i32[r + i] = value + TO_INTEGER - TO_INTEGER;
    }
  };
};

const vfpermute: Row = (o) => {
  const { i32, a, r, lanes } = o;
  const from = o.list("lanes");
  return () => {
    for (let i = 0; i < lanes; i++) i32[r + i] = i32[a + from[i]!]!;
  };
};

/** The 16-bit words of a register, two to a lane. */
const pairs = (i32: Int32Array, at: number, lanes: number) =>
  new Uint16Array(i32.buffer, i32.byteOffset + 4 * at, 2 * lanes);

const vipairadd: Row = ({ i32, a, b, r, lanes }) => {
  const [left, right, sums] = [a, b, r].map((at) => pairs(i32, at, lanes)) as [
    Uint16Array,
    Uint16Array,
    Uint16Array,
  ];
  return () => {
    for (let k = 0; k < 2 * lanes; k++) sums[k] = left[k]! + right[k]!;
  };
};

/** A table in as many registers as there are. */
const pairLookup: (registers: 1 | 2) => Row =
  (registers) =>
  ({ i32, a, b, c, r, lanes }) => {
    const tables = [a, b].slice(0, registers).map((at) => pairs(i32, at, lanes));
    const [index, result] = [pairs(i32, registers === 1 ? b : c, lanes), pairs(i32, r, lanes)];
    return () => {
      const table = tables.flatMap((part) => [...part]);
      const found = [...index].map((word) => table[word % table.length]!);
      result.set(found);
    };
  };

/** Four bytes at once: what a shift brings in from the neighbouring byte is masked off. */
const vfield: Row = (o) => {
  const { i32, a, r, lanes } = o;
  const shift = o.number("shift");
  const mask = everyByte(o.number("mask"));
  return () => {
    for (let i = 0; i < lanes; i++) i32[r + i] = (i32[a + i]! >>> shift) & mask;
  };
};

const vu8flip: Row = ({ u8, a, r, lanes }) => {
  return () => {
    for (let k = 0; k < 4 * lanes; k++) u8[4 * r + k] = u8[4 * a + k]! ^ 128;
  };
};

const vu8mean: Row = ({ u8, a, b, r, lanes }) => {
  return () => {
    for (let k = 0; k < 4 * lanes; k++) u8[4 * r + k] = (u8[4 * a + k]! + u8[4 * b + k]! + 1) >> 1;
  };
};

const vu8add: Row = ({ u8, a, b, r, lanes }) => {
  return () => {
    for (let k = 0; k < 4 * lanes; k++) u8[4 * r + k] = u8[4 * a + k]! + u8[4 * b + k]!;
  };
};

const vu8lookup: Row = (o) => {
  const { u8, a, b, r, lanes } = o;
  return () => {
    for (let k = 0; k < 4 * lanes; k++) {
      const index = u8[4 * b + k]!;
      if (index >= 16) o.fail(`byte ${k} of the index is ${index}`);
      u8[4 * r + k] = u8[4 * a + (k & ~15) + index]!;
    }
  };
};

const vlookup: Row = (o) => {
  const { u8, a, r, lanes } = o;
  const table = o.list("table");
  return () => {
    for (let k = 0; k < 4 * lanes; k++) {
      const index = u8[4 * a + k]!;
      const value = table[index] ?? o.fail(`byte ${k} of the index is ${index}`);
      u8[4 * r + k] = value;
    }
  };
};

const vbyteof: Row = (o) => {
  const { i32, u8, a, r, lanes, dotOrder } = o;
  const index = o.number("index");
  return () => {
    for (let i = 0; i < lanes; i++) i32[r + i] = u8[4 * a + dotOrder[4 * i + index]!]!;
  };
};

const vbytejoin: Row = (o) => {
  const { i32, u8, a, b, r, lanes, dotOrder } = o;
  const [index, shift] = [o.number("index"), o.number("shift")];
  return () => {
    for (let i = 0; i < lanes; i++) {
      const at = dotOrder[4 * i + index]!;
      const high = (u8[4 * b + at]! << 24) >> 24;
      i32[r + i] = u8[4 * a + at]! + high * 2 ** shift;
    }
  };
};

const vbytes: Row = (o) => {
  const { i32, u8, a, r, lanes, dotOrder } = o;
  const bits = o.number("bits");
  const excess = excessBits(bits);
  return () => {
    for (let i = 0; i < lanes; i++)
      if ((i32[a + i]! & excess) !== 0) o.fail(`a byte of lane ${i} needs more than ${bits} bits`);
    for (let k = 0; k < 4 * lanes; k++) u8[4 * r + dotOrder[k]!] = u8[4 * a + k]!;
  };
};

const vfsum: Row = ({ f32, a, r, lanes }) => {
  const sums = new Float32Array(lanes);
  return () => {
    for (let i = 0; i < lanes; i++) sums[i] = f32[a + i]!;
    for (let half = lanes >> 1; half > 0; half >>= 1)
      for (let i = 0; i < half; i++) sums[i] = sums[i]! + sums[i + half]!;
    f32[r] = sums[0]!;
  };
};

const vfmaxlane: Row = (o) => {
  const { f32, a, r, lanes } = o;
  return () => {
    let largest = Number.NEGATIVE_INFINITY;
    for (let i = 0; i < lanes; i++) {
      const value = f32[a + i]!;
      if (Number.isNaN(value)) o.fail(`lane ${i} is NaN`);
      largest = Math.max(largest, value);
    }
    f32[r] = largest;
  };
};

/** Sums of open chains are i32, as they are when closed. */
const vsumjoin: Row = (o) => {
  const { i32, a, b, r, lanes } = o;
  const shift = o.number("shift");
  return () => {
    for (let i = 0; i < lanes; i++) {
      const high = i32[b + i]!;
      if (high & (2 ** shift - 1)) o.fail(`lane ${i} of the second sum is ${high}`);
      i32[r + i] = i32[a + i]! + (high >> shift);
    }
  };
};

const vsumpair: Row = (o) => {
  const { i32, a, b, r, lanes } = o;
  const left = 16 - o.number("shift");
  return () => {
    for (let i = 0; i < lanes; i++) {
      const high = (i32[b + i]! << left) & ~0xffff;
      i32[r + i] = (i32[a + i]! & 0xffff) | high;
    }
  };
};

/** The meaning of every vector op. Storing into `f32` rounds, storing into `i32` wraps. */
export const VECTOR_ROWS: { readonly [N in VectorOpName]: Row } = {
  ...VECTOR_MEMORY_ROWS,
  vfsplat: splat,
  visplat: splat,
  vfconst: (o) => {
    o.f32.fill(o.number("value"), o.r, o.r + o.lanes);
    return nothing;
  },
  viconst: (o) => {
    o.i32.fill(o.number("value"), o.r, o.r + o.lanes);
    return nothing;
  },
  viota: ({ i32, r, lanes }) => {
    for (let i = 0; i < lanes; i++) i32[r + i] = i;
    return nothing;
  },

  vfadd:
    ({ f32, a, b, r, lanes }) =>
    () => {
      for (let i = 0; i < lanes; i++) f32[r + i] = f32[a + i]! + f32[b + i]!;
    },
  vfsub:
    ({ f32, a, b, r, lanes }) =>
    () => {
      for (let i = 0; i < lanes; i++) f32[r + i] = f32[a + i]! - f32[b + i]!;
    },
  vfmul:
    ({ f32, a, b, r, lanes }) =>
    () => {
      for (let i = 0; i < lanes; i++) f32[r + i] = f32[a + i]! * f32[b + i]!;
    },
  vfdiv:
    ({ f32, a, b, r, lanes }) =>
    () => {
      for (let i = 0; i < lanes; i++) f32[r + i] = f32[a + i]! / f32[b + i]!;
    },
  vfma,
  vfmin:
    ({ f32, i32, a, b, r, lanes }) =>
    () => {
      for (let i = 0; i < lanes; i++) i32[r + i] = f32[a + i]! < f32[b + i]! ? i32[a + i]! : i32[b + i]!;
    },
  vfmax:
    ({ f32, i32, a, b, r, lanes }) =>
    () => {
      for (let i = 0; i < lanes; i++) i32[r + i] = f32[a + i]! > f32[b + i]! ? i32[a + i]! : i32[b + i]!;
    },
  vfabs:
    ({ i32, a, r, lanes }) =>
    () => {
      for (let i = 0; i < lanes; i++) i32[r + i] = i32[a + i]! & 0x7fffffff;
    },
  vfsqrt:
    ({ f32, a, r, lanes }) =>
    () => {
      for (let i = 0; i < lanes; i++) f32[r + i] = Math.sqrt(f32[a + i]!);
    },
  vftoi,
  vitof:
    ({ f32, i32, a, r, lanes }) =>
    () => {
      for (let i = 0; i < lanes; i++) f32[r + i] = i32[a + i]!;
    },
  vftobits: move,
  vbitstof: move,

  viadd:
    ({ i32, a, b, r, lanes }) =>
    () => {
      for (let i = 0; i < lanes; i++) i32[r + i] = i32[a + i]! + i32[b + i]!;
    },
  visub:
    ({ i32, a, b, r, lanes }) =>
    () => {
      for (let i = 0; i < lanes; i++) i32[r + i] = i32[a + i]! - i32[b + i]!;
    },
  vimul:
    ({ i32, a, b, r, lanes }) =>
    () => {
      for (let i = 0; i < lanes; i++) i32[r + i] = Math.imul(i32[a + i]!, i32[b + i]!);
    },
  vipairdot:
    ({ i32, a, b, c, r, lanes }) =>
    () => {
      for (let i = 0; i < lanes; i++) {
        const [x, y] = [i32[a + i]!, i32[b + i]!];
        i32[r + i] = ((x << 16) >> 16) * ((y << 16) >> 16) + (x >> 16) * (y >> 16) + i32[c + i]!;
      }
    },
  viand:
    ({ i32, a, b, r, lanes }) =>
    () => {
      for (let i = 0; i < lanes; i++) i32[r + i] = i32[a + i]! & i32[b + i]!;
    },
  vior: or,
  vixor:
    ({ i32, a, b, r, lanes }) =>
    () => {
      for (let i = 0; i < lanes; i++) i32[r + i] = i32[a + i]! ^ i32[b + i]!;
    },
  vishl: (o) => {
    const { i32, a, r, lanes } = o;
    const count = o.number("count");
    return () => {
      for (let i = 0; i < lanes; i++) i32[r + i] = i32[a + i]! << count;
    };
  },
  vishr: (o) => {
    const { i32, a, r, lanes } = o;
    const count = o.number("count");
    return () => {
      for (let i = 0; i < lanes; i++) i32[r + i] = i32[a + i]! >>> count;
    };
  },

  vflt:
    ({ f32, i32, a, b, r, lanes }) =>
    () => {
      for (let i = 0; i < lanes; i++) i32[r + i] = f32[a + i]! < f32[b + i]! ? -1 : 0;
    },
  vilt:
    ({ i32, a, b, r, lanes }) =>
    () => {
      for (let i = 0; i < lanes; i++) i32[r + i] = i32[a + i]! < i32[b + i]! ? -1 : 0;
    },
  vieq:
    ({ i32, a, b, r, lanes }) =>
    () => {
      for (let i = 0; i < lanes; i++) i32[r + i] = i32[a + i]! === i32[b + i]! ? -1 : 0;
    },
  vfselect: select,
  viselect: select,
  vfpermute,

  vipairadd,
  vipairlookup: pairLookup(1),
  vipairlookup2: pairLookup(2),
  vfield,
  vu8flip,
  vu8mean,
  vu8add,
  vu8lookup,
  vlookup,
  vbyteof,
  vbytejoin,
  vbytes,
  vsumjoin,
  vsumpair,

  vfsum,
  vfmaxlane,
  visum:
    ({ i32, a, r, lanes }) =>
    () => {
      let sum = 0;
      for (let i = 0; i < lanes; i++) sum += i32[a + i]!;
      i32[r] = sum;
    },
};
