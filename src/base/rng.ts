/**
 * Seeded pseudo-random numbers, the same on every machine: xoshiro128** (Blackman and Vigna 2018), its state
 * filled by splitmix32 from the seed.
 */
export class Rng {
  private readonly state = new Uint32Array(4);

  constructor(seed: number) {
    let z = seed >>> 0;
    for (let i = 0; i < 4; i++) {
      z = (z + 0x9e3779b9) >>> 0;
      let x = z;
      x = Math.imul(x ^ (x >>> 16), 0x21f0aaad);
      x = Math.imul(x ^ (x >>> 15), 0x735a2d97);
      this.state[i] = x ^ (x >>> 15);
    }
  }

  /** Uniform unsigned 32-bit integer. */
  u32(): number {
    const s = this.state;
    const [s0, s1, s2, s3] = s as unknown as [number, number, number, number];
    const scrambled = Math.imul(rotateLeft(Math.imul(s1, 5), 7), 9) >>> 0;
    const shifted = s1 << 9;
    s[2] = s2 ^ s0;
    s[3] = s3 ^ s1;
    s[1] = s1 ^ (s2 ^ s0);
    s[0] = s0 ^ (s3 ^ s1);
    s[2] = (s[2] as number) ^ shifted;
    s[3] = rotateLeft(s[3] as number, 11);
    return scrambled;
  }

  /** Uniform in [0, 1), 32 random bits. */
  uniform(): number {
    return this.u32() / 2 ** 32;
  }

  /** Uniform integer in [0, bound). */
  integer(bound: number): number {
    return Math.floor(this.uniform() * bound);
  }

  /** Standard normal (Box–Muller; one of the pair is dropped to keep the generator stateless beyond its words). */
  normal(): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()));
    return radius * Math.cos(2 * Math.PI * this.uniform());
  }
}

function rotateLeft(x: number, bits: number): number {
  return (x << bits) | (x >>> (32 - bits));
}
