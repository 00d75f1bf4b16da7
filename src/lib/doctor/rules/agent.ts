// Does the agent live, keep its time, and belong to what it drives?
import { fail, ok, warn, type Rule } from '../check.js';
import type { Observed, Plane } from '../observed.js';

/** Null when nothing is loaded. */
export function planeOf({ plane }: Observed): Plane | null {
  return plane.kind === 'read' ? plane.value : null;
}

function seconds(ms: number): string {
  return ms < 10_000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms / 1000)} s`;
}

/** Clocks of two kinds are compared: this much is no difference. */
const slackMs = 500;

export const agentRules: readonly Rule[] = [
  {
    id: 'NITY060',
    group: 'agent',
    name: 'heartbeat',
    expected: 'failsafe mode normal',
    hint: 'See whether the agent runs, and why not: its log, `nity inspect field`.',
    about:
      'In HOLD the kernel keeps the last field; in FALLBACK it spreads flows evenly. In neither are changes of the services seen.',
    look: (observed) => {
      const plane = planeOf(observed);
      if (plane === null) return null;
      const { heartbeatAgeMs, failsafeMode } = plane.field;
      if (heartbeatAgeMs === null) {
        return warn('no agent has been seen yet', 'Start one with `nity run-agent`.');
      }
      const seen = `${failsafeMode}, ${seconds(heartbeatAgeMs)} old`;
      return failsafeMode === 'normal' ? ok(seen) : fail(seen);
    },
  },
  {
    id: 'NITY061',
    group: 'agent',
    name: 'process',
    expected: 'the agent that the field names runs',
    hint: 'Start one with `nity run-agent`: it takes the slots over as they are.',
    about:
      'An agent that ended in order takes its name out of the field; one that was killed leaves it there.',
    look: (observed) => {
      const plane = planeOf(observed);
      if (plane === null) return null;
      const { agentPid, heartbeatAgeMs } = plane.field;
      const { processState } = plane.agent;
      if (agentPid === null)
        return heartbeatAgeMs === null ? null : warn('it was stopped in order');
      if (processState === null || processState === 'Z' || processState === 'X') {
        return fail(`pid ${agentPid} was killed`);
      }
      if (processState === 'T' || processState === 't') {
        return fail(`pid ${agentPid} is stopped`, `Let it go on: \`kill -CONT ${agentPid}\`.`);
      }
      return ok(`pid ${agentPid}`);
    },
  },
  {
    id: 'NITY062',
    group: 'agent',
    name: 'one agent',
    expected: 'the agent that the field names holds the lock',
    hint: 'Stop the one that the field does not name.',
    about:
      'Two agents on one field would undo each other’s work; the lock is there so that they cannot.',
    look: (observed) => {
      const plane = planeOf(observed);
      if (plane === null) return null;
      const { lockedBy, processState } = plane.agent;
      const { agentPid } = plane.field;
      if (agentPid === null || processState === null) {
        return lockedBy === null
          ? null
          : warn(`pid ${lockedBy} holds it, and the field names none`);
      }
      if (lockedBy === agentPid) return ok(`pid ${agentPid} holds the lock`);
      return fail(lockedBy === null ? 'nobody holds it' : `pid ${lockedBy} holds it`);
    },
  },
  {
    id: 'NITY063',
    group: 'agent',
    name: 'tick',
    expected: 'done within its interval',
    hint: 'Give the node more processor time, or tick less often (`tickMs`).',
    about:
      'A tick that takes longer than its interval costs those that it overruns; one that is late is not projected.',
    look: (observed) => {
      const report = planeOf(observed)?.agent.report ?? null;
      const tickMs = report?.knobs['tickMs'];
      if (report === null || tickMs === undefined) return null;
      const seen = `${report.tookMs.toFixed(1)} ms of ${tickMs} ms`;
      if (report.agoMs > 5 * tickMs) return fail(`none for ${seconds(report.agoMs)}`);
      return report.tookMs > tickMs || report.outcome === 'late' ? warn(seen) : ok(seen);
    },
  },
  {
    id: 'NITY064',
    group: 'agent',
    name: 'age',
    expected: 'started after the programs were loaded',
    hint: 'Restart the agent: traffic does not notice.',
    about:
      'After an upgrade in place the agent that is running is still the old one, and may not know what the new programs tell.',
    look: (observed) => {
      const plane = planeOf(observed);
      if (plane?.agent.processState == null || observed.programAges.length === 0) return null;
      const newest = Math.min(...observed.programAges.map(({ loadedAgoMs }) => loadedAgoMs));
      const older = plane.agent.startedAgoMs - newest;
      return older > slackMs
        ? warn(`${seconds(older)} older than the programs`)
        : ok('started after the programs');
    },
  },
  {
    id: 'NITY065',
    group: 'agent',
    name: 'version',
    expected: 'the version of this nity',
    hint: 'Restart the agent, or use the nity that it was started from.',
    about: 'Two versions on one node may mean different things by the same word.',
    look: (observed) => {
      const report = planeOf(observed)?.agent.report ?? null;
      if (report === null) return null;
      return report.version === observed.version
        ? ok(report.version)
        : warn(`${report.version}, and this is ${observed.version}`);
    },
  },
  {
    id: 'NITY066',
    group: 'agent',
    name: 'inputs',
    expected: 'the newest services and knobs in force',
    hint: 'Correct the file: the agent reads services by itself, knobs on SIGHUP.',
    about:
      'A broken edit is refused whole, and the last good one stays in force: what was meant is not so.',
    look: (observed) => {
      const report = planeOf(observed)?.agent.report ?? null;
      if (report === null) return null;
      if (report.rejected.length === 0) return ok('none refused');
      return fail(
        report.rejected
          .map(({ input, why }) => `${input} refused: ${why.split('\n')[0] ?? ''}`)
          .join('; '),
      );
    },
  },
  {
    id: 'NITY067',
    group: 'agent',
    name: 'socket',
    expected: 'the agent answers on its socket',
    hint: 'Use the same NITY_RUN_DIR for both, or restart the agent.',
    about: 'Without it `nity explain` is mute; traffic does not need it.',
    look: (observed) => {
      const plane = planeOf(observed);
      if (plane === null || plane.agent.processState === null) return null;
      // One that is stopped cannot: NITY061 says so.
      if (!['R', 'S', 'D'].includes(plane.agent.processState)) return null;
      return plane.agent.report === null ? warn('no answer') : ok('answers');
    },
  },
];
