// For whom a backend is suspect, by the kernel's own rule (decide.h: nity_standing):
// what one client alone saw makes it suspect for that client alone.

/** What the kernel keeps of failed connects to a backend. */
export interface Accusation {
  /** Failures since the last success, of all clients; and how many clients saw them, 2 for more. */
  readonly failures: number;
  readonly accusers: number;
  readonly suspectUntilNs: bigint | number;
  /** Those of the client that failed last. */
  readonly accuserFailures: number;
  readonly accuserUntilNs: bigint | number;
}

/** For every client, for the one that failed last, or for none. */
export type SuspectFor = 'all' | 'one' | 'none';

export function suspectFor(
  seen: Accusation,
  suspectAfter: number,
  nowNs: bigint | number,
): SuspectFor {
  if (suspectAfter === 0 || seen.accuserFailures === 0) return 'none';
  if (seen.accusers > 1 && seen.failures >= suspectAfter) {
    return nowNs < seen.suspectUntilNs ? 'all' : 'none';
  }
  return seen.accuserFailures >= suspectAfter && nowNs < seen.accuserUntilNs ? 'one' : 'none';
}
