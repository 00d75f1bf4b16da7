// What holds of routes from any API server: the tests' own and a real one are put to the
// same questions, so that the one cannot be believed where the other differs.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';

import { selectionOf } from '../../src/lib/kubernetes/selection.js';
import { Namespace } from './namespace.js';
import { quickly, Rig, until } from './rig.js';
import { Way } from './way.js';

/** An API server, as whoever may write there gets in. */
export interface Ground {
  readonly kubeconfig: string;
  close(): Promise<void>;
}

/** Nobody dials them: documentation's own addresses. */
const [one, two, three] = ['198.51.100.1', '198.51.100.2', '198.51.100.3'] as const;

/** A real server has etcd behind it, and says nothing for a minute. */
const timing = { ...quickly, answerMs: 5_000, silenceMs: 5_000 };

/** The statements, about the API server that `begin` opens for each. */
export function itFollowsTheCluster(begin: () => Promise<Ground>): void {
  let namespace: Namespace;
  let rig: Rig;
  let way: Way;
  /** Of what was opened: a server that does not answer leaves nothing behind either. */
  const undo: (() => Promise<void>)[] = [];

  beforeEach(async () => {
    const ground = await begin();
    undo.push(() => ground.close());
    namespace = new Namespace(ground.kubeconfig);
    await namespace.open();
    undo.push(() => namespace.close());
    rig = new Rig();
    way = await Way.open(ground.kubeconfig, rig.kubeconfig);
    undo.push(() => way.shut());
    undo.push(() => rig.close());
  });

  afterEach(async () => {
    for (let step = undo.pop(); step !== undefined; step = undo.pop()) await step();
  });

  const open = () => rig.open({ selection: selectionOf(undefined, namespace.name), timing });
  const line = (name: string, vip: string, ...to: string[]) =>
    `${namespace.name}/${name}:http ${vip}:80 -> ${to.map((ip) => `${ip}:8080`).join(' ')}`;

  it('serves its Services and slices, and follows them to their end', async () => {
    const vip = await namespace.addService('cart');
    await namespace.addSlice('cart', one, two);
    await open();
    await rig.shows(line('cart', vip, one, two));
    await namespace.scale('cart', one, three);
    await rig.shows(line('cart', vip, one, three));
    const other = await namespace.addService('pay');
    await namespace.addSlice('pay', two);
    await rig.shows(line('cart', vip, one, three), line('pay', other, two));
    await namespace.removeService('cart');
    await rig.shows(line('pay', other, two));
    await namespace.removeSlice('pay');
    await rig.shows(line('pay', other));
  });

  it('reads lists of many pages', async () => {
    const lines: string[] = [];
    for (let i = 0; i < 8; i++) {
      const vip = await namespace.addService(`shelf-${i}`);
      await namespace.addSlice(`shelf-${i}`, one);
      lines.push(line(`shelf-${i}`, vip, one));
    }
    await open();
    await rig.shows(...lines);
    expect(rig.served).toHaveLength(1);
  });

  it('keeps the routes while the way to it is shut, and then has what changed', async () => {
    const vip = await namespace.addService('cart');
    await namespace.addSlice('cart', one, two);
    const gone = await namespace.addService('gone');
    await open();
    await rig.shows(line('cart', vip, one, two), line('gone', gone));
    await way.shut();
    const before = rig.served.length;
    await namespace.removeService('gone');
    // The same name again, which is another object.
    await namespace.removeSlice('cart');
    await namespace.addSlice('cart', three);
    await sleep(200);
    expect(rig.served).toHaveLength(before);
    await way.reopen();
    await rig.shows(line('cart', vip, three));
  });

  it('is told by an Event of an annotation that is wrong', async () => {
    const vip = await namespace.addService('cart');
    await namespace.addSlice('cart', one);
    await open();
    await rig.shows(line('cart', vip, one));
    await namespace.annotate('cart', { 'nity.dev/gear': 'third' });
    const cluster = rig.opened[0];
    await until(() => cluster?.status().events.written === 1);
    expect(await namespace.events('cart')).toEqual(['NityAnnotationIgnored']);
    expect(rig.now).toEqual([line('cart', vip, one)]);
  });
}
