// The control law (RFC 0001): signals in, field out. Pure: no clock, no chance,
// no order but that of the inputs, and arithmetic that is the same everywhere.
import type { Knobs } from '../config/knobs.js';
import { freshNode, judgeNode } from './node.js';
import type { Reason } from './reasons.js';
import { gravestRegime } from './regime.js';
import { stepRoute } from './route.js';
import type { FieldState, Inputs, StepResult } from './types.js';

export const freshState: FieldState = {
  knobs: null,
  node: freshNode,
  routes: new Map(),
  held: false,
};

export type Law = (state: FieldState, inputs: Inputs, knobs: Knobs) => StepResult;

/**
 * One tick. A route that is not in the inputs is forgotten. For each route the
 * slots of its backends sum to its table's, unless it has no backend.
 */
export function step(state: FieldState, inputs: Inputs, knobs: Knobs): StepResult {
  const { dtMs, held } = inputs;
  const node = judgeNode(state.node, inputs.node, dtMs, knobs);
  const demand = { mode: node.mode, cause: node.cause };
  const retuned = state.knobs !== knobs;
  const steps = inputs.routes.map((route) => {
    const known = state.routes.get(route.name);
    const before = retuned && known !== undefined ? { ...known, rest: null } : known;
    return [route.name, stepRoute(route, before, demand, dtMs, knobs)] as const;
  });
  const hold: Reason[] =
    held === state.held ? [] : [{ change: { of: 'hold' }, cause: { kind: 'failsafe', held } }];
  return {
    state: {
      knobs,
      node: node.memory,
      routes: new Map(steps.map(([name, { memory }]) => [name, memory])),
      held,
    },
    field: {
      node: {
        regime: gravestRegime(steps.map(([, { field }]) => field.regime)),
        exhaustion: node.exhaustion,
        stalledNow: node.stalledNow,
        stalledTicks: node.stalledTicks,
        missing: node.missing,
      },
      routes: steps.map(([, { field }]) => field),
    },
    reasons: [...hold, ...steps.flatMap(([, { reasons }]) => reasons)],
  };
}
