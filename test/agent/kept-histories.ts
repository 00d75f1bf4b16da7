// Histories that go wrong if one rule of the book or of the addresses is left out, each as
// small as it was shrunk to and called after that rule.
import type { Step } from './history.js';

const scale = (service: number, backends: number): Step => ({ do: 'scale', service, backends });
const move = (vip: number, to: number | null): Step => ({ do: 'move', vip, to });
const tick = (times: number): Step => ({ do: 'tick', times });
const serve: Step = { do: 'serve' };
const flip: Step = { do: 'flip', holdMs: 0, force: false };

/** Two backends, of which one leaves; the table that a flip brings back still names it. */
const oneLeft = [scale(0, 0b11), move(0, 0), serve, tick(3), scale(0, 0b01), serve, tick(1)];

export const keptHistories: Readonly<Record<string, readonly Step[]>> = {
  'an address waits for no slot to move': [
    scale(5, 1),
    { do: 'part', services: 0b100000 },
    move(0, 5),
    tick(1),
    serve,
    tick(2),
  ],
  'a service that is renamed answers until the new one does': [
    move(0, 3),
    serve,
    tick(2),
    { do: 'rename', service: 3, to: 0 },
    serve,
    tick(2),
  ],
  'an index that a table may still name is not free': [
    move(7, 0),
    scale(4, 0b111101010),
    serve,
    tick(2),
    move(7, 4),
    scale(4, 1),
    serve,
    tick(1),
    { do: 'pass', ms: 5_000 },
    tick(1),
    scale(2, 0b1111111),
    serve,
    flip,
    tick(2),
  ],
  'a fallback set that an agent was killed in is filled again': [
    scale(0, 0b11),
    scale(3, 0b1001),
    move(0, 3),
    serve,
    { do: 'kill', afterWrites: 46 },
    tick(2),
    scale(0, 0b111),
    scale(3, 0b100),
    serve,
    serve,
    tick(2),
    { do: 'pass', ms: 20_000 },
  ],
  'an index that is opened again has another handle': [
    move(0, 0),
    serve,
    tick(2),
    { do: 'remove', service: 0 },
    serve,
    tick(2),
    { do: 'pass', ms: 5_000 },
    move(1, 0),
    serve,
    tick(2),
  ],
  'a flip brings back slots of a backend that left': [...oneLeft, flip, tick(2), flip],
  'a flip comes before the first tick of a new agent': [
    ...oneLeft,
    { do: 'restart' },
    flip,
    serve,
    tick(2),
    flip,
  ],
  'a flip brings back slots of a route that is gone': [
    scale(0, 0b11),
    serve,
    tick(3),
    { do: 'remove', service: 0 },
    serve,
    tick(1),
    flip,
    tick(3),
  ],
  'a route without backends keeps no range that a predecessor wrote': [
    scale(0, 0b11),
    move(0, 0),
    serve,
    tick(3),
    scale(0, 0),
    serve,
    tick(1),
    { do: 'restart' },
    scale(1, 0b11),
    serve,
    tick(2),
    flip,
    tick(2),
  ],
};
