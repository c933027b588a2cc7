/**
 * One class per failure a caller can act on. Every error thrown on purpose is a `QigenError`; `code` is stable
 * and meant for programs, `message` says what failed, where, and what to do about it.
 */
export class QigenError extends Error {
  constructor(
    readonly code: string,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** A model file (GGUF, safetensors, config) that breaks its format or a stated limit. Names the file and the field. */
export class FileFormatError extends QigenError {
  constructor(
    readonly file: string,
    readonly field: string,
    problem: string,
  ) {
    super("FILE_FORMAT", `${file}: ${field}: ${problem}`);
  }
}

/** A file that cannot be opened, read or written (missing, a directory, no permission, no space). */
export class FileAccessError extends QigenError {
  constructor(
    readonly file: string,
    problem: string,
    options?: ErrorOptions,
  ) {
    super("FILE_ACCESS", `${file}: ${problem}`, options);
  }
}

/** A well-formed file that asks for something this version does not have (architecture, tensor type, tokenizer). */
export class UnsupportedError extends QigenError {
  constructor(message: string) {
    super("UNSUPPORTED", message);
  }
}

/** The machine lacks what was asked for (ISA, compiler, memory); the message says what would work instead. */
export class MachineError extends QigenError {
  constructor(message: string, options?: ErrorOptions) {
    super("MACHINE", message, options);
  }
}

/** A server that cannot be reached, stops answering, or sends something else than it announced. */
export class NetworkError extends QigenError {
  constructor(
    readonly url: string,
    problem: string,
    options?: ErrorOptions,
  ) {
    super("NETWORK", `${url}: ${problem}`, options);
  }
}

/**
 * What a model repository does not give: it, its revision or file is not there ("missing"), its terms must be accepted
 * first ("gated"), this user may not read it ("denied"), it is not in the cache of a machine that is offline ("offline"),
 * or it has a name that would lead out of the cache ("unsafe").
 */
export class RepositoryError extends QigenError {
  constructor(
    readonly repository: string,
    readonly reason: "missing" | "gated" | "denied" | "offline" | "unsafe",
    problem: string,
    options?: ErrorOptions,
  ) {
    super("REPOSITORY", `${repository}: ${problem}`, options);
  }
}

/** An argument outside its documented range, or a call in the wrong state (busy, disposed). */
export class UsageError extends QigenError {
  constructor(message: string) {
    super("USAGE", message);
  }
}

/** The caller's `AbortSignal` fired. */
export class AbortedError extends QigenError {
  constructor(message = "aborted") {
    super("ABORTED", message);
  }
}

/** Broken invariant of our own: always a bug in qigen, never the caller's fault. */
export class InternalError extends QigenError {
  constructor(message: string) {
    super("INTERNAL", `internal error: ${message}`);
  }
}
