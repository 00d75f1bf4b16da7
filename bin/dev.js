#!/usr/bin/env -S node --import tsx
// Runs the commands from src, without a build of TypeScript.
import { settings } from '@oclif/core';

import { run } from '../src/lib/cli/run.ts';

settings.enableAutoTranspile = true;
await run(import.meta.url);
