// What the programs themselves cost, by the kernel's own count of their time.
import type { ChildProcess } from 'node:child_process';

import type { programNames } from '../src/lib/dataplane/programs.js';
import {
  BpfLink,
  BpfObject,
  BpfProgram,
  enableRunTimeStats,
  type ProgramInfo,
} from '../src/lib/dataplane/native.js';
import { linkPin } from '../src/lib/dataplane/pins.js';
import { directAddress, emptyObject, firstVip, type Dataplane, type Rig } from './rig.js';
import { paired, series, type Series } from './statistics.js';

const decider = 'nity_connect4';
type Name = (typeof programNames)[number];

export function running(dataplane: Dataplane, name: Name): BpfProgram {
  const link = BpfLink.open(linkPin(dataplane.pinPath, name));
  try {
    return BpfProgram.byId(link.info().programId);
  } finally {
    link.close();
  }
}

export function meanNs(before: ProgramInfo, after: ProgramInfo): number {
  return Number(after.runTimeNs - before.runTimeNs) / Number(after.runCount - before.runCount);
}

/** The mean cost of one run of each program over what `load` makes them do. */
async function costs(
  programs: readonly BpfProgram[],
  load: () => Promise<number>,
): Promise<number[]> {
  const before = programs.map((program) => program.info());
  await load();
  return programs.map((program, i) => meanNs(before[i] ?? program.info(), program.info()));
}

export interface ProgramCosts {
  /** An empty program: what the kernel's timing itself adds to each of the others. */
  readonly timing: Series;
  readonly translated: Series;
  readonly untranslated: Series;
  readonly translatedLessTiming: Series;
  readonly untranslatedLessTiming: Series;
  /** What else runs for a translated connect that is closed at once, per run. */
  readonly sockops: Series;
  readonly release: Series;
}

function less(gross: readonly number[], timing: readonly number[]): Series {
  return series(paired(gross, timing, (cost, overhead) => cost - overhead));
}

export async function measureCosts(
  rig: Rig,
  dataplane: Dataplane,
  server: ChildProcess,
  { rounds, connects }: { readonly rounds: number; readonly connects: number },
): Promise<ProgramCosts> {
  const object = new BpfObject(emptyObject);
  object.load();
  const link = object.program('empty_connect4').attachCgroup(dataplane.cgroup);
  const names = [decider, 'nity_sockops', 'nity_sock_release'] as const;
  const programs = [
    object.program('empty_connect4'),
    ...names.map((name) => running(dataplane, name)),
  ];
  const stop = enableRunTimeStats();
  try {
    const translated: number[][] = [];
    const untranslated: number[][] = [];
    const { cgroup } = dataplane;
    for (let round = 0; round < rounds; round++) {
      const dial = (address: string) => () => rig.dial({ server, cgroup, address, connects });
      translated.push(await costs(programs, dial(firstVip)));
      untranslated.push(await costs(programs, dial(directAddress)));
      dataplane.drainEvents();
    }
    const of = (rows: readonly number[][], i: number) => rows.map((row) => row[i] ?? NaN);
    return {
      timing: series([...of(translated, 0), ...of(untranslated, 0)]),
      translated: series(of(translated, 1)),
      untranslated: series(of(untranslated, 1)),
      translatedLessTiming: less(of(translated, 1), of(translated, 0)),
      untranslatedLessTiming: less(of(untranslated, 1), of(untranslated, 0)),
      sockops: series(of(translated, 2)),
      release: series(of(translated, 3)),
    };
  } finally {
    stop();
    link.close();
    object.close();
  }
}

export interface Scaling {
  readonly few: Series;
  readonly many: Series;
  /** The same address dialled all the time, with many routes loaded over with few. */
  readonly ratio: Series;
  /** Every route's address dialled in turn: what the caches then no longer hold. */
  readonly spread: Series;
  readonly spreadRatio: Series;
}

/** Pairs of rounds on two dataplanes that differ in how many routes they hold. */
export async function measureScaling(
  rig: Rig,
  [few, many]: readonly [Dataplane, Dataplane],
  server: ChildProcess,
  settings: { readonly rounds: number; readonly connects: number; readonly routes: number },
): Promise<Scaling> {
  const { rounds, connects, routes } = settings;
  const measured = { few: [] as number[], many: [] as number[], spread: [] as number[] };
  const stop = enableRunTimeStats();
  try {
    const once = async (dataplane: Dataplane, spread: number): Promise<number> => {
      const program = running(dataplane, decider);
      const { cgroup } = dataplane;
      const load = () => rig.dial({ server, cgroup, address: firstVip, connects, spread });
      const [mean = NaN] = await costs([program], load);
      program.close();
      dataplane.drainEvents();
      return mean;
    };
    const turns = [
      async () => measured.few.push(await once(few, 1)),
      async () => measured.many.push(await once(many, 1)),
      async () => measured.spread.push(await once(many, routes)),
    ];
    for (let round = 0; round < rounds; round++) {
      for (let turn = 0; turn < turns.length; turn++)
        await turns[(round + turn) % turns.length]?.();
    }
  } finally {
    stop();
  }
  const ratio = (left: readonly number[]) => series(paired(left, measured.few, (a, b) => a / b));
  return {
    few: series(measured.few),
    many: series(measured.many),
    ratio: ratio(measured.many),
    spread: series(measured.spread),
    spreadRatio: ratio(measured.spread),
  };
}
