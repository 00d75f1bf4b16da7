// The cluster as a source of routes: watches fill the store, what changed is made into
// routes again, and each change is followed until it is in the kernel.
import type { AgentLog } from '../agent/log.js';
import { messageOf } from '../errors.js';
import type { RouteField } from '../field/types.js';
import type { Route, RouteKnobs } from '../routes/route-set.js';
import { readAnnotations, type WrongAnnotation } from './annotations.js';
import { Assembler, type Capacity, type Claimant } from './assemble.js';
import { ApiClient } from './client.js';
import { EventWriter } from './events.js';
import { HandOver, routeAlone, type Serve } from './hand-over.js';
import { ScaleHints } from './hints.js';
import type { ClusterAccess } from './kubeconfig.js';
import type { NodeObject, ServiceObject } from './objects.js';
import { Progress } from './progress.js';
import { resourcesOf, type Selection } from './selection.js';
import { serviceRoutes, type Skipped } from './service-routes.js';
import type { ClusterStatus } from './status.js';
import { ClusterStore } from './store.js';
import { Backoff, defaultTiming, isAborted, pause, type Timing } from './timing.js';
import { Watch } from './watch.js';
import {
  askApiEndpoints,
  askNode,
  keepApiEndpoints,
  ownAddresses,
  recallApiEndpoints,
} from './whereabouts.js';
import { findWayIn, type FindWayIn } from './way-in.js';

export interface ClusterOptions {
  readonly access: ClusterAccess;
  readonly findWayIn?: FindWayIn;
  readonly selection: Selection;
  readonly nodeName: string;
  readonly log: AgentLog;
  readonly capacity: () => Capacity;
  /** Where the API server's own endpoints are kept between runs. */
  readonly endpointsFile: string;
  readonly timing?: Timing;
  readonly random?: () => number;
  /** This machine's addresses, for NodePorts. */
  readonly own?: ReadonlySet<string>;
  /** New or changed routes of about so many backends are handed over before a tick, and one at least. */
  readonly backendsAtOnce?: number;
  /** An Event waits up to so long, since other nodes may write the same. */
  readonly eventSpreadMs?: number;
}

/** Nodes that see the same are to write within two minutes, not within a second. */
const eventSpreadMs = 120_000;

/** What reconciling, the law and the projection do for so many new backends takes some 20 ms. */
const backendsAtOnceByDefault = 2_400;
/** To make their routes takes a fifth of that. */
const makingIsQuicker = 5;

/** With what its annotations said when they were last right. */
interface Annotated extends Claimant {
  readonly knobs: RouteKnobs;
}

export class ClusterRoutes {
  private readonly stop = new AbortController();
  private readonly store = new ClusterStore(() => performance.now());
  private readonly watches: readonly Pick<Watch<ServiceObject>, 'run' | 'status'>[];
  private readonly assembler = new Assembler();
  private readonly claimants = new Map<string, Annotated>();
  /** What of a Service's annotations was told already. */
  private readonly complaints = new Map<string, string>();
  private readonly hints = new ScaleHints();
  private readonly events: EventWriter;
  private readonly changes = new Progress();
  private readonly handOver: HandOver;
  private node: NodeObject | undefined;
  private excluded: ReadonlySet<string> = new Set();
  private skipped: readonly Skipped[] = [];
  private assembled = false;
  /** All routes were handed over once. */
  known = false;
  private running: Promise<unknown> = Promise.resolve();

  static async open(options: ClusterOptions): Promise<ClusterRoutes> {
    const timing = options.timing ?? defaultTiming;
    const wayIn = await (options.findWayIn ?? findWayIn)(options.access);
    return new ClusterRoutes(options, timing, new ApiClient(wayIn, timing));
  }

  private constructor(
    private readonly options: ClusterOptions,
    private readonly timing: Timing,
    private readonly client: ApiClient,
  ) {
    const { log, random = Math.random } = options;
    client.alsoAt(recallApiEndpoints(options.endpointsFile, client.url));
    this.events = new EventWriter({
      post: (path, body, signal) => client.post(path, body, signal),
      node: options.nodeName,
      log,
      random,
      spreadMs: options.eventSpreadMs ?? eventSpreadMs,
    });
    this.handOver = new HandOver(this.backendsAtOnce, log);
    const { store } = this;
    const common = { client, timing, log, random };
    this.watches = resourcesOf(options.selection).flatMap(({ namespace, services, slices }) => [
      new Watch({ ...common, resource: services, sink: store.services.part(namespace) }),
      new Watch({ ...common, resource: slices, sink: store.slices.part(namespace) }),
    ]);
  }

  /** Begins to list and to watch; what comes of it is told by apply(). */
  start(): void {
    const { signal } = this.stop;
    this.running = Promise.all([
      ...this.watches.map((watch) => watch.run(signal)),
      this.lookAround(signal),
    ]);
  }

  /** Every list was complete once, so that what is missing is missing in the cluster. */
  get synced(): boolean {
    return this.node !== undefined && this.store.services.synced && this.store.slices.synced;
  }

  /**
   * Hands the routes to `serve` if they changed, some at a time if many did. True if more can
   * follow at once.
   */
  apply(serve: Serve): boolean {
    const { node } = this;
    if (!this.synced || node === undefined) return false;
    if (this.store.changed && !this.remake(node)) return true;
    if (!this.assembled) this.assemble();
    const hasMore = this.handOver.next(serve);
    if (this.handOver.isComplete) this.toldAll();
    return hasMore;
  }

  private get backendsAtOnce(): number {
    return this.options.backendsAtOnce ?? backendsAtOnceByDefault;
  }

  private toldAll(): void {
    if (this.known) return;
    this.known = true;
    this.options.log.info(
      `${this.handOver.count} routes are served from ${this.client.url}; ${this.skipped.length} addresses and ports are left for kube-proxy`,
    );
  }

  /** What was handed over is in the kernel now. */
  programmed(): void {
    // What is made and not set together yet was not handed over either.
    if (this.handOver.isComplete && this.assembled)
      this.changes.ended((service) => this.claimants.has(service));
  }

  /** Raises scale hints for what a tick's field says. */
  see(routes: readonly RouteField[]): void {
    for (const { service, kind, route, words } of this.hints.see(routes, performance.now())) {
      const uid = this.store.services.get(service)?.uid;
      if (uid === undefined) continue;
      const node = this.options.nodeName;
      const message = `On ${node}: ${words} More replicas may help.`;
      const subject = `${route} ${kind}`;
      this.events.write({ service, uid, reason: 'NityScaleHint', message, subject });
    }
  }

  status(): ClusterStatus {
    const nowMs = performance.now();
    const { store, changes, events } = this;
    const oldestMs = Math.min(store.oldestMs ?? Infinity, changes.oldestMs ?? Infinity);
    return {
      schemaVersion: 1,
      server: this.client.url,
      node: this.options.nodeName,
      synced: this.synced && this.known,
      watches: this.watches.map((watch) => watch.status()),
      services: store.services.size,
      slices: store.slices.size,
      routes: this.handOver.count,
      oldestUnappliedMs: oldestMs === Infinity ? null : nowMs - oldestMs,
      ...changes.latencies,
      skipped: this.skipped,
      hints: this.hints.current,
      events: { written: events.written, dropped: events.dropped },
      requests: this.client.requests,
      progress: changes.ofServices(nowMs),
    };
  }

  async close(): Promise<void> {
    this.stop.abort();
    this.events.close();
    await this.running;
    this.client.close();
  }

  /** Makes routes of what changed. False if that was so much that the rest is for the next tick. */
  private remake(node: NodeObject): boolean {
    let left = this.backendsAtOnce * makingIsQuicker;
    for (const [key, change] of this.store.takeChanges()) {
      // Slices of a Service that is not served change nothing.
      if (!this.claimants.has(key) && this.store.services.get(key) === undefined) continue;
      this.changes.begun(key, change);
      this.remakeService(key, node);
      this.assembled = false;
      left -= routeAlone;
      for (const { endpoints } of this.store.slices.of(key)) left -= endpoints.length;
      if (left < 0) return !this.store.changed;
    }
    return true;
  }

  /** Sets the routes of all Services beside each other. */
  private assemble(): void {
    this.assembled = true;
    const { excluded, options } = this;
    const { routes, skipped } = this.assembler.assemble(
      this.claimants,
      excluded,
      options.capacity(),
    );
    this.skipped = skipped;
    this.handOver.want(routes);
  }

  private remakeService(key: string, node: NodeObject): void {
    const service = this.store.services.get(key);
    if (service === undefined) {
      this.claimants.delete(key);
      this.complaints.delete(key);
      this.changes.forget(key);
      return;
    }
    const { knobs: right, wrong } = readAnnotations(service.annotations);
    const before = this.claimants.get(key);
    const knobs = { ...lastGood(before?.knobs, wrong), ...right };
    const complaint = wrong.map(({ why }) => why).join(' ');
    if (complaint !== '' && complaint !== this.complaints.get(key)) {
      this.options.log.warn(`${key}: ${complaint}`);
      this.events.write({
        service: key,
        uid: service.uid,
        reason: 'NityAnnotationIgnored',
        message: complaint,
        subject: complaint,
      });
    }
    if (complaint === '') this.complaints.delete(key);
    else this.complaints.set(key, complaint);
    const made = serviceRoutes(service, this.store.slices.of(key), node, knobs);
    this.claimants.set(key, {
      key,
      knobs,
      createdMs: service.createdMs,
      // A route that came out as it was is the same object, and is passed over later.
      made:
        before === undefined ? made : { ...made, routes: reused(before.made.routes, made.routes) },
    });
  }

  /** The node, and where the API server is: at first until it is known, and then rarely. */
  private async lookAround(signal: AbortSignal): Promise<void> {
    const { log, nodeName, own = ownAddresses(), random = Math.random } = this.options;
    const backoff = new Backoff(this.timing.backoffMs, random);
    let told = false;
    while (!signal.aborted) {
      let pauseMs = this.timing.refreshMs * (0.75 + random() / 2);
      try {
        await this.exclude();
        const asked = await askNode(this.client, nodeName, own, signal);
        if (asked === undefined && this.node === undefined) {
          log.warn(
            `the API server says nothing of the node ${nodeName}: zone hints are ignored and its own addresses are taken from its interfaces`,
          );
        }
        const node = asked ?? this.node ?? { name: nodeName, zone: null, addresses: [...own] };
        if (JSON.stringify(node) !== JSON.stringify(this.node)) {
          this.node = node;
          this.store.touchAll();
        }
        await this.learnEndpoints(signal);
        backoff.reset();
        told = false;
      } catch (error) {
        if (isAborted(signal)) return;
        pauseMs = backoff.nextMs();
        if (!told) {
          log.warn(`the node ${nodeName}: ${messageOf(error)}`);
        }
        told = true;
      }
      await pause(pauseMs, signal);
    }
  }

  private async learnEndpoints(signal: AbortSignal): Promise<void> {
    const endpoints = await askApiEndpoints(this.client, signal);
    if (endpoints.length === 0) return;
    this.client.alsoAt(endpoints);
    await this.exclude();
    try {
      keepApiEndpoints(this.options.endpointsFile, this.client.url, endpoints);
    } catch (error) {
      this.options.log.warn(
        `the API server's endpoints cannot be kept in ${this.options.endpointsFile}: ${messageOf(error)}`,
      );
    }
  }

  private async exclude(): Promise<void> {
    const excluded = new Set(await this.client.dialled());
    const same =
      excluded.size === this.excluded.size && [...excluded].every((id) => this.excluded.has(id));
    if (same) return;
    this.excluded = excluded;
    this.store.touchAll();
  }
}

/** A slip of the pen does not undo what was fixed before it. */
function lastGood(known: RouteKnobs | undefined, wrong: readonly WrongAnnotation[]): RouteKnobs {
  const knobs = new Set<string | null>(wrong.map(({ knob }) => knob));
  return Object.fromEntries(Object.entries(known ?? {}).filter(([name]) => knobs.has(name)));
}

function sameRoute(a: Route, b: Route): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function reused(before: readonly Route[], routes: readonly Route[]): readonly Route[] {
  return routes.map((route) => {
    const known = before.find(({ name }) => name === route.name);
    return known !== undefined && sameRoute(known, route) ? known : route;
  });
}
