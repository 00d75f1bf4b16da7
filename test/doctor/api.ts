// An API server and a kube-proxy as far as the doctor asks them, each answer set by the test.
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Asked {
  readonly path: string;
  readonly query: string;
  readonly authorization: string | undefined;
  readonly body: string;
}

export class ApiStub {
  readonly directory = mkdtempSync(join(tmpdir(), 'nity-api-'));
  readonly kubeconfig = join(this.directory, 'kubeconfig');
  readonly asked: Asked[] = [];
  services: unknown[] = [];
  slices: unknown[] = [];
  /** "verb resource" that is denied. */
  denied: string[] = [];
  /** Whether what it lists is a page, and more come after. */
  isMore = false;
  aheadMs = 0;
  proxyMode = 'nftables';
  knowsWhoAsks = true;
  /** Whether it answers a SelfSubjectAccessReview. */
  reviews = true;
  private readonly server: Server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString();
      const [path = '', query = ''] = (request.url ?? '').split('?');
      this.asked.push({ path, query, authorization: request.headers.authorization, body });
      response.setHeader('date', new Date(Date.now() - this.aheadMs).toUTCString());
      const answer = this.knowsWhoAsks ? this.answer(path, body) : undefined;
      response.writeHead(!this.knowsWhoAsks ? 401 : answer === undefined ? 404 : 200);
      response.end(typeof answer === 'string' ? answer : JSON.stringify(answer));
    });
  });
  url = '';

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    this.url = `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
    // JSON is YAML. The client library talks no HTTP to a server that must prove itself.
    writeFileSync(
      this.kubeconfig,
      JSON.stringify({
        apiVersion: 'v1',
        kind: 'Config',
        clusters: [
          { name: 'test', cluster: { server: this.url, 'insecure-skip-tls-verify': true } },
        ],
        users: [{ name: 'me', user: { token: 'secret' } }],
        contexts: [{ name: 'here', context: { cluster: 'test', user: 'me' } }],
        'current-context': 'here',
      }),
    );
  }

  close(): void {
    this.server.close();
    this.server.closeAllConnections();
    rmSync(this.directory, { recursive: true, force: true });
  }

  private answer(path: string, body: string): unknown {
    switch (path) {
      case '/version':
        return { gitVersion: 'v1.36.1' };
      case '/proxyMode':
        return this.proxyMode;
      case '/api/v1/services':
        return this.page(this.services);
      case '/apis/discovery.k8s.io/v1/endpointslices':
        return this.page(this.slices);
      case '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews': {
        if (!this.reviews) return undefined;
        const { spec } = JSON.parse(body) as {
          spec: { resourceAttributes: { verb: string; resource: string } };
        };
        const { verb, resource } = spec.resourceAttributes;
        return { status: { allowed: !this.denied.includes(`${verb} ${resource}`) } };
      }
      default:
        return undefined;
    }
  }

  private page(items: readonly unknown[]): unknown {
    return { metadata: this.isMore ? { continue: 'token' } : {}, items };
  }
}
