// A kubeconfig, or the account of the pod that this is, as Kubernetes' own client library
// reads it. Whoever loads the library pays 0.4 s and 70 MB for it.
import { existsSync } from 'node:fs';
import type { KubeConfig } from '@kubernetes/client-node';

export interface ClusterAccess {
  /** Without it: the cluster that this process runs in, or the user's own default. */
  readonly kubeconfig?: string | undefined;
  readonly context?: string | undefined;
}

const tokenFile = '/var/run/secrets/kubernetes.io/serviceaccount/token';

export function isInPod(): boolean {
  return process.env['KUBERNETES_SERVICE_HOST'] !== undefined && existsSync(tokenFile);
}

/** Throws what the library throws of a file that it cannot read. */
export async function loadKubeconfig({ kubeconfig, context }: ClusterAccess): Promise<KubeConfig> {
  const { KubeConfig: Config } = await import('@kubernetes/client-node');
  const config = new Config();
  if (kubeconfig !== undefined) config.loadFromFile(kubeconfig);
  else if (process.env['KUBECONFIG'] === undefined && isInPod()) config.loadFromCluster();
  else config.loadFromDefault({ onInvalidEntry: 'filter' });
  if (context !== undefined) config.setCurrentContext(context);
  return config;
}
