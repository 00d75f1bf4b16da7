// The addon as TypeScript sees it. This is the only file that loads it.
//
// Every call that asks the kernel throws an Error with `code` (errno's name),
// `errno`, `syscall` and `tried`; opening and loading objects add libbpf's `log`.
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

import { KernelError, messageOf } from '../errors.js';

export interface MapInfo {
  readonly id: number;
  readonly name: string;
  /** BPF_MAP_TYPE_*, linux/bpf.h. */
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
}

/** Entries laid end to end, each key at i * keySize and each value at i * valueSize. */
export interface MapEntries {
  readonly keys: Uint8Array;
  readonly values: Uint8Array;
  readonly count: number;
}

/** A map of the kernel or of the model. A per-CPU value is one per possible CPU, 8-aligned. */
export interface MapHandle {
  info(): MapInfo;
  lookup(key: Uint8Array): Uint8Array | undefined;
  update(key: Uint8Array, value: Uint8Array, flags?: number): void;
  /** `count` entries, keys and values each laid end to end. */
  updateBatch(keys: Uint8Array, values: Uint8Array, count: number): void;
  /** False if there was no such key. */
  delete(key: Uint8Array): boolean;
  entries(): MapEntries;
  /** The map's own memory, unmapped when nothing refers to the ArrayBuffer any more. */
  mmap(readOnly?: boolean): ArrayBuffer;
  close(): void;
}

export interface BpfMap extends MapHandle {
  pin(path: string): void;
}

export interface ProgramInfo {
  readonly id: number;
  readonly name: string;
  /** The kernel's hash of the instructions, as hex. */
  readonly tag: string;
  readonly runTimeNs: bigint;
  readonly runCount: bigint;
  readonly verifiedInstructions: number;
  readonly translatedBytes: number;
  /** 0 when the kernel interprets it. */
  readonly jitedBytes: number;
  /** On CLOCK_BOOTTIME, unlike all other times here. */
  readonly loadedNs: bigint;
  readonly mapIds: readonly number[];
}

export interface BpfProgram {
  info(): ProgramInfo;
  /** Only for a program that came from a BpfObject, which knows where it belongs. */
  attachCgroup(cgroup: string): BpfLink;
  pin(path: string): void;
  close(): void;
}

export interface LinkInfo {
  readonly id: number;
  readonly programId: number;
  /** As ProgramInfo's; null where /proc does not say it. */
  readonly programTag: string | null;
  /** 0 once the cgroup is gone. */
  readonly cgroupId: bigint;
  readonly attachType: number;
}

/** Closing an unpinned link detaches its program. */
export interface BpfLink {
  info(): LinkInfo;
  update(program: BpfProgram): void;
  pin(path: string): void;
  detach(): void;
  close(): void;
}

export interface BuiltMap {
  readonly name: string;
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
}

export interface BpfObject {
  maps(): BuiltMap[];
  setMaxEntries(map: string, entries: number): void;
  reuseMap(map: string, pinned: BpfMap): void;
  load(): void;
  map(name: string): BpfMap;
  program(name: string): BpfProgram;
  close(): void;
}

export interface RingBuffer {
  /** Every event that is there now; at most 65,536 at a time. */
  drain(): Uint8Array[];
  close(): void;
}

/** Keeps neither the process alive nor its descriptor's original from being closed. */
interface PriorityPoll {
  close(): void;
}

interface NativeLock {
  acquire(exclusive: boolean): boolean;
  release(): void;
}

/** Addresses are IPv4 in host order. */
export interface ModelAddress {
  readonly address: number;
  readonly port: number;
}

export interface ModelSocket {
  /** Where the connect goes, or null when it is refused. */
  connect(address: number, port: number): ModelAddress | null;
  getpeername(address: number, port: number): ModelAddress;
  established(): void;
  /** TCP closed it under the client; `orderly` if both sides had said goodbye. */
  ended(segmentsIn: number, retransmits: number, orderly: boolean): void;
  /** The client sends from `seq` on; `acknowledged` if all before it had been. */
  sent(seq: number, acknowledged: boolean): void;
  /** Bytes come, of which `first` is the first, and acknowledge all before `ack`. */
  received(ack: number, first: number): void;
  /** The client closes; `left` if the backend had said goodbye before. */
  release(left?: boolean): void;
}

/**
 * Sockets of a model by number, for millions of connects: no call makes an object. Each says
 * what time it is.
 */
export interface ModelSockets {
  /**
   * A fresh socket of a client, by its network namespace, dials: the port of the backend it
   * goes to, or -1 when it is refused. No SYN is sent by it.
   */
  connect(
    socket: number,
    nowNs: number,
    address: number,
    port: number,
    netnsCookie: number,
  ): number;
  /** The SYN is sent. */
  connecting(socket: number, nowNs: number): void;
  /** Nobody answered the SYN, and it is sent once more. */
  repeated(socket: number, nowNs: number): void;
  established(socket: number, nowNs: number): void;
  /** The client sends, after `before` sends, which the backend had acknowledged all or not. */
  sent(socket: number, nowNs: number, before: number, acknowledged: number): void;
  /** An answer to all of the `sends` so far. */
  received(socket: number, nowNs: number, sends: number): void;
  /** The backend refused the connection, or dropped it. */
  reset(socket: number, nowNs: number): void;
  /** The client had sent its FIN, and the backend's came. */
  finished(socket: number, nowNs: number): void;
  /** By the client; `left` if the backend's FIN had come before. */
  closed(socket: number, nowNs: number, left: number): void;
}

export interface Model {
  map(name: string): Omit<MapHandle, 'close'>;
  socket(
    socketCookie: bigint,
    netnsCookie: bigint,
    source: number,
    sourcePort: number,
  ): ModelSocket;
  sockets(count: number): ModelSockets;
  setNowNs(now: bigint): void;
  nowNs(): bigint;
  lastEvent(): Uint8Array | undefined;
}

interface Addon {
  readonly BpfMap: { open(pin: string): BpfMap; byId(id: number): BpfMap };
  /** By its number needs CAP_SYS_ADMIN; the agent's pod has not got it. */
  readonly BpfProgram: { open(pin: string): BpfProgram; byId(id: number): BpfProgram };
  readonly BpfLink: { open(pin: string): BpfLink };
  readonly BpfObject: new (path: string) => BpfObject;
  readonly RingBuffer: new (map: BpfMap) => RingBuffer;
  /** Calls back when POLLPRI is set; with true, and for the last time, when there is nothing to poll. */
  readonly PriorityPoll: new (fd: number, onReady: (gone: boolean) => void) => PriorityPoll;
  readonly Lock: new (path: string) => NativeLock;
  readonly Model: new (
    slots: number,
    routes: number,
    backends: number,
    addresses: number,
    flows: number,
  ) => Model;
  readonly loadAcquire64: (memory: ArrayBuffer, offset: number) => bigint;
  readonly storeRelease64: (memory: ArrayBuffer, offset: number, value: bigint) => void;
  readonly compareExchange64: (
    memory: ArrayBuffer,
    offset: number,
    expected: bigint,
    desired: bigint,
  ) => boolean;
  readonly monotonicNs: () => bigint;
  readonly libbpfVersion: () => string;
  readonly fileSystemType: (path: string) => 'bpf' | 'cgroup2' | 'other';
  readonly cgroupId: (path: string) => bigint;
  /** Where the cgroup of an id is; undefined if it is gone. Needs CAP_DAC_READ_SEARCH. */
  readonly cgroupPath: (root: string, id: bigint) => string | undefined;
  /** Programs attached to a cgroup; effective: all that run for it, in their order. */
  readonly cgroupPrograms: (path: string, attachType: number, effective: boolean) => number[];
  /** The kernel times every program until the returned function is called. */
  readonly enableRunTimeStats: () => () => void;
  readonly iterateSockets: (object: string, flows: MapHandle) => Uint8Array;
}

const path = fileURLToPath(new URL('../../../bpf/build/nity.node', import.meta.url));

function loadAddon(): Addon {
  try {
    return createRequire(import.meta.url)(path) as Addon;
  } catch (error) {
    throw new KernelError(
      `The native addon does not load here: ${whyUnloadable(error)}.`,
      'Build it for this machine with `nity build-addon`.',
      error,
    );
  }
}

/** What dlopen(3) says, as a phrase that says what to look for. */
function whyUnloadable(error: unknown): string {
  const said = messageOf(error);
  const [, library] = /(\S+\.so[.\d]*): cannot open shared object file/.exec(said) ?? [];
  if (library !== undefined && !library.endsWith('.node')) {
    return library.startsWith('libbpf')
      ? `${library} is not installed (Debian has it in libbpf1)`
      : `${library} is not installed`;
  }
  const [, version] = /version `([^']+)' not found/.exec(said) ?? [];
  if (version !== undefined) return `it was built for ${version}, which this system is older than`;
  if (/Cannot find module|no such file/i.test(said)) return `${path} is not there`;
  if (/invalid ELF header|wrong ELF class|file too short/i.test(said)) {
    return `${path} is not a library for ${process.arch}`;
  }
  return said.split('\n')[0] ?? said;
}

const addon = loadAddon();

export const {
  BpfMap,
  BpfProgram,
  BpfLink,
  BpfObject,
  RingBuffer,
  PriorityPoll,
  Model,
  loadAcquire64,
  storeRelease64,
  compareExchange64,
  monotonicNs,
  libbpfVersion,
  fileSystemType,
  cgroupId,
  cgroupPath,
  cgroupPrograms,
  enableRunTimeStats,
  iterateSockets,
} = addon;

/** flock(2): given back by the kernel however its holder ends. */
export class Lock {
  private constructor(private readonly native: NativeLock) {}

  /** Undefined when another holds it. */
  static tryAcquire(of: string, mode: 'shared' | 'exclusive'): Lock | undefined {
    const native = new addon.Lock(of);
    return native.acquire(mode === 'exclusive') ? new Lock(native) : undefined;
  }

  release(): void {
    this.native.release();
  }
}
