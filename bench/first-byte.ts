// Measures what first-byte latency costs: its programs by the packet, and the
// rate of requests on a connection that is kept alive, with it and without it.
//
//   npx tsx bench/first-byte.ts [--json] [--quick]
import type { ChildProcess } from 'node:child_process';

import { machine } from './machine.js';
import { meanNs, running } from './programs.js';
import { BpfObject, enableRunTimeStats } from '../src/lib/dataplane/native.js';
import { row, head, table, atLeast, atMost } from './report.js';
import { compile, emptyObject, exchangeLoad, firstVip, port, Rig, type Dataplane } from './rig.js';
import { paired, series, type Series } from './statistics.js';

const quick = process.argv.includes('--quick');
const settings = {
  costRounds: quick ? 3 : 21,
  costExchanges: 20_000,
  ratePairs: quick ? 5 : 61,
  rateExchanges: 16_000,
} as const;
const minutesMax = 15;
const manyConnections = 16;
/** A mask that no flow's hash fits: first-byte latency is on, and the flow is not measured. */
const noFlow = 0xffff_ffff;

interface Costs {
  readonly timing: Series;
  readonly ingress: Series;
  readonly sockops: Series;
  readonly runsPerExchange: { readonly ingress: number; readonly sockops: number };
}

function setSampling(dataplane: Dataplane, latencyMask: number, latencySkip: number): void {
  for (const entry of dataplane.projector.book.routes.values()) {
    dataplane.projector.setSampling(entry, latencyMask, latencySkip);
  }
}

/** The mean of one run of each program while a client asks again and again. */
async function measureCosts(rig: Rig, dataplane: Dataplane): Promise<Costs> {
  const server = await rig.server('plain', exchangeLoad);
  const object = new BpfObject(emptyObject);
  object.load();
  const link = object.program('empty_ingress').attachCgroup(dataplane.cgroup);
  const programs = [
    object.program('empty_ingress'),
    running(dataplane, 'nity_ingress'),
    running(dataplane, 'nity_sockops'),
  ];
  const stop = enableRunTimeStats();
  const rounds: number[][] = [];
  let runs: number[] = [];
  try {
    for (let round = 0; round < settings.costRounds; round++) {
      const before = programs.map((program) => program.info());
      await rig.client(server, dataplane.cgroup, ask(settings.costExchanges, 1));
      const after = programs.map((program) => program.info());
      rounds.push(after.map((info, i) => meanNs(before[i] ?? info, info)));
      runs = after.map((info, i) => Number(info.runCount - (before[i] ?? info).runCount));
    }
  } finally {
    stop();
    link.close();
    object.close();
  }
  const of = (i: number) => series(rounds.map((round) => round[i] ?? NaN));
  const perExchange = (i: number) => (runs[i] ?? NaN) / settings.costExchanges;
  return {
    timing: of(0),
    ingress: of(1),
    sockops: of(2),
    runsPerExchange: { ingress: perExchange(1), sockops: perExchange(2) },
  };
}

const ask = (exchanges: number, connections: number) => [
  exchangeLoad,
  'ask',
  firstVip,
  port,
  exchanges,
  connections,
];

/** Client and server both in the cgroup, as on a node whose root the programs are attached to. */
async function measureRates(
  rig: Rig,
  ways: readonly Dataplane[],
  servers: readonly ChildProcess[],
  connections: number,
): Promise<Series[]> {
  const once = async (i: number): Promise<number> => {
    const [way, server] = [ways[i], servers[i]];
    if (way === undefined || server === undefined) throw new Error('there is no such way');
    return rig.client(server, way.cgroup, ask(settings.rateExchanges / connections, connections));
  };
  const ns = ways.map((): number[] => []);
  for (let i = 0; i < ways.length; i++) await once(i);
  for (let round = 0; round < settings.ratePairs; round++) {
    for (let turn = 0; turn < ways.length; turn++) {
      const i = (round + turn) % ways.length;
      ns[i]?.push(await once(i));
    }
  }
  return ns.map(series);
}

function rateRows(what: string, [without, all, some, none]: readonly Series[]) {
  if (without === undefined || all === undefined || some === undefined || none === undefined)
    return [];
  const ratio = (left: Series) => series(paired(left.rounds, without.rounds, (a, b) => b / a));
  return [
    row(`${what}: --latency connect`, without, 0),
    row(`${what}: measured`, all, 0),
    row(`${what}: one exchange in 64 measured`, some, 0),
    row(`${what}: not measured`, none, 0),
    row(`${what}: measured / connect`, ratio(all), 3),
    row(`${what}: one in 64 / connect`, ratio(some), 3, atLeast(0.97)),
    row(`${what}: not measured / connect`, ratio(none), 3),
  ];
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
  compile();
  rig.open();
  const connect = rig.dataplane('connect', 1, 64, 'connect');
  const measured = rig.dataplane('measured', 1);
  const unmeasured = rig.dataplane('unmeasured', 1);
  setSampling(unmeasured, noFlow, 0);
  // What the agent comes to at this rate.
  const sampled = rig.dataplane('sampled', 1);
  setSampling(sampled, 0, 63);
  const ways = [connect, measured, sampled, unmeasured];
  const servers: ChildProcess[] = [];
  for (const { cgroup } of ways) servers.push(await rig.server('plain', exchangeLoad, cgroup));
  process.stderr.write('the rate of exchanges\n');
  const rates = {
    one: await measureRates(rig, ways, servers, 1),
    many: await measureRates(rig, ways, servers, manyConnections),
  };
  process.stderr.write('the cost of the programs\n');
  const costs = {
    measured: await measureCosts(rig, measured),
    unmeasured: await measureCosts(rig, unmeasured),
  };
  const result = { settings, rates, costs };
  const less = ({ timing }: Costs, gross: Series) =>
    series(paired(gross.rounds, timing.rounds, (a, b) => a - b));
  const text = [
    machine(),
    '',
    'One exchange of 64 bytes each way on kept-alive connections, in ns, and ratios of rates',
    '',
    table([
      head,
      ...rateRows('1 connection', rates.one),
      ...rateRows(`${manyConnections} at once`, rates.many),
    ]),
    '',
    'One run of a program, in ns',
    '',
    table([
      head,
      row('an empty program: the timing itself', costs.measured.timing, 0),
      row('ingress, flow not measured', costs.unmeasured.ingress, 0),
      row(
        'ingress, flow not measured, less timing',
        less(costs.unmeasured, costs.unmeasured.ingress),
        0,
        atMost(60),
      ),
      row(
        'ingress, flow measured, less timing',
        less(costs.measured, costs.measured.ingress),
        0,
        atMost(300),
      ),
      row(
        'sockops, flow measured, less timing',
        less(costs.measured, costs.measured.sockops),
        0,
        atMost(300),
      ),
    ]),
    '',
    `Runs an exchange: ingress ${costs.measured.runsPerExchange.ingress.toFixed(2)}, sockops ${costs.measured.runsPerExchange.sockops.toFixed(2)} measured and ${costs.unmeasured.runsPerExchange.sockops.toFixed(2)} not measured`,
  ].join('\n');
  console.log(process.argv.includes('--json') ? JSON.stringify(result, null, 1) : text);
} finally {
  await rig.close();
}
