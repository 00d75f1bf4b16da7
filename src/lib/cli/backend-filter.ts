// A backend as an operator names it, by ip:port: a slip is told, and not answered with nothing.
import { isIPv4 } from 'node:net';

import { ipv4ToNumber } from '../dataplane/ipv4.js';
import type { Snapshot } from '../dataplane/snapshot.js';
import { InputError, UsageError } from '../errors.js';

export function backendOf(snapshot: Snapshot, text: string): { address: number; port: number } {
  const [address = '', port = '', ...rest] = text.split(':');
  if (rest.length > 0 || !isIPv4(address) || !/^\d{1,5}$/.test(port)) {
    throw new UsageError(`--backend ${text} is no address.`, 'Write it as 10.1.2.3:8080.');
  }
  if (!snapshot.backends().some(({ backend }) => backend === text)) {
    throw new InputError(
      `There is no backend ${text}.`,
      'Take an address from `nity inspect backends`.',
    );
  }
  return { address: ipv4ToNumber(address), port: Number(port) };
}
