// What cannot be written, told with its place: a full disk, a directory that is not there.
import { errnoOf, InputError, NityError } from '../errors.js';

/** `error` as one of ours; what came from no system call stays what it is. */
export function notWritten(path: string, error: unknown): unknown {
  if (error instanceof NityError) return error;
  const errno = errnoOf(error);
  if (errno === undefined) return error;
  return new InputError(
    `${path} could not be written (${errno}).`,
    'Name a place that can be written to.',
    error,
  );
}

export function writing(path: string, write: () => void): void {
  try {
    write();
  } catch (error) {
    throw notWritten(path, error);
  }
}
