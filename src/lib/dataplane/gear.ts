// The gears by name, as the agent and the views say them.
import { Gear } from './abi.js';

export type GearName = keyof typeof Gear;

const names = Object.keys(Gear) as GearName[];

/** What the kernel does with a gear that it does not know: it draws once more, as twin. */
export function gearName(gear: number): GearName {
  return names.find((name) => Gear[name] === gear) ?? 'twin';
}
