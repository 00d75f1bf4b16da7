// An explanation for a person: the terms, what was done with them, and what would
// have to happen for the next change.
import type { ExplainedRoute, Report } from '../agent/report.js';
import { describeCause, describeReason, milliseconds, percent } from '../agent/words.js';
import { typicalUs } from '../field/memory.js';
import type { BackendField, BackendMemory, Exhaustion } from '../field/types.js';
import { palette } from './colour.js';
import { renderTable, type TableOptions } from './table.js';

type Knobs = Report['knobs'];

const knob = (knobs: Knobs, name: string) => knobs[name] ?? NaN;

const term = (value: number | null) => (value === null ? null : value.toFixed(2));

/** The most that speaks against a backend, in bits: slow answers, failed connects or unserved requests. */
function evidenceOf({ evidence, networkBits, serviceBits }: BackendMemory): number {
  return Math.max(evidence, networkBits, serviceBits);
}

function backendTable(route: ExplainedRoute, options: TableOptions): string {
  const { observed } = route;
  return renderTable(
    route.backends,
    [
      { head: 'BACKEND', cell: ({ id }) => id },
      {
        head: 'STATE',
        cell: ({ state, memory }) => (memory.circuit.kind === 'returning' ? 'returning' : state),
      },
      { head: 'SLOTS', align: 'right', cell: ({ slots }) => slots },
      ...(observed === null
        ? []
        : [
            {
              head: 'IN FORCE',
              align: 'right',
              cell: ({ id }: BackendField) => observed.slots[id] ?? null,
            } as const,
          ]),
      { head: 'TARGET', align: 'right', cell: ({ target }) => target },
      { head: 'WEIGHT', align: 'right', cell: ({ weight }) => percent(weight) },
      { head: 'PRESSURE', align: 'right', cell: ({ pressure }) => pressure.total.toFixed(2) },
      { head: 'LATENCY', align: 'right', cell: ({ pressure }) => term(pressure.latency) },
      { head: 'QUEUE', align: 'right', cell: ({ pressure }) => term(pressure.queue) },
      { head: 'ERRORS', align: 'right', cell: ({ pressure }) => term(pressure.errors) },
      { head: 'GATE', align: 'right', cell: ({ pressure }) => pressure.gate },
      { head: 'PATH', align: 'right', cell: ({ pressure }) => term(pressure.path) },
      { head: 'NODE', align: 'right', cell: ({ pressure }) => term(pressure.node) },
      {
        head: 'TYPICAL',
        align: 'right',
        wide: true,
        cell: ({ memory }) => {
          const us = typicalUs(memory);
          return us === null ? null : milliseconds(us / 1000);
        },
      },
      {
        head: 'ANSWERS',
        align: 'right',
        wide: true,
        cell: ({ memory }) => memory.answers.toFixed(0),
      },
      {
        head: 'EVIDENCE',
        align: 'right',
        wide: true,
        cell: ({ memory }) => memory.evidence.toFixed(1),
      },
    ],
    options,
  );
}

/** The pressure at which a backend at rest would begin to lose slots. */
function pressureToMove(
  route: ExplainedRoute,
  backend: BackendField,
  epsilon: number,
): number | null {
  const wanted = (backend.slots - route.motion.startsAt) / route.slots;
  if (wanted <= 0 || backend.weight <= 0 || backend.weight >= 1) return null;
  // w' = x / (x + R) for x = 1/(P'+ε), with the others' R as it is.
  const own = 1 / (backend.pressure.total + epsilon);
  const others = own / backend.weight - own;
  return (1 - wanted) / (wanted * others) - epsilon;
}

function slotLines({ motion, backends }: ExplainedRoute): string[] {
  const { worst, startsAt, stopsAt, moving, limit, guard, skew } = motion;
  const moved = backends.filter(({ slots, before }) => slots !== before).length;
  const slots = (n: number) =>
    n === 1 ? '1 slot' : `${Number.isInteger(n) ? n : n.toFixed(1)} slots`;
  return [
    moving
      ? `Hysteresis: moving, ${moved} backends in this tick; the farthest is ${slots(worst)} off its target, and it stops within ${slots(stopsAt)}`
      : `Hysteresis: at rest; the farthest is ${slots(worst)} off its target, and motion starts beyond ${slots(startsAt)}`,
    `Viscosity: at most ${slots(limit)} a backend and tick`,
    guard < 1
      ? `Guard: holds the viscosity to ${percent(guard)} of its limit; skew ${percent(skew)}`
      : `Guard: idle; skew ${percent(skew)}`,
  ];
}

/** First of all: that what follows is not what is in force, and what it comes to. */
function observedLines({ observed, backends, valve, slots: total }: ExplainedRoute): string[] {
  if (observed === null) return [];
  const { percent: enforced, wouldHaveRefused, wouldHaveIsolated } = observed;
  const isolated = backends.filter(({ state }) => state === 'isolated').map(({ id }) => id);
  const fair = total / Math.max(1, backends.length);
  const moved = backends.filter(({ slots }) => Math.abs(slots - fair) >= 1).length;
  return [
    enforced === 0
      ? 'Only observed: nothing of this is enforced. All backends are picked alike, and nobody is refused.'
      : `Enforced on ${enforced} % of the connects; the others pick all backends alike, and none is refused.`,
    `In full, now: ${
      isolated.length === 0 ? 'no backend would be isolated' : `${isolated.join(', ')} isolated`
    }; ${moved} of ${backends.length} backends off their even share of ${fair.toFixed(1)} slots; the valve ${valve.mode}.`,
    `Since it is observed: ${wouldHaveIsolated} isolations; ${wouldHaveRefused} connects went through that the valve would have refused.`,
  ];
}

function valveLine({ valve, conductance }: ExplainedRoute): string {
  const { mode, cause, budgetPerSecond, goodputPerSecond, debt } = valve;
  const why = cause === null ? '' : ` (${describeCause(cause)})`;
  const budget = budgetPerSecond === null ? '' : `, admits ${budgetPerSecond.toFixed(0)}/s`;
  const owed = debt >= 1 ? `, debt ${debt.toFixed(0)} connects` : '';
  const good = goodputPerSecond === null ? '' : `, goodput ${goodputPerSecond.toFixed(0)}/s`;
  return `Valve: ${mode}${why}${budget}${good}${owed}, conductance ${conductance.toFixed(2)}`;
}

function lasting({ resource, used, limit, ttfMs }: Exhaustion): string {
  const [share, lasts] = [percent(used / limit), milliseconds(ttfMs)];
  return lasts === 'never'
    ? `${resource} at ${share} of its limit, and not about to reach it`
    : `${resource} at ${share} of its limit lasts ${lasts}`;
}

function nodeLines({ node }: Report): string[] {
  const { exhaustion, stalledTicks, missing } = node;
  return [
    `Node: ${exhaustion === null ? 'no resource can be read' : lasting(exhaustion)}`,
    `Stalls: in ${stalledTicks} ticks of late`,
    ...missing.map(({ sensor, why }) => `Missing: ${sensor}: ${why}`),
  ];
}

/** One line a backend that is under way, and one for what is nearest among those at rest. */
function nextLines(route: ExplainedRoute, knobs: Knobs): string[] {
  const slower = knob(knobs, 'isolateSlower');
  const lines = route.backends.flatMap(({ id, memory: { circuit } }) => {
    if (circuit.kind === 'isolated') {
      const due = circuit.remainingMs > 0 ? `in ${milliseconds(circuit.remainingMs)}` : 'now';
      const well =
        route.referenceUs === null
          ? 'succeeds'
          : `is answered within ${milliseconds((route.referenceUs * slower) / 1000)}`;
      return [
        `${id}, isolated by ${circuit.cause}, returns when the probe that is due ${due} ${well}`,
      ];
    }
    if (circuit.kind === 'returning') {
      const all = knob(knobs, 'slowStartMs');
      const share = all === 0 ? 1 : Math.min(1, circuit.forMs / all);
      return [
        `${id} is offered ${percent(share)} of its share, all of it in ${milliseconds(Math.max(0, all - circuit.forMs))}`,
      ];
    }
    return [];
  });
  const limit = knob(knobs, 'isolateEvidence');
  const suspicious = route.backends.filter(
    ({ memory }) => evidenceOf(memory) > 0 && memory.circuit.kind !== 'isolated',
  );
  for (const { id, memory } of suspicious) {
    lines.push(
      `${id} is isolated at ${limit} bits of evidence; it has ${evidenceOf(memory).toFixed(1)}`,
    );
  }
  const [most] = [...route.backends]
    .filter(({ memory }) => memory.circuit.kind === 'admitted')
    .sort((a, b) => b.pressure.total - a.pressure.total);
  if (most !== undefined && !route.motion.moving) {
    const at = pressureToMove(route, most, knob(knobs, 'epsilon'));
    if (at !== null) {
      lines.push(
        `${most.id} loses slots when its pressure rises from ${most.pressure.total.toFixed(2)} beyond ${Math.max(at, most.pressure.total).toFixed(2)}`,
      );
    }
  }
  if (route.valve.mode === 'normal') {
    lines.push(
      `the valve turns soft when answers come late and more requests than usual stay unanswered, or when a resource lasts less than ${milliseconds(knob(knobs, 'ttfSafeMs'))}`,
    );
  } else {
    lines.push(
      `the valve opens by one mode after ${milliseconds(knob(knobs, 'recoverMs'))} of calm; so far ${milliseconds(route.valve.calmMs)}`,
    );
  }
  return lines;
}

function indented(lines: readonly string[]): string {
  return lines.map((line) => `  ${line}`).join('\n');
}

export function renderExplanation(
  report: Report,
  route: ExplainedRoute,
  options: TableOptions,
): string {
  const { bold } = palette('stdout');
  const normal =
    route.referenceUs === null
      ? 'no answer was measured yet'
      : `normal latency ${milliseconds(route.referenceUs / 1000)}`;
  const { observed } = route;
  const first = observedLines(route);
  const changes = route.reasons.map(
    (reason) => `${milliseconds(reason.agoMs).padStart(8)} ago  ${describeReason(reason)}`,
  );
  return [
    `${bold(route.name)}: ${route.regime}, gear ${route.gear}, ${normal}${route.scaleHint === null ? '' : `, more replicas would help (${route.scaleHint})`}`,
    ...first,
    `tick ${report.sequence}, ${milliseconds(report.agoMs)} ago, took ${milliseconds(report.tookMs)}, ${report.outcome}`,
    '',
    backendTable(route, options),
    '',
    bold(observed === null ? 'What was done' : 'What would be done in full'),
    indented([...slotLines(route), valveLine(route), ...nodeLines(report)]),
    '',
    bold(observed === null ? 'Last changes' : 'Last changes, as they would be in full'),
    indented(changes.length === 0 ? ['none since the agent started'] : changes),
    '',
    bold('What would change next'),
    indented(nextLines(route, report.knobs)),
  ].join('\n');
}
