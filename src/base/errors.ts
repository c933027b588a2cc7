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
