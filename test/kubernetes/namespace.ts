// A namespace of a test's own on any API server, and what is written there as its users do.
import {
  CoreV1Api,
  DiscoveryV1Api,
  KubeConfig,
  type V1EndpointSlice,
  type V1Namespace,
  type V1Service,
} from '@kubernetes/client-node';

import { slice } from './objects.js';

export class Namespace {
  readonly name = `nity-test-${process.pid}-${Date.now().toString(36)}`;
  private readonly core: CoreV1Api;
  private readonly discovery: DiscoveryV1Api;

  constructor(kubeconfig: string) {
    const config = new KubeConfig();
    config.loadFromFile(kubeconfig);
    this.core = config.makeApiClient(CoreV1Api);
    this.discovery = config.makeApiClient(DiscoveryV1Api);
  }

  async open(): Promise<void> {
    const body: unknown = { metadata: { name: this.name } };
    await this.core.createNamespace({ body: body as V1Namespace });
  }

  async close(): Promise<void> {
    await this.core.deleteNamespace({ name: this.name });
  }

  /** Without a selector, so that nobody else writes its slices; returns its address. */
  async addService(name: string): Promise<string> {
    const body: unknown = {
      metadata: { name },
      spec: { ports: [{ name: 'http', protocol: 'TCP', port: 80 }] },
    };
    const made = await this.core.createNamespacedService({
      namespace: this.name,
      body: body as V1Service,
    });
    return made.spec?.clusterIP ?? '';
  }

  async annotate(name: string, annotations: Record<string, string>): Promise<void> {
    const { name: namespace } = this;
    const body = await this.core.readNamespacedService({ namespace, name });
    if (body.metadata !== undefined) body.metadata.annotations = annotations;
    await this.core.replaceNamespacedService({ namespace, name, body });
  }

  async removeService(name: string): Promise<void> {
    await this.core.deleteNamespacedService({ namespace: this.name, name });
  }

  private sliceOf(name: string, addresses: readonly string[]): V1EndpointSlice {
    return slice(`${this.name}/${name}-1`, name, addresses) as unknown as V1EndpointSlice;
  }

  async addSlice(name: string, ...addresses: string[]): Promise<void> {
    const body = this.sliceOf(name, addresses);
    await this.discovery.createNamespacedEndpointSlice({ namespace: this.name, body });
  }

  async scale(name: string, ...addresses: string[]): Promise<void> {
    const body = this.sliceOf(name, addresses);
    const of = { namespace: this.name, name: `${name}-1` };
    await this.discovery.replaceNamespacedEndpointSlice({ ...of, body });
  }

  async removeSlice(name: string): Promise<void> {
    const of = { namespace: this.name, name: `${name}-1` };
    await this.discovery.deleteNamespacedEndpointSlice(of);
  }

  async events(name: string): Promise<string[]> {
    const { items } = await this.core.listNamespacedEvent({ namespace: this.name });
    return items
      .filter(({ involvedObject }) => involvedObject.name === name)
      .map(({ reason = '' }) => reason);
  }
}
