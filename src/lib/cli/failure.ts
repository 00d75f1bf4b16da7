// How a failure looks: one sentence of what happened, one of what to do, the
// documented exit code. The same three with and without --json.
import { securityContext } from '../dataplane/capabilities.js';
import { lacking } from '../dataplane/lacking.js';
import { CapabilityError, errnoOf, type FailureExitCode, messageOf, NityError } from '../errors.js';
import { nearest } from '../nearest.js';
import { palette } from './colour.js';
import { toJson } from './json.js';

export interface Failure {
  readonly code: string;
  readonly exitCode: number;
  readonly message: string;
  readonly hint: string;
}

interface OclifError extends Error {
  readonly oclif: { readonly exit?: number };
}

function isOclifError(error: unknown): error is OclifError {
  return error instanceof Error && 'oclif' in error && typeof error.oclif === 'object';
}

const usage: FailureExitCode = 2;

/** oclif's parser speaks in several lines; the first says it, and "See more help" is ours to give. */
function usageFailure(error: Error): Failure {
  const message = error.message
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !/^See more help/.test(line))
    .join(' ')
    .replace(/^The following errors? occurred: /, '')
    .replace(/^Parsing (--\S+) Expected/, '$1: expected');
  return {
    code: 'BAD_USAGE',
    exitCode: usage,
    message: /[.!?]$/.test(message) ? message : `${message}.`,
    hint: `${suggestedFlag(error)}Run it with --help to see what it takes.`,
  };
}

/** What oclif's NonExistentFlagsError carries; everything else carries nothing of the kind. */
interface UnknownFlags extends Error {
  readonly flags: readonly string[];
  readonly parse: { readonly input: { readonly flags: Readonly<Record<string, unknown>> } };
}

function isUnknownFlags(error: Error): error is UnknownFlags {
  return error.constructor.name === 'NonExistentFlagsError' && 'flags' in error && 'parse' in error;
}

function suggestedFlag(error: Error): string {
  if (!isUnknownFlags(error)) return '';
  const known = Object.keys(error.parse.input.flags).map((name) => `--${name}`);
  const meant = nearest(error.flags[0] ?? '', known);
  return meant === undefined ? '' : `Did you mean ${meant}? `;
}

const policyHint =
  'Every capability for it is held: the policy of the kernel (lockdown or a security module) refuses it, see `dmesg`.';

/** The line to type, and the one for a manifest. */
function grantHint(): string {
  if (process.getuid?.() === 0) return `Give the container ${securityContext}.`;
  const typed = process.argv.slice(2).map(quoted);
  return `Run \`sudo nity ${typed.join(' ')}\`, or give the container ${securityContext}.`;
}

/** A word as a shell takes it. */
function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;
}

function describeFailure(error: unknown): Failure {
  if (error instanceof NityError) {
    const { code, exitCode, message } = error;
    const hint = error instanceof CapabilityError ? grantHint() : error.hint;
    return { code, exitCode, message, hint };
  }
  if (isOclifError(error)) return usageFailure(error);
  const code = errnoOf(error);
  const message = messageOf(error);
  if (code === 'EPERM' || code === 'EACCES') {
    // Who has every capability is not helped by being given them.
    const isPolicy = code === 'EPERM' && lacking().length === 0;
    return {
      code: 'NO_PRIVILEGE',
      exitCode: 3,
      message: `${message}.`,
      hint: isPolicy ? policyHint : grantHint(),
    };
  }
  return {
    code: code ?? 'UNEXPECTED',
    exitCode: 1,
    message: `${message}.`,
    hint: 'This should not happen: run it again with DEBUG=1 and report what it prints.',
  };
}

/** Help and version leave oclif as an exit of 0: nothing failed. */
function isCleanExit(error: unknown): boolean {
  return isOclifError(error) && error.oclif.exit === 0;
}

/** Tells the failure where it belongs (stdout for machines, stderr for people); returns the code. */
export function reportError(error: unknown, json: boolean): number {
  if (isCleanExit(error)) return 0;
  const { code, exitCode, message, hint } = describeFailure(error);
  if (json) {
    process.stdout.write(`${toJson({ schemaVersion: 1, error: { code, message, hint } })}\n`);
  } else {
    const { red, dim } = palette('stderr');
    process.stderr.write(`${red('Error:')} ${message}\n${dim('→')} ${hint}\n`);
  }
  if (process.env['DEBUG'] !== undefined && error instanceof Error) {
    process.stderr.write(`${error.stack ?? ''}\n`);
    for (let cause = error.cause; cause instanceof Error; cause = cause.cause) {
      process.stderr.write(`${cause.stack ?? ''}\n`);
      if ('log' in cause) process.stderr.write(`${String(cause.log)}\n`);
    }
  }
  return exitCode;
}
