// What is kept of a Service, an EndpointSlice and a Node: the few fields that routes are
// made of. Everything else of an object is let go while it is read: there are thousands.

export interface ServicePort {
  /** Empty for the only port of a Service, which needs no name. */
  readonly name: string;
  readonly protocol: string;
  readonly port: number;
  /** 0 without one. */
  readonly nodePort: number;
}

/** An address that a load balancer announces. */
export interface IngressAddress {
  readonly ip: string;
  /** ipMode Proxy: traffic must pass through the load balancer itself. */
  readonly proxied: boolean;
}

/** What every stored object is known by. */
export interface Identity {
  /** namespace/name. */
  readonly key: string;
  readonly uid: string;
  readonly resourceVersion: string;
}

export interface ServiceObject extends Identity {
  readonly createdMs: number;
  /** Headless, or ExternalName: no proxy serves it. */
  readonly hasNoAddress: boolean;
  readonly clusterIPs: readonly string[];
  readonly externalIPs: readonly string[];
  readonly ingress: readonly IngressAddress[];
  readonly sourceRanges: readonly string[];
  readonly ports: readonly ServicePort[];
  readonly internalLocal: boolean;
  /** Of sessionAffinity ClientIP; null for none. */
  readonly affinitySeconds: number | null;
  /** Those below nity.dev/, by the rest of their name. */
  readonly annotations: ReadonlyMap<string, string>;
}

export interface SlicePort {
  readonly name: string;
  readonly protocol: string;
  readonly port: number;
}

export interface EndpointObject {
  readonly address: string;
  readonly ready: boolean;
  readonly serving: boolean;
  readonly terminating: boolean;
  readonly node: string | null;
  readonly zoneHints: readonly string[];
  readonly nodeHints: readonly string[];
}

export interface SliceObject extends Identity {
  /** namespace/name of its Service; null for a slice that is nobody's. */
  readonly service: string | null;
  readonly addressType: string;
  readonly ports: readonly SlicePort[];
  readonly endpoints: readonly EndpointObject[];
  /** When whatever made the endpoints change happened, by the cluster's clock. */
  readonly triggeredMs: number | null;
}

/** The node that routes are made for. */
export interface NodeObject {
  readonly name: string;
  readonly zone: string | null;
  /** IPv4 addresses that are the node's own. */
  readonly addresses: readonly string[];
}

export const annotationPrefix = 'nity.dev/';
const triggerAnnotation = 'endpoints.kubernetes.io/last-change-trigger-time';
const serviceLabel = 'kubernetes.io/service-name';
const zoneLabel = 'topology.kubernetes.io/zone';
/** Kubernetes' own default of sessionAffinityConfig.clientIP.timeoutSeconds, and its most. */
const defaultAffinitySeconds = 10_800;
const mostAffinitySeconds = 86_400;

type Fields = Readonly<Record<string, unknown>>;
const nothing: Fields = {};
const none: readonly string[] = [];

// A schema library takes longer for a page of slices than a tick may wait: these few
// readers take what has the right type and nothing else.
function fields(value: unknown): Fields {
  return typeof value === 'object' && value !== null ? (value as Fields) : nothing;
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : none;
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function texts(value: unknown): readonly string[] {
  const found = list(value).filter((item) => typeof item === 'string');
  return found.length === 0 ? none : found;
}

function port(value: unknown): number {
  return Number.isInteger(value) && Number(value) > 0 && Number(value) < 65_536 ? Number(value) : 0;
}

function moment(value: unknown): number | null {
  const ms = typeof value === 'string' ? Date.parse(value) : Number.NaN;
  return Number.isNaN(ms) ? null : ms;
}

interface Metadata extends Identity {
  readonly namespace: string;
  readonly name: string;
  readonly fields: Fields;
}

/** Undefined for what no API server would send: an object without a name. */
function metadataOf(object: unknown): Metadata | undefined {
  const metadata = fields(fields(object)['metadata']);
  const namespace = text(metadata['namespace']);
  const name = text(metadata['name']);
  if (name === '') return undefined;
  const key = `${namespace}/${name}`;
  const uid = text(metadata['uid']);
  return {
    key,
    namespace,
    name,
    uid,
    resourceVersion: text(metadata['resourceVersion']),
    fields: metadata,
  };
}

function ownAnnotations(metadata: Fields): ReadonlyMap<string, string> {
  return new Map(
    Object.entries(fields(metadata['annotations'])).flatMap(([name, value]) =>
      name.startsWith(annotationPrefix) && typeof value === 'string'
        ? [[name.slice(annotationPrefix.length), value] as const]
        : [],
    ),
  );
}

function affinitySeconds(spec: Fields): number | null {
  if (spec['sessionAffinity'] !== 'ClientIP') return null;
  const config = fields(fields(spec['sessionAffinityConfig'])['clientIP']);
  const seconds = config['timeoutSeconds'];
  const valid = Number.isInteger(seconds) && Number(seconds) > 0;
  return valid ? Math.min(Number(seconds), mostAffinitySeconds) : defaultAffinitySeconds;
}

function clusterIPsOf(spec: Fields): readonly string[] {
  const all = texts(spec['clusterIPs']);
  const only = text(spec['clusterIP']);
  return (all.length > 0 ? all : [only]).filter((ip) => ip !== '' && ip !== 'None');
}

export function readService(object: unknown): ServiceObject | undefined {
  const metadata = metadataOf(object);
  if (metadata === undefined) return undefined;
  const { key, uid, resourceVersion } = metadata;
  const spec = fields(fields(object)['spec']);
  const balancer = fields(fields(fields(object)['status'])['loadBalancer']);
  const clusterIPs = clusterIPsOf(spec);
  return {
    key,
    uid,
    resourceVersion,
    createdMs: moment(metadata.fields['creationTimestamp']) ?? 0,
    hasNoAddress: spec['type'] === 'ExternalName' || clusterIPs.length === 0,
    clusterIPs,
    externalIPs: texts(spec['externalIPs']),
    ingress:
      spec['type'] !== 'LoadBalancer'
        ? []
        : list(balancer['ingress']).flatMap((item) => {
            const { ip, ipMode } = fields(item);
            return typeof ip === 'string' && ip !== '' ? [{ ip, proxied: ipMode === 'Proxy' }] : [];
          }),
    sourceRanges: texts(spec['loadBalancerSourceRanges']),
    ports: list(spec['ports']).map((item) => {
      const given = fields(item);
      return {
        name: text(given['name']),
        protocol: text(given['protocol']) || 'TCP',
        port: port(given['port']),
        nodePort: port(given['nodePort']),
      };
    }),
    internalLocal: spec['internalTrafficPolicy'] === 'Local',
    affinitySeconds: affinitySeconds(spec),
    annotations: ownAnnotations(metadata.fields),
  };
}

function hintsOf(hints: unknown): readonly string[] {
  const found = list(hints).map((hint) => text(fields(hint)['name']));
  return found.length === 0 ? none : found;
}

/** kube-proxy: nil ready and nil serving are true, nil terminating is false; addresses[0] counts. */
function readEndpoint(item: unknown): EndpointObject[] {
  const given = fields(item);
  const [address] = texts(given['addresses']);
  if (address === undefined) return [];
  const conditions = fields(given['conditions']);
  const hints = fields(given['hints']);
  const node = text(given['nodeName']);
  return [
    {
      address,
      ready: conditions['ready'] !== false,
      serving: conditions['serving'] !== false,
      terminating: conditions['terminating'] === true,
      node: node === '' ? null : node,
      zoneHints: hintsOf(hints['forZones']),
      nodeHints: hintsOf(hints['forNodes']),
    },
  ];
}

export function readSlice(object: unknown): SliceObject | undefined {
  const metadata = metadataOf(object);
  if (metadata === undefined) return undefined;
  const { key, uid, resourceVersion, namespace } = metadata;
  const { addressType, ports, endpoints } = fields(object);
  const service = text(fields(metadata.fields['labels'])[serviceLabel]);
  return {
    key,
    uid,
    resourceVersion,
    service: service === '' ? null : `${namespace}/${service}`,
    addressType: text(addressType),
    ports: list(ports).flatMap((item) => {
      const given = fields(item);
      const number = port(given['port']);
      // A nil or zero port means all ports or none: kube-proxy passes over it.
      if (number === 0) return [];
      return [
        { name: text(given['name']), protocol: text(given['protocol']) || 'TCP', port: number },
      ];
    }),
    endpoints: list(endpoints).flatMap(readEndpoint),
    triggeredMs: moment(fields(metadata.fields['annotations'])[triggerAnnotation]),
  };
}

/** `own` says which addresses are this machine's; without it InternalIPs are taken to be. */
export function readNode(object: unknown, own?: ReadonlySet<string>): NodeObject | undefined {
  const metadata = metadataOf(object);
  if (metadata === undefined) return undefined;
  const addresses = list(fields(fields(object)['status'])['addresses']).flatMap((item) => {
    const { type, address } = fields(item);
    if (typeof address !== 'string') return [];
    const isOwn = own?.has(address) ?? type === 'InternalIP';
    return isOwn && (type === 'InternalIP' || type === 'ExternalIP') ? [address] : [];
  });
  const zone = text(fields(metadata.fields['labels'])[zoneLabel]);
  return { name: metadata.name, zone: zone === '' ? null : zone, addresses };
}
