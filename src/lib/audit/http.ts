// A small HTTP server of the agent's: few connections, short patience, GET and HEAD only,
// and no input but the path.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

import { InputError } from '../errors.js';
import type { Address } from './address.js';

export interface HttpServer {
  readonly address: Address;
  close(): Promise<void>;
}

export type Say = (status: number, text: string, type?: string) => void;

/** More than a Prometheus, its replica and a person; each holds little. */
const mostConnections = 16;
const patienceMs = 5_000;

/** `names` are for the error when there is no such address: what is served, and by which flag. */
export async function serveHttp(
  address: Address,
  names: { readonly what: string; readonly flag: string },
  answerTo: (path: string, say: Say) => void,
): Promise<HttpServer> {
  const server = createServer((asked, answer) => {
    const say: Say = (status, text, type = 'text/plain; charset=utf-8') => {
      answer.writeHead(status, { 'content-type': type }).end(asked.method === 'HEAD' ? '' : text);
    };
    if (asked.method !== 'GET' && asked.method !== 'HEAD') {
      answer.setHeader('allow', 'GET, HEAD');
      say(405, 'only GET and HEAD\n');
      return;
    }
    answerTo((asked.url ?? '').split('?', 1).join(), say);
  });
  server.maxConnections = mostConnections;
  server.headersTimeout = patienceMs;
  server.requestTimeout = patienceMs;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => {
      reject(
        new InputError(
          `${names.what} cannot be served at ${address.host}:${address.port}: ${error.message}.`,
          `Name a free address of this machine with ${names.flag}, or leave it out.`,
          error,
        ),
      );
    });
    server.listen(address, resolve);
  });
  const { address: host, port } = server.address() as AddressInfo;
  return {
    address: { host, port },
    close: () =>
      new Promise((resolve) => {
        server.close(() => {
          resolve();
        });
        server.closeAllConnections();
      }),
  };
}
