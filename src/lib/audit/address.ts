// Where something is served, as operators write it.
import { UsageError } from '../errors.js';

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** "127.0.0.1:9464" or "[::1]:9464"; `what` is served there, as in "metrics". */
export function parseAddress(text: string, what: string): Address {
  const [, bracketed, plain, digits] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  const port = Number(digits);
  if (host === undefined || !(port <= 65_535)) {
    throw new UsageError(
      `${text} is not an address to serve ${what} at.`,
      'Write it as 127.0.0.1:9464 or [::1]:9464.',
    );
  }
  return { host, port };
}

export function describeAddress({ host, port }: Address): string {
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
}
