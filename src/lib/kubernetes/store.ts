// The cluster as last heard: Services and slices by name, and which Services have changed
// since routes were last made of them. It holds the last good state through any outage.
import type { Identity, ServiceObject, SliceObject } from './objects.js';

/** Where a list/watch loop puts what it hears. */
export interface Sink<T extends Identity> {
  /**
   * The whole list: what is not in it is gone. `versionsHold` is false when the server went
   * back in time, and a version that is known may stand for something else.
   */
  replace(objects: ReadonlyMap<string, T>, versionsHold: boolean): void;
  put(object: T): void;
  /** Of that very object: another of its name, with another uid, stays. */
  remove(key: string, uid: string): void;
}

/** A Service that waits for its routes to be made again. */
export interface Change {
  /** When it was first heard of, by the caller's clock. */
  readonly sinceMs: number;
  /** When its cause happened, by the cluster's clock; null if unknown. */
  readonly triggeredMs: number | null;
}

abstract class Cache<T extends Identity> {
  protected readonly objects = new Map<string, T>();
  /** The parts that it consists of, and whether each was listed whole. */
  private readonly parts = new Map<string, boolean>();

  get synced(): boolean {
    return this.parts.size > 0 && [...this.parts.values()].every((complete) => complete);
  }

  /** What one list and its watch fill: a namespace, or everything for ''. */
  part(namespace: string): Sink<T> {
    this.parts.set(namespace, false);
    const prefix = namespace === '' ? '' : `${namespace}/`;
    return {
      replace: (objects, versionsHold) => {
        for (const [key, known] of this.objects) {
          if (key.startsWith(prefix) && !objects.has(key)) this.drop(known);
        }
        for (const object of objects.values()) this.put(object, versionsHold);
        this.parts.set(namespace, true);
      },
      put: (object) => {
        this.put(object, true);
      },
      remove: (key, uid) => {
        this.remove(key, uid);
      },
    };
  }

  get size(): number {
    return this.objects.size;
  }

  private put(object: T, versionsHold: boolean): void {
    const known = this.objects.get(object.key);
    // The same version twice is one event heard twice.
    const same =
      versionsHold &&
      known?.uid === object.uid &&
      known.resourceVersion === object.resourceVersion &&
      object.resourceVersion !== '';
    if (same) return;
    this.objects.set(object.key, object);
    this.changed(object, known);
  }

  private remove(key: string, uid: string): void {
    const known = this.objects.get(key);
    if (known !== undefined && known.uid === uid) this.drop(known);
  }

  private drop(known: T): void {
    this.objects.delete(known.key);
    this.changed(undefined, known);
  }

  protected abstract changed(now: T | undefined, before: T | undefined): void;
}

class Services extends Cache<ServiceObject> {
  constructor(private readonly touch: (service: string) => void) {
    super();
  }

  get(key: string): ServiceObject | undefined {
    return this.objects.get(key);
  }

  keys(): Iterable<string> {
    return this.objects.keys();
  }

  protected changed(now: ServiceObject | undefined, before: ServiceObject | undefined): void {
    const key = (now ?? before)?.key;
    if (key !== undefined) this.touch(key);
  }
}

class Slices extends Cache<SliceObject> {
  private readonly byService = new Map<string, Map<string, SliceObject>>();

  constructor(private readonly touch: (service: string, triggeredMs: number | null) => void) {
    super();
  }

  of(service: string): Iterable<SliceObject> {
    return this.byService.get(service)?.values() ?? [];
  }

  protected changed(now: SliceObject | undefined, before: SliceObject | undefined): void {
    if (before !== undefined && before.service !== null) {
      const others = this.byService.get(before.service);
      others?.delete(before.key);
      if (others?.size === 0) this.byService.delete(before.service);
      // Its label may have changed: the Service it left has changed too.
      if (now?.service !== before.service) this.touch(before.service, null);
    }
    if (now === undefined || now.service === null) return;
    let own = this.byService.get(now.service);
    if (own === undefined) this.byService.set(now.service, (own = new Map<string, SliceObject>()));
    own.set(now.key, now);
    // A slice that was written again for another reason keeps its old trigger.
    const isNew = now.triggeredMs !== before?.triggeredMs;
    this.touch(now.service, isNew ? now.triggeredMs : null);
  }
}

export class ClusterStore {
  readonly services: Services;
  readonly slices: Slices;
  private readonly pending = new Map<string, Change>();

  constructor(private readonly nowMs: () => number) {
    this.services = new Services((key) => {
      this.touch(key, null);
    });
    this.slices = new Slices((key, triggeredMs) => {
      this.touch(key, triggeredMs);
    });
  }

  /** Notes that the routes of a Service must be made again. */
  touch(key: string, triggeredMs: number | null): void {
    const known = this.pending.get(key);
    // Of several changes that wait together, the first to have happened waits the longest.
    const first =
      known?.triggeredMs == null
        ? triggeredMs
        : Math.min(known.triggeredMs, triggeredMs ?? Infinity);
    this.pending.set(key, { sinceMs: known?.sinceMs ?? this.nowMs(), triggeredMs: first });
  }

  /** Everything is to be made again: what all routes depend on has changed. */
  touchAll(): void {
    for (const key of this.services.keys()) this.touch(key, null);
  }

  /** What has changed, the oldest first; what is not asked for stays. */
  *takeChanges(): Generator<readonly [string, Change]> {
    for (const change of this.pending) {
      this.pending.delete(change[0]);
      yield change;
    }
  }

  get changed(): boolean {
    return this.pending.size > 0;
  }

  /** When the oldest change that nobody has taken was heard of; null without one. */
  get oldestMs(): number | null {
    // A Map keeps its order, and a Service that changes again keeps its place.
    for (const { sinceMs } of this.pending.values()) return sinceMs;
    return null;
  }
}
