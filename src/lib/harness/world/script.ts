// What goes wrong, and when: a scenario's faults as calls on the world.
import { samplerOf } from '../chance/distributions.js';
import { randomOf } from '../chance/random.js';
import type { Mark } from '../result.js';
import { backendsNamed, type Fault, type FaultOf, type Scenario } from '../scenario.js';
import type { Place } from './backends.js';
import type { World } from './world.js';

/** Whose agent can be harmed; a policy without an agent has none. */
export interface AgentHost {
  die(): void;
  appoint(): void;
}

interface Stage {
  readonly scenario: Scenario;
  readonly world: World;
  readonly seed: number;
  /** By node. */
  readonly agents: readonly AgentHost[];
  /** Nodes whose agent does not tick. */
  readonly stopped: Set<number>;
}

function between(world: World, { from, to }: Fault, begin: () => void, end: () => void): void {
  world.at(from, begin);
  world.at(to, end);
}

function slow(stage: Stage, fault: FaultOf<'slow'>, places: readonly Place[]): void {
  const { world, seed } = stage;
  const random = randomOf(seed, `slow from ${fault.from}`);
  const slowed = new Map<Place, Place['service']>();
  const slowDown = (place: Place) => {
    slowed.set(place, place.service);
    if (fault.service !== undefined) place.service = samplerOf(fault.service, random);
    else place.factor *= fault.factor ?? 1;
  };
  const heal = () => {
    for (const [place, service] of slowed) {
      place.service = service;
      place.factor /= fault.service === undefined ? (fault.factor ?? 1) : 1;
    }
    slowed.clear();
  };
  const { rotate } = fault;
  if (rotate === undefined) {
    between(
      world,
      fault,
      () => {
        places.forEach(slowDown);
      },
      heal,
    );
    return;
  }
  let turn = 0;
  for (let atMs = fault.from; atMs < fault.to; atMs += rotate.every) {
    world.at(atMs, () => {
      heal();
      for (let i = 0; i < rotate.count; i++) {
        const place = places[(turn * rotate.count + i) % places.length];
        if (place !== undefined && !slowed.has(place)) slowDown(place);
      }
      turn++;
    });
  }
  world.at(fault.to, heal);
}

/** One backend after the other ends, and another takes its place. */
function replace(
  { world, scenario }: Stage,
  fault: FaultOf<'replace'>,
  numbers: readonly number[],
): void {
  let turn = 0;
  for (let atMs = fault.from; atMs < fault.to; atMs += fault.every) {
    const service = turn % scenario.services;
    const place = numbers[Math.floor(turn / scenario.services) % numbers.length] ?? 0;
    turn++;
    world.at(atMs, () => {
      const served = world.served[service] ?? [];
      const old = world.backends.endpoints[served[place] ?? -1];
      if (old === undefined) return;
      old.gone = true;
      world.breakKept((endpoint) => endpoint === old);
      world.at(world.nowMs + fault.lag, () => {
        const made = world.backends.newEndpoint(service, place);
        if (fault.cold !== undefined) {
          made.coldFactor = fault.cold.factor;
          made.coldUntilMs = world.nowMs + fault.cold.for;
        }
        served[place] = made.number;
        world.announce(service);
      });
    });
  }
}

/** A process that is gone resets what it had; a host that is gone says nothing. */
function down({ world }: Stage, fault: FaultOf<'down'>, places: readonly Place[]): void {
  const set = (is: boolean) => () => {
    for (const place of places) {
      if (fault.does === 'vanish') place.vanished = is;
      else place.refuseShare += is ? 1 : -1;
    }
    if (is && fault.does === 'refuse')
      world.breakAll(({ place }) => places.some((each) => each === world.backends.places[place]));
  };
  between(world, fault, set(true), set(false));
}

function harmAgents({ world, agents, stopped }: Stage, fault: FaultOf<'agent'>): void {
  agents.forEach((agent, node) => {
    if (fault.nodes !== 'all' && !fault.nodes.includes(node)) return;
    between(
      world,
      fault,
      () => {
        stopped.add(node);
        if (fault.does === 'die') agent.die();
      },
      () => {
        stopped.delete(node);
        if (fault.does === 'die') agent.appoint();
      },
    );
  });
}

function play(stage: Stage, fault: Fault): void {
  const { world, scenario, seed } = stage;
  const numbers = 'backends' in fault ? (backendsNamed(scenario, fault.backends) ?? []) : [];
  const places = numbers.flatMap((number) => world.backends.places[number] ?? []);
  const each = (change: (place: Place) => void) => () => {
    places.forEach(change);
  };
  switch (fault.kind) {
    case 'slow':
      slow(stage, fault, places);
      return;
    case 'refuse':
      between(
        world,
        fault,
        each((place) => (place.refuseShare += fault.share)),
        each((place) => (place.refuseShare -= fault.share)),
      );
      return;
    case 'fail':
      between(
        world,
        fault,
        each((place) => (place.failShare += fault.share)),
        each((place) => (place.failShare -= fault.share)),
      );
      return;
    case 'hang':
      between(
        world,
        fault,
        each((place) => (place.hangs = true)),
        each((place) => (place.hangs = false)),
      );
      return;
    case 'errors': {
      const errorMs = samplerOf(fault.service, randomOf(seed, `errors from ${fault.from}`));
      between(
        world,
        fault,
        each((place) => {
          place.errorShare += fault.share;
          place.errorMs = errorMs;
        }),
        each((place) => (place.errorShare -= fault.share)),
      );
      return;
    }
    case 'down':
      down(stage, fault, places);
      return;
    case 'shared-slow': {
      const addsMs = samplerOf(fault.adds, randomOf(seed, `shared from ${fault.from}`));
      between(
        world,
        fault,
        () => (world.sharedMs = addsMs),
        () => (world.sharedMs = undefined),
      );
      return;
    }
    case 'load':
      between(
        world,
        fault,
        () => {
          world.setLoad(world.load * fault.factor);
        },
        () => {
          world.setLoad(fault.factor === 0 ? 1 : world.load / fault.factor);
        },
      );
      return;
    case 'replace':
      replace(stage, fault, numbers);
      return;
    case 'agent':
      harmAgents(stage, fault);
  }
}

function describe(fault: Fault): string {
  const whom = 'backends' in fault ? [fault.backends].flat().join(', ') : '';
  switch (fault.kind) {
    case 'slow':
      return fault.rotate === undefined
        ? `${whom}: slow`
        : `${whom}: ${fault.rotate.count} at a time slow`;
    case 'refuse':
      return `${whom}: refuses ${fault.share * 100} %`;
    case 'fail':
      return `${whom}: fails ${fault.share * 100} %`;
    case 'hang':
      return `${whom}: hangs`;
    case 'errors':
      return `${whom}: answers ${fault.share * 100} % with errors`;
    case 'down':
      return fault.does === 'refuse' ? `${whom}: down` : `${whom}: vanished`;
    case 'shared-slow':
      return 'what all share is slow';
    case 'load':
      return `load × ${fault.factor}`;
    case 'replace':
      return `${whom}: replaced one by one`;
    case 'agent':
      return fault.does === 'die' ? 'agent dead' : 'agent stopped';
  }
}

/** Sets everything that will go wrong on the world's calendar. */
export function playScript(stage: Stage): Mark[] {
  for (const fault of stage.scenario.faults) play(stage, fault);
  return stage.scenario.faults.map((fault) => ({
    atMs: fault.from,
    toMs: Math.min(fault.to, stage.scenario.duration),
    text: describe(fault),
  }));
}
