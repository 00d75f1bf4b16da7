// Where metrics are served, as operators write it.
import { UsageError } from '../errors.js';

export interface MetricsAddress {
  readonly host: string;
  readonly port: number;
}

/** "127.0.0.1:9464" or "[::1]:9464". */
export function parseMetricsAddress(text: string): MetricsAddress {
  const [, bracketed, plain, digits] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  const port = Number(digits);
  if (host === undefined || !(port <= 65_535)) {
    throw new UsageError(
      `${text} is not an address to serve metrics at.`,
      'Write it as 127.0.0.1:9464 or [::1]:9464.',
    );
  }
  return { host, port };
}
