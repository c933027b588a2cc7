// @ts-check

/**
 * A signal that Ctrl-C and SIGTERM fire, so that a bench can save what it has found; its exit status says so.
 *
 * @returns {AbortSignal}
 */
export function interruptSignal() {
  const interrupt = new AbortController();
  for (const [name, number] of /** @type {const} */ ([
    ["SIGINT", 2],
    ["SIGTERM", 15],
  ])) {
    process.on(name, () => {
      process.exitCode = 128 + number;
      interrupt.abort();
    });
  }
  return interrupt.signal;
}
