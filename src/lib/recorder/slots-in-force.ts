// The slots in force while other knobs, or another law, are tried on recorded signals:
// they are what was tried before, not what was recorded. All other signals stay as they
// were, so what is shown is the law's answer to that traffic, not the traffic's to it.
import type { Field, Inputs, RouteSignals } from '../field/types.js';
import type { RecordedTick } from './reader.js';

type Slots = ReadonlyMap<string, number>;

interface InForce {
  /** What the recorded run must have in force in the next tick, if nobody else moves slots. */
  readonly recorded: Slots;
  readonly tried: Slots;
}

/** Outcomes after which the field of the tick is in force; others leave what was. */
const taking: readonly RecordedTick['outcome'][] = ['projected', 'unchanged'];

export class SlotsInForce {
  private routes = new Map<string, InForce>();

  /** The tick's inputs, with the slots that were tried. */
  inputs({ inputs }: RecordedTick): Inputs {
    const routes = inputs.routes.map((route) => {
      const slots = this.slotsOf(route);
      if (slots === undefined) return route;
      const backends = route.backends.map((backend) => ({
        ...backend,
        slots: slots.get(backend.id) ?? backend.slots,
      }));
      return { ...route, backends };
    });
    return { ...inputs, routes };
  }

  /** What this tick came to, recorded and tried, from the inputs that it was given. */
  left({ inputs, outputs, outcome }: RecordedTick, given: Inputs, tried: Field): void {
    const took = taking.includes(outcome);
    this.routes = new Map(
      inputs.routes.map((route, i): [string, InForce] => {
        const recorded = took ? outputs[i]?.slots : undefined;
        return [
          route.name,
          {
            recorded: new Map(
              route.backends.map(({ id, slots }, k) => [id, recorded?.[k] ?? slots]),
            ),
            tried: slotsById((took ? tried : given).routes[i]?.backends ?? []),
          },
        ];
      }),
    );
  }

  forget(): void {
    this.routes = new Map();
  }

  /** Undefined: as recorded, because nothing else was tried or because somebody else set them. */
  private slotsOf({ name, backends }: RouteSignals): Slots | undefined {
    const known = this.routes.get(name);
    if (known === undefined) return undefined;
    const { recorded, tried } = known;
    const byAnother = backends.some(({ id, slots }) => (recorded.get(id) ?? slots) !== slots);
    if (byAnother) return undefined;
    return backends.some(({ id, slots }) => (tried.get(id) ?? slots) !== slots) ? tried : undefined;
  }
}

function slotsById(backends: readonly { readonly id: string; readonly slots: number }[]): Slots {
  return new Map(backends.map(({ id, slots }) => [id, slots]));
}
