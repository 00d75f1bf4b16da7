// An unprivileged process beside an honest client. Whatever it does, its neighbours' connects go
// where they went: none is refused, no healthy backend is isolated, no share is bent.
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, it, type ExpectStatic } from 'vitest';

import { runProgram } from '../e2e/shell.js';
import { unavailable } from '../kernel/rig.js';
import { Backends, type Endpoint } from '../servers/backends.js';
import { isolated, unfairShares } from '../servers/judge.js';
import type { Order } from '../servers/orders.js';
import { Stage, servicePort, type Service } from '../servers/stage.js';
import { HonestClients } from './honest.js';
import { Namespace } from './namespace.js';

const backendsEach = 4;
const attackSeconds = 8;
const honest = { perSecond: 90, seconds: attackSeconds + 1 } as const;
/** The user nobody, which may do nothing. */
const nobody = '65534';

/** As attacker.c names them. */
const ways = {
  'ipv6-only': 'connects that fail before a SYN: no network for that address family',
  'source-port-taken': 'connects that fail before a SYN: the source port is in use',
  'foreign-source': 'connects that fail before a SYN: the source address is not of this node',
  'fast-open-unused': 'fast open, deferred and then not used',
  'abandon-at-once': 'dialling and closing at once',
  'abandon-after-300-ms': 'dialling and closing after 300 ms',
  'reset-at-once': 'dialling and resetting at once',
  'reset-after-request': 'resetting the connection right after a request',
  'reset-while-waiting': 'resetting the connection while it waits for an answer',
  'garbage-closed': 'garbage, at which the backend closes the connection',
  'garbage-reset': 'garbage, at which the backend resets the connection',
  'half-close': 'closing one half of the connection after a slow request',
  'never-read': 'asking for much and reading nothing',
  'hold-idle': 'holding 800 idle connections',
  'hold-answered': 'holding 400 connections that were answered once',
  'hold-unanswered': 'holding 300 requests that no backend answers',
  'give-up-early': 'giving up before the answer',
  'begin-tls': 'beginning a TLS record and sending no more',
  'rising-unused': 'ever more connections, none of which it uses',
  'rising-slow': 'ever more slow requests',
  'rising-closed': 'ever more garbage, at which the backend closes the connection',
  'drip-upload': 'uploading one byte a second',
  'other-device': 'SYNs that leave by a device where nothing answers',
  'other-device-impatient': 'SYNs that nothing answers, until the connect times out',
  signed: 'signed SYNs, which every backend drops',
  'signed-impatient': 'signed SYNs, until the connect times out',
  deaf: 'dropping the answers to its own SYNs',
  'deaf-impatient': 'dropping the answers to its own SYNs, until the connect times out',
  'ttl-1': 'segments that live for one hop',
  'same-socket': 'dialling again and again on one socket',
  killed: 'dying in the middle of its requests',
  'one-deaf': 'dropping what one backend answers to its SYNs',
  'one-deafened': 'acknowledging nothing on connections to one backend',
  'one-unanswered': 'requests that are not answered, to one backend',
  'one-slow': 'slow requests to one backend',
  'one-quick': 'quick requests to one backend, slow ones to the others',
  'one-closed': 'garbage to one backend, which closes the connection',
  'one-reset': 'garbage to one backend, which resets the connection',
  'one-unread': 'reading nothing that one backend sends',
  'one-idle': 'holding idle connections to one backend',
  'others-idle': 'holding idle connections to all backends but one',
  'one-upload': 'uploading one byte a second to one backend',
} as const;
type Way = keyof typeof ways | 'ask';

interface Attack {
  readonly what: string;
  readonly way: Way;
  /** What listens at the backends' addresses in the attacker's own namespace. */
  readonly listening: 'all' | 'nothing' | 'all-but-one' | 'one-slow';
}

const plain: readonly Attack[] = Object.entries(ways).map(([way, what]) => ({
  way: way as Way,
  what,
  listening: 'all',
}));

/** In a namespace of its own the attacker decides what answers at a backend's address. */
const lies: readonly Attack[] = [
  { way: 'ask', what: 'connects where no backend is', listening: 'nothing' },
  { way: 'ask', what: 'connects where one backend is not', listening: 'all-but-one' },
  { way: 'ask', what: 'requests where one backend is slow', listening: 'one-slow' },
];

interface Staged extends Attack {
  readonly place: 'beside' | 'apart';
  readonly vip: string;
}

const staged: readonly Staged[] = [
  ...plain.map((attack, i) => ({
    ...attack,
    place: 'beside' as const,
    vip: `127.96.204.${i + 1}`,
  })),
  ...[...plain, ...lies].map((attack, i) => ({
    ...attack,
    place: 'apart' as const,
    vip: `127.96.205.${i + 1}`,
  })),
];

class Field {
  readonly stage = new Stage();
  private readonly directory = mkdtempSync(join(tmpdir(), 'nity-attacks-'));
  private readonly closing: { close(): Promise<void> }[] = [];
  private readonly services = new Map<Staged, Service>();
  private clients: HonestClients | undefined;
  private here: Namespace | undefined;
  private apart: Namespace | undefined;

  async open(): Promise<void> {
    chmodSync(this.directory, 0o755);
    const source = join(import.meta.dirname, 'attacker.c');
    execFileSync('cc', ['-O1', '-Wall', '-o', this.attacker, source]);
    // What closes last is opened first.
    const here = await this.keep(Namespace.make());
    const apart = await this.keep(Namespace.make());
    const backends = await this.keep(new Backends(here.within));
    const copies = await this.keep(new Backends(apart.within));
    const wanted = staged.flatMap((_, i) =>
      Array.from({ length: backendsEach }, (_, b) => ({ name: `service-${i}-b${b}`, port: 0 })),
    );
    const listening = await backends.listen(wanted);
    for (const [i, attack] of staged.entries()) {
      this.services.set(attack, {
        name: `service-${i}`,
        vip: attack.vip,
        backends: listening.slice(i * backendsEach, (i + 1) * backendsEach),
      });
    }
    await copies.order(
      [...this.services].flatMap(([attack, service]) =>
        attack.place === 'apart' ? listeningApart(attack, service.backends) : [],
      ),
    );
    await this.stage.serve([...this.services.values()]);
    this.stage.enter();
    this.clients = await this.keep(new HonestClients(here.within));
    this.here = here;
    this.apart = apart;
  }

  private async keep<T extends { close(): Promise<void> }>(opened: T | Promise<T>): Promise<T> {
    const one = await opened;
    this.closing.unshift(one);
    return one;
  }

  private get attacker(): string {
    return join(this.directory, 'attacker');
  }

  async play(attack: Staged, expect: ExpectStatic): Promise<void> {
    const service = this.services.get(attack);
    const from = attack.place === 'beside' ? this.here : this.apart;
    const [one] = service?.backends ?? [];
    const { clients } = this;
    if (!service || !from || !one || !clients) throw new Error('the attack is not prepared');
    const words = [
      ...['setpriv', '--reuid', nobody, '--regid', nobody, '--clear-groups', this.attacker],
      ...[attack.way, attack.vip, String(servicePort), String(attackSeconds)],
      ...[one.name, String(one.port), from.deadDevice],
    ];
    const [tally, attacked] = await Promise.all([
      clients.ask(attack.vip, honest.perSecond, honest.seconds),
      runProgram('env', [...from.within, ...words]),
    ]);
    expect(attacked).toMatchObject({ code: 0, stderr: '' });
    expect(Number(attacked.stdout), 'sockets that the attacker used').toBeGreaterThan(10);
    const names = service.backends.map(({ name }) => name);
    const answered = new Map(names.map((name) => [name, tally.answers.get(name) ?? 0]));
    const states = await this.stage.backends(service);
    const complaints = [
      ...tally.unexpected('honest connects', names),
      ...unfairShares('honest connects', answered),
      ...isolated(states),
    ];
    expect(complaints, this.stage.valveLog()).toEqual([]);
  }

  async close(): Promise<void> {
    for (const one of this.closing) await one.close();
    await this.stage.close();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

function listeningApart(attack: Attack, backends: readonly Endpoint[]): readonly Order[] {
  const listen = backends.map((one) => ({ kind: 'listen' as const, ...one }));
  switch (attack.listening) {
    case 'all':
      return listen;
    case 'nothing':
      return [];
    case 'all-but-one':
      return listen.slice(1);
    case 'one-slow':
      return [
        ...listen,
        ...backends.slice(0, 1).map(({ name }) => ({ kind: 'delay' as const, name, ms: 3000 })),
      ];
  }
}

describe.skipIf(unavailable !== undefined)('an unprivileged process', () => {
  let field: Field | undefined;

  beforeAll(async () => {
    field = new Field();
    await field.open();
  });
  afterAll(() => field?.close());

  const where = { beside: 'beside an honest client', apart: 'from a namespace of its own' };
  for (const attack of staged) {
    it.concurrent(`${where[attack.place]}: ${attack.what}`, ({ expect }) =>
      field?.play(attack, expect),
    );
  }
});
