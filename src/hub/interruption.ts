/** A request that came to nothing this time, but may succeed when it is made again. */
export class Interruption extends Error {
  constructor(
    message: string,
    readonly details: {
      /** What the server asks to wait (ms). */
      readonly retryAfterMs?: number | undefined;
      /** No server answers at all. */
      readonly unreachable?: boolean;
      readonly cause?: unknown;
    } = {},
  ) {
    super(message, { cause: details.cause });
  }
}

const UNREACHABLE: Readonly<Record<string, string>> = {
  ENOTFOUND: "there is no machine of that name (or no network)",
  EAI_AGAIN: "the name cannot be looked up (no network?)",
  ECONNREFUSED: "the connection was refused",
  ENETUNREACH: "there is no way to that network",
  EHOSTUNREACH: "there is no way to that machine",
};

const BROKEN: Readonly<Record<string, string>> = {
  ECONNRESET: "the connection broke",
  EPIPE: "the connection broke",
  UND_ERR_SOCKET: "the connection broke",
  UND_ERR_CONNECT_TIMEOUT: "nobody answers",
  ETIMEDOUT: "nobody answers",
};

/** What an error that `fetch` or a body threw means. */
export function interruptionOf(error: unknown): Interruption {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  for (const known of [error, cause]) if (known instanceof Interruption) return known;
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
  const message = cause instanceof Error ? cause.message : String(cause);
  return new Interruption(UNREACHABLE[code] ?? BROKEN[code] ?? message, {
    unreachable: code in UNREACHABLE,
    cause: error,
  });
}
