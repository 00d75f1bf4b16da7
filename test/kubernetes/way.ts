// A way to an API server that can be shut while the server lives, and opened again.
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { KubeConfig } from '@kubernetes/client-node';

import { listenOnLastingPort } from '../../src/lib/demo/lasting-port.js';

export class Way {
  private readonly server: Server;
  /** Its port on 127.0.0.1. */
  at = 0;

  private constructor(
    private readonly host: string,
    private readonly port: number,
  ) {
    this.server = createServer((from) => {
      const to = connect(this.port, this.host);
      from.pipe(to).pipe(from);
      const end = () => {
        from.destroy();
        to.destroy();
      };
      for (const socket of [from, to]) socket.on('error', end).on('close', end);
      this.server.once('shut', end);
    });
    this.server.setMaxListeners(0);
  }

  /** Writes to `to` the kubeconfig `from`, which then leads this way. */
  static async open(from: string, to: string): Promise<Way> {
    const config = new KubeConfig();
    config.loadFromFile(from);
    const { hostname, port } = new URL(config.getCurrentCluster()?.server ?? '');
    const way = new Way(hostname, port === '' ? 443 : Number(port));
    await way.listen();
    const text = JSON.parse(config.exportConfig()) as { clusters: { cluster: object }[] };
    for (const one of text.clusters) {
      const server = `https://127.0.0.1:${way.at}`;
      one.cluster = { ...one.cluster, server, 'tls-server-name': hostname };
    }
    writeFileSync(to, JSON.stringify(text), { mode: 0o600 });
    return way;
  }

  private async listen(): Promise<void> {
    this.at = await listenOnLastingPort(this.server, this.at);
  }

  /** Ends what is open; nobody comes in until reopen(). */
  async shut(): Promise<void> {
    const closed = once(this.server, 'close');
    this.server.close();
    this.server.emit('shut');
    await closed;
  }

  async reopen(): Promise<void> {
    await this.listen();
  }
}
