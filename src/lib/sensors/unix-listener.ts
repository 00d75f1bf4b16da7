// A unix stream socket at a path: taken over from the dead, never from the living, shown there
// only once its mode is set, and gone when it is closed. What is said on it is not known here.
import { chmodSync, lstatSync, renameSync, rmSync, statSync, type Stats } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';

import { errnoOf, InputError, messageOf, UnsafeError } from '../errors.js';

/** sun_path of sockaddr_un less its closing zero (unix(7)); a longer one would be cut silently. */
const longestPathBytes = 107;
/** The socket is made beside its path and moved there when its mode is right. */
const beside = '.new';
const elsewhere = 'Name another path for the socket.';

export interface UnixListener {
  close(): Promise<void>;
}

/** One agent at a time may do this at a path: the caller holds the agent's lock. */
export async function listenAtPath(
  path: string,
  mode: number,
  connected: (socket: Socket) => void,
): Promise<UnixListener> {
  checkPlace(path);
  await checkFree(path);
  // Half-open: a sender that ends right after its line still gets its answer.
  const server = createServer({ allowHalfOpen: true }, connected);
  const temporary = `${path}${beside}`;
  try {
    removeSocket(temporary);
    await listening(server, temporary);
    chmodSync(temporary, mode);
    renameSync(temporary, path);
  } catch (error) {
    server.close();
    removeSocket(temporary);
    throw new InputError(
      `The socket ${path} cannot be made: ${messageOf(error)}.`,
      'Name a path in a directory that the agent may write to.',
      error,
    );
  }
  // accept() that fails (no descriptor left) is about one client, not about the agent.
  server.on('error', () => undefined);
  const own = lstatSync(path);
  let closed: Promise<void> | undefined;
  return {
    close() {
      closed ??= new Promise((resolve) => {
        const here = lookAt(path);
        if (here?.ino === own.ino && here.dev === own.dev) rmSync(path, { force: true });
        server.close(() => {
          resolve();
        });
      });
      return closed;
    },
  };
}

function checkPlace(path: string): void {
  if (path === '' || path.includes('\0') || Buffer.byteLength(path + beside) > longestPathBytes) {
    throw new InputError(
      `The socket cannot be made: its path must have 1 to ${longestPathBytes - beside.length} bytes, not ${Buffer.byteLength(path)}.`,
      elsewhere,
    );
  }
  const directory = dirname(path);
  if (statSync(directory, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw new InputError(
      `The socket ${path} cannot be made: ${directory} is not a directory.`,
      'Make the directory, or name another path for the socket.',
    );
  }
}

/** Whoever refuses a connection at a socket's file is dead; anything else is left alone. */
async function checkFree(path: string): Promise<void> {
  const there = lookAt(path);
  if (there === undefined) return;
  if (!there.isSocket()) {
    throw new InputError(`${path} is there already and is no socket.`, elsewhere);
  }
  const outcome = await dial(path);
  if (outcome === 'ECONNREFUSED' || outcome === 'ENOENT') return;
  // EAGAIN: somebody lives there, with more callers than it accepts.
  if (outcome === undefined || outcome === 'EAGAIN') {
    throw new UnsafeError(
      `Another process listens at ${path}.`,
      'Stop it first, or name another path for the socket.',
    );
  }
  throw new InputError(`${path} is there already and cannot be tried: ${outcome}.`, elsewhere);
}

/** undefined if somebody answered, or the name of the error. */
function dial(path: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.on('connect', () => {
      socket.destroy();
      resolve(undefined);
    });
    socket.on('error', (error) => {
      resolve(errnoOf(error) ?? error.message);
    });
  });
}

function listening(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

/** Only ever a socket: whatever else has the name is somebody's file. */
function removeSocket(path: string): void {
  if (lookAt(path)?.isSocket() === true) rmSync(path, { force: true });
}

function lookAt(path: string): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false });
}
