// What can go wrong, as values: a stable code, an exit code, one sentence of what
// happened and one of what to do. Any room of lib may throw them; cli shows them.

/** 1 found wrong, 2 usage or input, 3 privilege or kernel, 4 not loaded or schema, 5 unsafe. */
export type FailureExitCode = 1 | 2 | 3 | 4 | 5;

export class NityError extends Error {
  constructor(
    readonly code: string,
    readonly exitCode: FailureExitCode,
    whatHappened: string,
    /** What to do about it, as a sentence. */
    readonly hint: string,
    cause?: unknown,
  ) {
    super(whatHappened, cause === undefined ? undefined : { cause });
    this.name = new.target.name;
  }
}

/** A check, replay or simulation found something wrong. */
export class FoundWrongError extends NityError {
  constructor(whatHappened: string, hint: string, cause?: unknown) {
    super('FOUND_WRONG', 1, whatHappened, hint, cause);
  }
}

/** The words of a command or the contents of an input file are wrong; nothing was changed. */
export class UsageError extends NityError {
  constructor(whatHappened: string, hint: string, cause?: unknown) {
    super('BAD_USAGE', 2, whatHappened, hint, cause);
  }
}

export class InputError extends NityError {
  constructor(whatHappened: string, hint: string, cause?: unknown) {
    super('BAD_INPUT', 2, whatHappened, hint, cause);
  }
}

export class PrivilegeError extends NityError {
  constructor(whatHappened: string, hint: string, cause?: unknown) {
    super('NO_PRIVILEGE', 3, whatHappened, hint, cause);
  }
}

/** What is missing is a capability, which sudo has; the hint is for whoever cannot use that. */
export class CapabilityError extends PrivilegeError {}

export class KernelError extends NityError {
  constructor(whatHappened: string, hint: string, cause?: unknown) {
    super('KERNEL', 3, whatHappened, hint, cause);
  }
}

export class NotLoadedError extends NityError {
  constructor(pinPath: string, cause?: unknown) {
    super(
      'NOT_LOADED',
      4,
      `No dataplane is loaded at ${pinPath}.`,
      'Load it with `nity load`, or name its place with --pin-path.',
      cause,
    );
  }
}

/** Somebody took the dataplane from under the agent, by force. */
export class UnloadedError extends NityError {
  constructor(pinPath: string, cause?: unknown) {
    super(
      'UNLOADED',
      4,
      `The dataplane at ${pinPath} was unloaded under the agent.`,
      'If it is to serve again, start the agent again: it loads what is not loaded.',
      cause,
    );
  }
}

export class NoAgentError extends NityError {
  constructor(pinPath: string, who = 'No agent') {
    super(
      'NO_AGENT',
      4,
      `${who} answers for the dataplane at ${pinPath}.`,
      'Start one with `nity run-agent`; `nity inspect` shows what the kernel does without it.',
    );
  }
}

export class SchemaError extends NityError {
  constructor(whatHappened: string, hint: string) {
    super('WRONG_SCHEMA', 4, whatHappened, hint);
  }
}

/** Refused because it could hurt traffic; the hint says how to force it, if it can be. */
export class UnsafeError extends NityError {
  constructor(whatHappened: string, hint: string, cause?: unknown) {
    super('UNSAFE', 5, whatHappened, hint, cause);
  }
}

/** The agent's own record of the maps contradicts itself: what it would write next could be wrong. */
export class BrokenBookError extends NityError {
  constructor(whatHappened: string) {
    super(
      'BROKEN_BOOK',
      5,
      whatHappened,
      'Restart the agent: it makes its record anew from the maps. Report this, with `nity bugreport`.',
    );
  }
}

/** errno's name, as Node and the addon put it on an Error; undefined for anything else. */
export function errnoOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/** What was thrown, as words; anything may be. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
