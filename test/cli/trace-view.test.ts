// Decisions as a person sees them, on narrow and wide terminals, with and without colour, and
// in a pipe: whole lines, so that what moves is seen.
import { stripVTControlCharacters } from 'node:util';
import { afterEach, describe, expect, it } from 'vitest';

import { chooseColour } from '../../src/lib/cli/colour.js';
import {
  describeGap,
  describeTotals,
  TraceView,
  type TracedDecision,
} from '../../src/lib/cli/trace-view.js';

const uid = '1b2c3d4e-0a1b-4c5d-8e9f-001122334455';

const picked: TracedDecision = {
  timeNs: 1n,
  atMs: Date.UTC(2026, 10, 24, 4, 41, 44, 169),
  pid: 4711,
  command: 'curl',
  cgroupId: 61_433n,
  cgroup: `/kubepods/besteffort/pod${uid}/${'ab12'.repeat(16)}`,
  pod: { uid, container: 'ab12'.repeat(16) },
  route: 'shop/cart:http',
  vip: '127.96.203.1:80',
  outcome: 'pickedTwin',
  slot: 37,
  backend: '10.244.3.17:8080',
  costNs: 2874,
  failsafeMode: 'normal',
  admissionMode: 'normal',
  epoch: 3n,
  turn: 0,
  socketCookie: 9n,
  netnsCookie: 3n,
};

const decisions: readonly TracedDecision[] = [
  picked,
  {
    ...picked,
    pid: 4_194_304,
    command: 'tokio-runtime w',
    route: 'payment-gateway/checkout-service-frontend:https',
    outcome: 'refusedNoBackends',
    slot: null,
    backend: null,
    costNs: 850,
    cgroup:
      '/system.slice/a-service-with-a-rather-long-name.service/and-a-cgroup-below-it/and-one-more',
    pod: null,
  },
  {
    ...picked,
    // A process may call itself anything.
    command: '\u001b[2Jgone\n',
    outcome: 'pickedFallback',
    slot: 3,
    backend: '127.0.0.1:31001',
    costNs: 123_456,
    cgroup: null,
    pod: null,
  },
];

function painted(width: number | undefined, colour: 'always' | 'never'): string[] {
  chooseColour(colour);
  const view = new TraceView(width);
  return [view.heading(), ...decisions.map((decision) => view.decision(decision))];
}

describe('decisions, as they are shown', () => {
  afterEach(() => {
    chooseColour('auto');
  });

  it('fit 80 columns, and a route is cut in its middle', () => {
    const lines = painted(80, 'never');
    expect(lines).toEqual([
      'TIME          PID COMM   ROUTE          SLOT BACKEND           COST OUTCOME',
      '41:44.169    4711 curl   shop/cart:http   37 10.244.3.17:8080 2.9µs twin',
      '41:44.169 4194304 tokio… payment…:https    - -                850ns ✗ noBackends',
      '41:44.169    4711 _[2Jg… shop/cart:http    3 127.0.0.1:31001  123µs fallback',
    ]);
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(80);
  });

  it('fit 200 columns, and say where they come from', () => {
    const lines = painted(200, 'never');
    expect(lines).toEqual([
      'TIME              PID  COMMAND          ROUTE                                      SLOT  BACKEND                  COST  OUTCOME            FROM',
      '04:41:44.169     4711  curl             shop/cart:http                               37  10.244.3.17:8080        2.9µs  pickedTwin         pod/1b2c3d4e-0a1b-4c5d-8e9f-001122334455',
      '04:41:44.169  4194304  tokio-runtime_w  payment-gateway/chec…vice-frontend:https      -  -                       850ns  refusedNoBackends  …-rather-long-name.service/and-a-cgroup-below-it/and-one-more',
      '04:41:44.169     4711  _[2Jgone_        shop/cart:http                                3  127.0.0.1:31001         123µs  pickedFallback     -',
    ]);
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(200);
  });

  it('are whole in a pipe: no cell is empty or cut, and none has a space', () => {
    const lines = painted(undefined, 'never');
    expect(lines[2]).toContain('payment-gateway/checkout-service-frontend:https');
    for (const line of lines) {
      expect(line.split(/ +/).filter((word) => word !== '')).toHaveLength(9);
      expect(line).not.toContain('…');
    }
  });

  it('have refusals in red and the fallback in yellow', () => {
    const [heading, gear, refused, fallback] = painted(80, 'always');
    expect(heading?.startsWith('\u001b[1mTIME     \u001b[22m ')).toBe(true);
    expect(gear).toMatch(/ twin$/);
    expect(refused).toContain('\u001b[31m✗ noBackends\u001b[39m');
    expect(fallback).toContain('\u001b[33mfallback\u001b[39m');
    const wide = painted(200, 'always');
    expect(wide[2]).toContain('\u001b[31mrefusedNoBackends\u001b[39m');
  });

  it.each([80, 119, 120, 149, 150, 200])(
    'are the same with colour as without it, on %i columns',
    (width) => {
      const bare = painted(width, 'always').map((line) => stripVTControlCharacters(line).trimEnd());
      expect(bare).toEqual(painted(width, 'never'));
      expect(Math.max(...bare.map((line) => line.length))).toBeLessThanOrEqual(width);
    },
  );
});

describe('what was not told', () => {
  const none = { overBudget: 0, ringFull: 0, deafMs: 0 };

  it('is said with its reason when it happens', () => {
    expect(describeGap(none, 1000)).toBeUndefined();
    expect(describeGap({ ...none, overBudget: 1234 }, 1000)).toBe(
      'decisions left out: 1,234 over the budget of 1,000/s',
    );
    expect(describeGap({ overBudget: 1, ringFull: 2, deafMs: 4100 }, 5)).toBe(
      'decisions left out: 1 over the budget of 5/s, 2 that the ring had no room for; ' +
        'nobody listened for 4,100 ms: this process did not run',
    );
  });

  it('is summed up at the end', () => {
    const totals = { ...none, picked: 10, refused: 2, forMs: 4200 };
    expect(describeTotals(totals, 1000)).toBe(
      '12 decisions in 4.2 s: 10 picked, 2 refused; none left out.',
    );
    expect(describeTotals({ ...totals, overBudget: 3 }, 2)).toMatch(
      / 2 refused; decisions left out: 3 over the budget of 2\/s\.$/,
    );
    expect(describeTotals({ ...totals, picked: 0, refused: 0 }, 1000)).toBe(
      'No decision in 4.2 s; none left out.',
    );
  });
});
