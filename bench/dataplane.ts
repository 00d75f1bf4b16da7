// Measures the dataplane on this machine's kernel and says what it found; with
// --json, every round of it. Needs root, cc, clang and nftables.
//
//   npx tsx bench/dataplane.ts [--json] [--quick]

import { programNames } from '../src/lib/dataplane/programs.js';
import { BpfLink, BpfProgram } from '../src/lib/dataplane/native.js';
import { linkPin } from '../src/lib/dataplane/pins.js';
import { measureRates } from './connects.js';
import { machine } from './machine.js';
import { measureCosts, measureScaling } from './programs.js';
import { measureProjection } from './projection.js';
import { render, type Measurements } from './report.js';
import { compile, Rig, type Dataplane } from './rig.js';

const quick = process.argv.includes('--quick');
const settings = {
  costRounds: quick ? 3 : 31,
  costConnects: 10_000,
  scalingRounds: quick ? 3 : 31,
  scalingConnects: 10_000,
  ratePairs: quick ? 5 : 121,
  rateConnects: 2_000,
  projectionRounds: quick ? 50 : 200,
  projectionWarmUp: 30,
} as const;
const manyRoutes = 10_000;
const wideRoutes = 1_000;
const wideSlots = 256;
const minutesMax = 15;

function timedRuns({ pinPath }: Dataplane): number {
  return programNames.reduce((sum, name) => {
    const link = BpfLink.open(linkPin(pinPath, name));
    const program = BpfProgram.byId(link.info().programId);
    const { runCount } = program.info();
    program.close();
    link.close();
    return sum + Number(runCount);
  }, 0);
}

function progress(what: string): void {
  process.stderr.write(`${what}\n`);
}

async function measure(rig: Rig): Promise<Measurements> {
  compile();
  rig.open();
  const plain = await rig.server('plain');
  const nat = await rig.server('nat');
  const few = rig.dataplane('few', 1);

  progress('the rates of connects');
  const before = timedRuns(few);
  const rates = await measureRates(
    rig,
    few,
    { plain, nat },
    { rounds: settings.ratePairs, connects: settings.rateConnects },
  );
  const timedDuringRates = timedRuns(few) - before;

  progress('the cost of the programs');
  const costs = await measureCosts(rig, few, plain, {
    rounds: settings.costRounds,
    connects: settings.costConnects,
  });

  progress('the cost with many routes');
  const many = rig.dataplane('many', manyRoutes);
  const scaling = await measureScaling(rig, [few, many], plain, {
    rounds: settings.scalingRounds,
    connects: settings.scalingConnects,
    routes: manyRoutes,
  });

  progress('the projection of a field');
  const wide = rig.dataplane('wide', wideRoutes, wideSlots);
  const projection = measureProjection(wide, {
    rounds: settings.projectionRounds,
    warmUp: settings.projectionWarmUp,
    slots: wideRoutes * wideSlots,
  });

  const { programs } = few.report;
  return {
    machine: machine(),
    settings,
    timedDuringRates,
    programs,
    costs,
    scaling,
    rates,
    projection,
  };
}

const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    interrupted.abort(new Error(`ended by ${signal}`));
  });
}
const rig = new Rig(
  AbortSignal.any([interrupted.signal, AbortSignal.timeout(minutesMax * 60_000)]),
);
try {
  const measured = await measure(rig);
  console.log(
    process.argv.includes('--json') ? JSON.stringify(measured, null, 1) : render(measured),
  );
} finally {
  await rig.close();
}
