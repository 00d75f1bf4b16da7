// The outermost layer of a trace: what its first bytes are, and how records follow
// each other, so that any damage is found and told from an end that is missing.
import crc32c from '@chainsafe/fast-crc32c';

import { InputError } from '../errors.js';

/** As PNG's: a byte beyond ASCII, and line ends that a careless copy would change. */
const magic = Buffer.from('\x89NITY\r\n\x1a', 'latin1');

/** The first number changes when old readers would misread; columns may come with the second. */
export const formatVersion = { major: 1, minor: 4 } as const;
export type FormatVersion = { readonly major: number; readonly minor: number };

export const recordKinds = ['header', 'snapshot', 'tick', 'gap'] as const;
export type RecordKind = (typeof recordKinds)[number];

/** Magic, version, CRC of both. */
export const preludeBytes = magic.length + 2 + 2 + 4;
/** Payload length, kind, sequence, monotonic time, CRC of these, CRC of the payload. */
const frameBytes = 4 + 1 + 8 + 8 + 4 + 4;
/** No record is larger: a length beyond it is damage. */
const payloadMost = 1 << 30;

export interface Frame {
  readonly kind: RecordKind;
  readonly sequence: number;
  /** Monotonic. */
  readonly atNs: bigint;
  readonly payload: Uint8Array;
  /** Where it begins in its file. */
  readonly offset: number;
}

export function prelude({ major, minor }: FormatVersion = formatVersion): Buffer {
  const bytes = Buffer.alloc(preludeBytes);
  magic.copy(bytes);
  bytes.writeUInt16LE(major, magic.length);
  bytes.writeUInt16LE(minor, magic.length + 2);
  bytes.writeUInt32LE(crc32c.calculate(bytes.subarray(0, preludeBytes - 4)), preludeBytes - 4);
  return bytes;
}

export function frame(
  kind: RecordKind,
  sequence: number,
  atNs: bigint,
  payload: Uint8Array,
): Buffer {
  const bytes = Buffer.allocUnsafe(frameBytes + payload.length);
  bytes.writeUInt32LE(payload.length, 0);
  bytes.writeUInt8(recordKinds.indexOf(kind), 4);
  bytes.writeBigUInt64LE(BigInt(sequence), 5);
  bytes.writeBigInt64LE(atNs, 13);
  bytes.writeUInt32LE(crc32c.calculate(bytes.subarray(0, 21)), 21);
  bytes.writeUInt32LE(crc32c.calculate(payload), 25);
  bytes.set(payload, frameBytes);
  return bytes;
}

/** A file that is no whole trace up to `offset`; what is before it can be read. */
export class DamagedTraceError extends InputError {
  constructor(
    readonly file: string,
    readonly offset: number,
    problem: string,
    hint = 'Copy it again from where it was recorded; with --to, what is before can be replayed.',
    cause?: unknown,
  ) {
    super(`${file}, byte ${offset}: ${problem}.`, hint, cause);
  }
}

/** Its writer died, or found no room, before its header was whole. */
export class UnbegunTraceError extends DamagedTraceError {
  constructor(file: string, offset: number, problem: string) {
    super(file, offset, problem, foreign);
  }
}

const foreign = 'Give it a file or a directory that `nity run-agent --record` or a dump has left.';

export function readPrelude(file: string, bytes: Buffer): FormatVersion {
  if (bytes.length === 0) {
    throw new UnbegunTraceError(file, 0, 'this is not a trace of nity, it is empty');
  }
  const head = bytes.subarray(0, magic.length);
  if (!head.equals(magic.subarray(0, head.length))) {
    throw new DamagedTraceError(file, 0, 'this is not a trace of nity', foreign);
  }
  if (bytes.length < preludeBytes) {
    throw new UnbegunTraceError(file, bytes.length, 'the trace ends within its first bytes');
  }
  if (
    bytes.readUInt32LE(preludeBytes - 4) !== crc32c.calculate(bytes.subarray(0, preludeBytes - 4))
  ) {
    throw new DamagedTraceError(file, 0, 'the first bytes do not match their checksum');
  }
  const version = {
    major: bytes.readUInt16LE(magic.length),
    minor: bytes.readUInt16LE(magic.length + 2),
  };
  if (version.major !== formatVersion.major) {
    throw new DamagedTraceError(
      file,
      magic.length,
      `the trace has format ${version.major}.${version.minor}, and this nity reads ${formatVersion.major}.x`,
      'Replay it with the nity that recorded it, or a later one.',
    );
  }
  return version;
}

/** All whole records, and where the whole ones end. A tail of zeros is what a power failure leaves. */
export function* frames(file: string, bytes: Buffer): Generator<Frame, number> {
  let offset = preludeBytes;
  while (offset < bytes.length) {
    const rest = bytes.subarray(offset);
    if (rest.length < frameBytes || isZero(rest)) return offset;
    if (rest.readUInt32LE(21) !== crc32c.calculate(rest.subarray(0, 21))) {
      throw new DamagedTraceError(file, offset, 'the head of a record does not match its checksum');
    }
    const length = rest.readUInt32LE(0);
    const kind = recordKinds[rest.readUInt8(4)];
    if (kind === undefined || length > payloadMost) {
      throw new DamagedTraceError(file, offset, 'a record of an unknown kind');
    }
    if (rest.length < frameBytes + length) return offset;
    const payload = rest.subarray(frameBytes, frameBytes + length);
    if (rest.readUInt32LE(25) !== crc32c.calculate(payload)) {
      throw new DamagedTraceError(file, offset, 'a record does not match its checksum');
    }
    const sequence = Number(rest.readBigUInt64LE(5));
    yield { kind, sequence, atNs: rest.readBigInt64LE(13), payload, offset };
    offset += frameBytes + length;
  }
  return offset;
}

function isZero(bytes: Buffer): boolean {
  return bytes[0] === 0 && bytes.every((byte) => byte === 0);
}
