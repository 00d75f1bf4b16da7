// A kubeconfig, or the account of the pod that this is, as Kubernetes' own client library
// reads it. Whoever loads the library pays 0.4 s and 70 MB for it.
import { existsSync } from 'node:fs';
import type { KubeConfig } from '@kubernetes/client-node';

import { messageOf } from '../errors.js';

export interface ClusterAccess {
  /** Without it: the cluster that this process runs in, or the user's own default. */
  readonly kubeconfig?: string | undefined;
  readonly context?: string | undefined;
}

const tokenFile = '/var/run/secrets/kubernetes.io/serviceaccount/token';

export function isInPod(): boolean {
  return process.env['KUBERNETES_SERVICE_HOST'] !== undefined && existsSync(tokenFile);
}

/** Throws, in one line, what the library says of a file that it cannot read. */
export async function loadKubeconfig({ kubeconfig, context }: ClusterAccess): Promise<KubeConfig> {
  const { KubeConfig: Config } = await import('@kubernetes/client-node');
  const config = new Config();
  try {
    if (kubeconfig !== undefined) config.loadFromFile(kubeconfig);
    else if (process.env['KUBECONFIG'] === undefined && isInPod()) config.loadFromCluster();
    else config.loadFromDefault({ onInvalidEntry: 'filter' });
    if (context !== undefined) config.setCurrentContext(context);
  } catch (error) {
    // Below it the library shows the lines around a mistake, and a token may be among them.
    const [reason] = messageOf(error).split('\n', 1);
    // eslint-disable-next-line preserve-caught-error -- the cause has those lines
    throw new Error(reason);
  }
  return config;
}

/** Where it finds nothing, the library puts a cluster of its own invention. */
export function isInvented(config: KubeConfig): boolean {
  const cluster = config.getCurrentCluster();
  return (
    config.getCurrentContext() === 'loaded-context' && cluster?.server === 'http://localhost:8080'
  );
}
