// Addresses that come, go and move between routes, when no slot on the node moves: a new one
// is served within two ticks, and one that moves is answered at every instant.
import { beforeEach, describe, expect, it } from 'vitest';

import { Node, route } from './node.js';

const [own, external, other] = ['127.96.0.1', '127.96.0.2', '127.96.0.3'] as const;

describe('an address on a quiet node', () => {
  let node: Node;

  beforeEach(() => {
    node = new Node();
    node.agent.serve([route('a', [8001], [own]), route('b', [8101], [other])]);
    node.tick(4);
  });

  it('is served within two ticks of being given to a route', () => {
    node.agent.serve([route('a', [8001], [own, external]), route('b', [8101], [other])]);
    node.tick(2);
    expect(node.dial(external)).toBe(8001);
    expect(node.dial(own)).toBe(8001);
  });

  it('is served within two ticks of moving to another route, and by the old one until then', () => {
    node.agent.serve([route('a', [8001], []), route('b', [8101], [other, own])]);
    expect(node.dial(own)).toBe(8001);
    node.tick(2);
    expect(node.dial(own)).toBe(8101);
  });

  it('is never left unanswered when two routes swap theirs', () => {
    node.agent.serve([route('a', [8001], [other]), route('b', [8101], [own])]);
    expect([node.dial(own), node.dial(other)]).toEqual([8001, 8101]);
    node.tick(2);
    expect([node.dial(own), node.dial(other)]).toEqual([8101, 8001]);
  });

  it('is answered by the old service until the one of another name that takes it is served', () => {
    node.agent.serve([route('renamed', [8001], [own]), route('b', [8101], [other])]);
    expect(node.dial(own)).toBe(8001);
    node.tick(2);
    expect(node.dial(own)).toBe(8001);
    node.tick(2);
    expect(node.agent.serves('shop/a:http', '127.0.0.1:8001')).toBe(false);
    expect(node.plane.routes.entries().count).toBe(2);
  });

  it('is nobody’s as soon as no route has it', () => {
    node.agent.serve([route('a', [8001], []), route('b', [8101], [other])]);
    expect(node.dial(own)).toBe('untranslated');
  });

  it('is served during an operator’s hold, by a route that the table in force serves', () => {
    node.plane.setWord('projectionHeldUntilNs', node.plane.nowNs() + 30_000_000_000n);
    node.agent.serve([route('a', [8001], [own, external]), route('b', [8101], [other])]);
    expect(node.tick(2).outcome.kind).toBe('held');
    expect(node.dial(external)).toBe(8001);
  });

  it('is not served during a hold by a new route, which no table knows', () => {
    node.plane.setWord('projectionHeldUntilNs', node.plane.nowNs() + 5_000_000_000n);
    const fresh = route('new', [8201], [external]);
    node.agent.serve([route('a', [8001], [own]), route('b', [8101], [other]), fresh]);
    node.tick(2);
    expect(node.dial(external)).toBe('untranslated');
    node.pass(5_000);
    node.tick(2);
    expect(node.dial(external)).toBe(8201);
  });

  it('returns to the route that still claims it, when the one that took it gives it up', () => {
    node.agent.serve([route('b', [8101], [other, own])], false);
    node.tick(2);
    expect(node.dial(own)).toBe(8101);
    node.agent.serve([route('b', [8101], [other])], false);
    node.tick(2);
    expect(node.dial(own)).toBe(8001);
  });
});
