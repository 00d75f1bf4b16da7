// The same statements about a real API server, when NITY_TEST_KUBECONFIG names one: whoever
// it is for must be allowed to create namespaces and what is in them. Where a skipped test is
// a failure, as in CI, vitest.config.ts leaves this file out unless there is a server.
import { describe } from 'vitest';

import { itFollowsTheCluster } from './suite.js';

const kubeconfig = process.env['NITY_TEST_KUBECONFIG'];

describe.skipIf(kubeconfig === undefined)('a real API server', () => {
  itFollowsTheCluster(() =>
    Promise.resolve({ kubeconfig: kubeconfig ?? '', close: () => Promise.resolve() }),
  );
});
