// An agent that cannot project its field, as whoever keeps it running sees it: alive for ten
// seconds, then not, with the reason; and the one that is started instead serves.
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { runAgent, type RunOptions } from '../../src/lib/agent/run.js';
import type { RouteSource } from '../../src/lib/agent/sources.js';
import { defaultKnobs } from '../../src/lib/config/knobs.js';
import { Projector } from '../../src/lib/dataplane/projector.js';
import { BrokenBookError } from '../../src/lib/errors.js';
import { dial, Rig, unavailable } from '../kernel/rig.js';
import { Shop } from '../kubernetes/shop.js';

const why = 'The backend index 7 is free, and cannot become resting.';

interface Probed {
  readonly status: number;
  readonly body: { readonly why: readonly string[] };
}
