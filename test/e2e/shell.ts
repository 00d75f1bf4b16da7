// The built command line, run once: its exit code and what it printed. The variables
// that would point it at this node's dataplane are replaced.
import { execFile } from 'node:child_process';
import { join } from 'node:path';

export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export const root = join(import.meta.dirname, '../..');
/** Short of the time that a test has, so that it is the test that says what did not end. */
const patienceMs = 90_000;
/** A build of the addon takes a minute on a busy machine. */
export const buildPatienceMs = 120_000;

/**
 * Runs any program to its end. What could not be run, or was ended because it did not end by
 * itself, has no code, which is -1.
 */
export function runProgram(
  file: string,
  args: readonly string[],
  environment: NodeJS.ProcessEnv = {},
  directory = root,
  patientMs = patienceMs,
): Promise<Outcome> {
  return new Promise((resolve) => {
    execFile(
      file,
      [...args],
      {
        cwd: directory,
        env: { ...process.env, NITY_PIN_PATH: '/sys/fs/bpf/nity-of-nobody', ...environment },
        timeout: patientMs,
        // Whatever it waits for, it holds no lock when the next test begins.
        killSignal: 'SIGKILL',
        maxBuffer: 64 << 20,
      },
      (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
        const ended = error?.killed === true ? `(ended: it went on for ${patientMs} ms)\n` : '';
        resolve({ code, stdout, stderr: stderr + ended });
      },
    );
  });
}

export function nity(
  args: readonly string[],
  environment: NodeJS.ProcessEnv = {},
): Promise<Outcome> {
  return runProgram(process.execPath, [join(root, 'bin/run.js'), ...args], environment);
}

/** By a program that runs what stands after its own words, in circumstances of its making. */
export function nityUnder(
  words: readonly string[],
  args: readonly string[],
  environment: NodeJS.ProcessEnv,
): Promise<Outcome> {
  const [program = 'env', ...more] = words;
  return runProgram(
    program,
    [...more, process.execPath, join(root, 'bin/run.js'), ...args],
    environment,
  );
}

/** As another user, without its groups. */
export function nityAs(
  uid: number,
  args: readonly string[],
  environment: NodeJS.ProcessEnv,
): Promise<Outcome> {
  return nityUnder(['setpriv', '--reuid', String(uid), '--clear-groups'], args, environment);
}
