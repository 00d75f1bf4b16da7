// Which of the capabilities that nity needs this process lacks. It needs no addon: what failed
// may be that.
import { readFileSync } from 'node:fs';

import { heldCapabilities, missingCapabilities } from './capabilities.js';

export function lacking(): string[] {
  return missingCapabilities(heldCapabilities(readFileSync('/proc/self/status', 'utf8')));
}
