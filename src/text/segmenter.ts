/** Divides pre-tokens into pieces: byte-pair merges, the likeliest division, or the longest pieces first. */
export interface Segmenter {
  /** The ids of a pre-token; yields nothing after every few milliseconds of work. */
  segment(preToken: string): Generator<readonly [], readonly number[]>;
}

/** Steps of such work (characters, merges) between two pauses. */
export const STEPS = 16384;
