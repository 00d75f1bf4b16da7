// Which Services this node serves: all, those of a label selector, or those of some
// namespaces; and the collections of the API server that say what they are.
import { InputError } from '../errors.js';
import { readService, readSlice, type ServiceObject, type SliceObject } from './objects.js';
import type { Resource } from './watch.js';

export interface Selection {
  /** A label selector of Services, as kubectl takes it; empty for all. */
  readonly selector: string;
  /** Empty for all. */
  readonly namespaces: readonly string[];
}

export interface Resources {
  /** Empty for the whole cluster. */
  readonly namespace: string;
  readonly services: Resource<ServiceObject>;
  readonly slices: Resource<SliceObject>;
}

const namespaceName = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
/** Each takes two watches of every node. */
const mostNamespaces = 16;

// proxy.go, informer options of kube-proxy. A custom proxy's Services are that proxy's.
const noOtherProxy = '!service.kubernetes.io/service-proxy-name';
const notHeadless = '!service.kubernetes.io/headless';

/** Throws what is wrong about it, as the user wrote it. */
export function selectionOf(
  selector: string | undefined,
  namespaces: string | undefined,
): Selection {
  const names = (namespaces ?? '')
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
  const wrong = names.find((name) => !namespaceName.test(name));
  if (wrong !== undefined) {
    throw new InputError(
      `--namespaces: ${wrong} is no name of a namespace.`,
      'Write names in lower case, separated by commas.',
    );
  }
  const distinct = [...new Set(names)];
  if (distinct.length > mostNamespaces) {
    throw new InputError(
      `--namespaces names ${distinct.length} namespaces, and each takes two watches of every node.`,
      `Name at most ${mostNamespaces}, or mark the Services with a label and use --selector.`,
    );
  }
  return { selector: (selector ?? '').trim(), namespaces: distinct };
}

/** What is to be listed and watched: a pair for the cluster, or one for each namespace. */
export function resourcesOf({ selector, namespaces }: Selection): Resources[] {
  const scopes = namespaces.length === 0 ? [''] : namespaces;
  return scopes.map((namespace) => {
    const scope = namespace === '' ? '' : `/namespaces/${namespace}`;
    const where = namespace === '' ? '' : ` of ${namespace}`;
    return {
      namespace,
      services: {
        name: `services${where}`,
        path: `/api/v1${scope}/services`,
        labelSelector: [noOtherProxy, selector].filter((part) => part !== '').join(','),
        read: readService,
      },
      slices: {
        name: `endpointslices${where}`,
        path: `/apis/discovery.k8s.io/v1${scope}/endpointslices`,
        // Slices written by hand need not carry their Service's labels.
        labelSelector: `${notHeadless},${noOtherProxy}`,
        read: readSlice,
      },
    };
  });
}
