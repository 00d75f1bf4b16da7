// Routes from the tests' own API server, while it behaves.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe } from 'vitest';

import { adminToken, ApiServer } from './api-server.js';
import { itFollowsTheCluster } from './suite.js';

describe("the tests' own API server", () => {
  itFollowsTheCluster(async () => {
    const server = await ApiServer.start();
    const directory = mkdtempSync(join(tmpdir(), 'nity-admin-'));
    const kubeconfig = join(directory, 'kubeconfig');
    server.writeKubeconfig(kubeconfig, adminToken);
    return {
      kubeconfig,
      close: async () => {
        rmSync(directory, { recursive: true });
        await server.stop();
      },
    };
  });
});
