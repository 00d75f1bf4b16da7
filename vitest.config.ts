import { defineConfig } from 'vitest/config';

// Tests that load BPF or start the CLI: each has its own cgroup and pin path, so files may run
// beside each other, but real kernels and real processes need more patience than pure functions.
const onTheMachine = ['test/kernel/**/*.test.ts', 'test/e2e/**/*.test.ts'];

// Traffic that is played for seconds: most of the time a test waits, so many run at a time.
const traffic = ['test/servers/**/*.test.ts', 'test/attacks/**/*.test.ts'];

// Where a skipped test is a failure, what needs a cluster is run only where there is one.
const { CI: ci, NITY_TEST_KUBECONFIG: cluster } = process.env;
const leftOut = ci === 'true' && cluster === undefined ? ['test/kubernetes/real.test.ts'] : [];

export default defineConfig({
  test: {
    // Processes, not threads: memory mapped by the addon cannot be shared between threads.
    pool: 'forks',
    maxWorkers: 2,
    // Captured consoles would hide what a command run in a test prints.
    disableConsoleIntercept: true,
    projects: [
      {
        extends: true,
        test: {
          name: 'pure',
          include: ['test/**/*.test.ts'],
          exclude: [...onTheMachine, ...traffic, ...leftOut],
          // Simulated minutes take real seconds, and twice that on a machine that is busy.
          testTimeout: 60_000,
        },
      },
      {
        extends: true,
        test: {
          name: 'machine',
          include: onTheMachine,
          testTimeout: 120_000,
          hookTimeout: 120_000,
          // What is polled for comes to be at once on an idle machine, and some day on a busy one.
          expect: { poll: { timeout: 60_000 } },
        },
      },
      {
        extends: true,
        test: {
          name: 'servers',
          include: traffic,
          testTimeout: 180_000,
          hookTimeout: 180_000,
          maxConcurrency: 6,
          // After the others: it offers the machine some hundred connects a second.
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
