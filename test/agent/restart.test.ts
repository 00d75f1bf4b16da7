// An agent that takes over what another left: what it gives out is given out once, and what
// comes, goes and scales after it ends as if there had been one agent all the time.
import { beforeEach, describe, expect, it } from 'vitest';

import { None } from '../../src/lib/dataplane/abi.js';
import { fieldFaults } from '../../src/lib/dataplane/field-faults.js';
import { tableOf } from '../../src/lib/dataplane/plane.js';
import { Node, route } from './node.js';

const sound = {
  retired: [],
  astray: [],
  ranges: [],
  fallbacks: [],
  miscounted: 0,
  addresses: [],
};
const ports = (from: number, count: number) => Array.from({ length: count }, (_, i) => from + i);

describe('after a restart of the agent', () => {
  let node: Node;
  const faults = () => fieldFaults(node.plane, tableOf(node.plane.word('epoch')));

  beforeEach(() => {
    node = new Node();
    node.agent.serve([
      route('old', ports(8001, 3), ['127.96.0.1']),
      route('kept', ports(8101, 3), ['127.96.0.2']),
    ]);
    node.tick(2);
    node.appoint();
    node.agent.serve([route('kept', ports(8101, 3), ['127.96.0.2'])]);
    node.tick(2);
  });

  it('an index that came back is given to one of two new services, not to both', () => {
    const kept = route('kept', ports(8101, 3), ['127.96.0.2']);
    const first = route('a', ports(8201, 3), ['127.96.0.3']);
    node.agent.serve([kept, first]);
    node.tick(2);
    node.pass(12_000);
    node.agent.serve([kept, first, route('b', ports(8301, 3), ['127.96.0.4'])]);
    node.tick(2);
    expect(node.answers('127.96.0.3')).toEqual([8201, 8202, 8203]);
    expect(node.answers('127.96.0.4')).toEqual([8301, 8302, 8303]);
    expect(faults()).toEqual(sound);
  });

  it('an index that came back rests its time of grace', () => {
    const [index] = [...node.agent.projector.book.routes.values()].map(({ index }) => index);
    node.agent.serve([]);
    node.tick(2);
    node.agent.serve([route('a', ports(8201, 3), ['127.96.0.3'])]);
    const [entry] = [...node.agent.projector.book.routes.values()];
    expect(index).not.toBe(None.none);
    expect(entry?.index).not.toBe(index);
  });

  it('a service that shrinks and grows again has as many slots as before', () => {
    for (const count of [1, 3, 2, 8, 3, 12]) {
      node.agent.serve([route('kept', ports(8101, count), ['127.96.0.2'])]);
      for (let i = 0; i < 12; i++) expect(node.tick().violations).toEqual([]);
      expect(ports(8101, count)).toEqual(expect.arrayContaining(node.answers('127.96.0.2')));
      expect(faults()).toEqual(sound);
    }
  });

  it('a service that fits only in pieces is served: the table is laid out anew', () => {
    node = new Node({ slots: 256, routes: 32, backends: 128, addresses: 32, flows: 64 });
    const small = (i: number) => route(`s${i}`, [8001 + i], [`127.96.0.${i + 1}`]);
    node.agent.serve([0, 1, 2, 3].map(small));
    node.tick(2);
    node.agent.serve([small(1), small(3)]);
    node.tick(2);
    node.agent.serve([small(1), small(3), route('large', ports(8101, 16), ['127.96.0.9'])]);
    expect(node.tick(2).outcome.kind).not.toBe('unsafe');
    expect(node.answers('127.96.0.2')).toEqual([8002]);
    expect(node.answers('127.96.0.4')).toEqual([8004]);
    expect(ports(8101, 16)).toEqual(expect.arrayContaining(node.answers('127.96.0.9')));
    node.tick(2);
    expect(faults()).toEqual(sound);
  });

  it('two thousand new services are served', () => {
    const large = { slots: 524_288, routes: 4096, backends: 8192, addresses: 8192, flows: 64 };
    node = new Node(large);
    const service = (i: number) => route(`s${i}`, [10_000 + i], [`127.96.${i >> 8}.${i & 255}`]);
    const few = Array.from({ length: 8 }, (_, i) => service(i));
    node.agent.serve(few);
    node.tick(2);
    node.appoint();
    node.agent.serve(few.slice(4));
    node.tick(2);
    node.pass(3_000);
    const many = Array.from({ length: 2000 }, (_, i) => service(i));
    node.agent.serve(many);
    expect(node.tick()).toMatchObject({ violations: [], outcome: { kind: 'projected' } });
    const wrong = many.filter((_, i) => node.dial(`127.96.${i >> 8}.${i & 255}`) !== 10_000 + i);
    expect(wrong).toEqual([]);
  });
});
