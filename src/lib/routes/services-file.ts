// The services file: what a node serves without a cluster. A file with any
// problem is refused whole, and each problem is told with its place.
import { z } from 'zod';

import { pathOf, readYaml, type Path, type Places, type Problem } from '../yaml-input.js';
import { enforceForm, readEnforce } from './enforce.js';
import {
  cgroupPath,
  mostBackends,
  routeName,
  type Affinity,
  type Route,
  type RouteSet,
} from './route-set.js';

export type ServicesFile =
  | { readonly ok: true; readonly routes: RouteSet }
  | { readonly ok: false; readonly problems: readonly Problem[] };

/** The longest name that fits the kernel's map, less its closing zero. */
const longestName = 159;
/** A path of files below it must still fit the kernel's PATH_MAX of 4,096 bytes. */
const longestCgroup = 1_000;
/** Kubernetes' own default of sessionAffinityConfig.clientIP.timeoutSeconds. */
const defaultAffinitySeconds = 10_800;
const mostAffinitySeconds = 86_400;

const portNumber = z
  .int('expected a whole number')
  .min(1, 'expected a port from 1 to 65535')
  .max(65_535, 'expected a port from 1 to 65535');
const ipv4 = z.ipv4('expected an IPv4 address such as 10.0.0.1');
const label = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;

const enforce = z.string(enforceForm).transform((text, context) => {
  const percent = readEnforce(text);
  if (percent !== undefined) return percent;
  context.addIssue({ code: 'custom', message: enforceForm });
  return z.NEVER;
});

const timeout = z.object({ timeoutSeconds: z.int().min(1).max(mostAffinitySeconds) }).strict();

const affinitySchema = z.union(
  [z.literal('none'), z.literal('clientIP'), z.object({ clientIP: timeout }).strict()],
  'expected none, clientIP, or { clientIP: { timeoutSeconds: N } }',
);

const serviceSchema = z
  .object({
    name: z
      .string('expected a name such as shop/cart')
      .regex(
        /^[a-z0-9]([-a-z0-9]*[a-z0-9])?\/[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/,
        'expected namespace/service in lower case',
      ),
    vip: ipv4,
    ports: z
      .array(
        z
          .object({
            name: z.string().regex(label, 'expected a port name in lower case').optional(),
            port: portNumber,
            protocol: z.literal('TCP', 'expected TCP: it is all that is served yet').default('TCP'),
          })
          .strict(),
      )
      .min(1, 'expected at least one port'),
    affinity: affinitySchema.default('none'),
    gear: z.enum(['auto', 'single', 'twin'], 'expected auto, single or twin').default('auto'),
    enforce: enforce.optional(),
    backends: z
      .array(
        z
          .object({
            address: ipv4,
            /** One number for every port, or one for each by the port's name. */
            port: z.union(
              [portNumber, z.record(z.string(), portNumber)],
              'expected a port from 1 to 65535, or a map from port name to number',
            ),
            cgroup: z
              .string('expected a path such as /kubepods/pod1')
              .max(longestCgroup, `expected at most ${longestCgroup} characters`)
              .regex(cgroupPath, "expected a path such as /kubepods/pod1, without '.' and '..'")
              .optional(),
          })
          .strict(),
      )
      .max(mostBackends, `expected at most ${mostBackends} backends`),
  })
  .strict();

const fileSchema = z
  .object({
    /** Of every service that has none of its own. */
    enforce: enforce.optional(),
    services: z.array(serviceSchema),
  })
  .strict();
type Service = z.infer<typeof serviceSchema>;

function affinityOf(affinity: Service['affinity']): Affinity {
  if (affinity === 'none') return { kind: 'none' };
  const timeoutSeconds =
    affinity === 'clientIP' ? defaultAffinitySeconds : affinity.clientIP.timeoutSeconds;
  return { kind: 'clientIP', timeoutSeconds };
}

/** What a schema cannot say: names, addresses and ports that must not meet twice. */
class Meaning {
  readonly problems: Problem[] = [];
  private readonly seen = new Map<string, string>();

  constructor(private readonly places: Places) {}

  report(path: Path, message: string): void {
    this.problems.push(this.places.problem(path, message));
  }

  once(kind: string, key: string, path: Path): void {
    const first = this.seen.get(`${kind} ${key}`);
    if (first === undefined) this.seen.set(`${kind} ${key}`, pathOf(path));
    else this.report(path, `${kind} ${key} is given twice, first at ${first}`);
  }
}

function routesOf(
  service: Service,
  byDefault: number | undefined,
  path: Path,
  meaning: Meaning,
): Route[] {
  const enforcePercent = service.enforce ?? byDefault;
  return service.ports.map((port, p) => {
    const here = [...path, 'ports', p];
    const name = routeName(service.name, port.name ?? port.port);
    meaning.once('route', name, here);
    meaning.once('address', `${service.vip}:${port.port}`, here);
    if (name.length > longestName)
      meaning.report(here, `${name} is longer than ${longestName} characters`);
    const backends = service.backends.flatMap((backend, b) => {
      const at = [...path, 'backends', b];
      const number =
        typeof backend.port === 'number' ? backend.port : backend.port[port.name ?? ''];
      if (number === undefined) {
        meaning.report([...at, 'port'], `has no number for the port ${port.name ?? port.port}`);
        return [];
      }
      meaning.once(`backend of ${name}`, `${backend.address}:${number}`, at);
      if (backend.address === service.vip && number === port.port) {
        meaning.report(at, 'is the service itself');
      }
      const { address, cgroup } = backend;
      return [cgroup === undefined ? { address, port: number } : { address, port: number, cgroup }];
    });
    return {
      name,
      addresses: [{ vip: service.vip, port: port.port, protocol: port.protocol }],
      backends,
      affinity: affinityOf(service.affinity),
      gear: service.gear,
      ...(enforcePercent === undefined ? {} : { enforcePercent }),
    };
  });
}

/** Reads a services file. `file` is only named in problems. */
export function parseServices(text: string, file: string): ServicesFile {
  const read = readYaml(text, file, fileSchema);
  if (!read.ok) return read;
  const meaning = new Meaning(read.places);
  const routes = read.value.services.flatMap((service, s) =>
    routesOf(service, read.value.enforce, ['services', s], meaning),
  );
  return meaning.problems.length > 0
    ? { ok: false, problems: meaning.problems }
    : { ok: true, routes };
}
