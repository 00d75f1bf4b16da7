// Histories that once went wrong, as small as they were shrunk to. Each is called after what
// was wrong.
import type { Step } from './history.js';

export const keptHistories: Readonly<Record<string, readonly Step[]>> = {};
