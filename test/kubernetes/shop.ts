// A cluster of one Service with two endpoints, and a cluster source that looks at it: what
// the tests of faults begin with.
import { ApiServer } from './api-server.js';
import { node, service, slice } from './objects.js';
import { Rig } from './rig.js';

/** What the source says of the Service, up to its endpoints. */
export const cart = 'shop/cart:http 127.96.0.10:80 ->';
export const both = `${cart} 10.0.0.1:8080 10.0.0.2:8080`;

export class Shop {
  readonly rig = new Rig();

  private constructor(readonly server: ApiServer) {}

  static async open(): Promise<Shop> {
    const server = await ApiServer.start();
    const shop = new Shop(server);
    server.writeKubeconfig(shop.rig.kubeconfig);
    server.apply('nodes', node('node-a', '127.96.7.1'));
    server.apply('services', service('shop/cart', '127.96.0.10'));
    shop.scale('10.0.0.1', '10.0.0.2');
    return shop;
  }

  scale(...addresses: string[]): void {
    this.server.apply('endpointslices', slice('shop/cart-1', 'cart', addresses));
  }

  /** More Services, which need more than one page; returns what is then served. */
  stock(count: number): string[] {
    return Array.from({ length: count }, (_, i) => {
      const [name, vip, endpoint] = [`shelf-${i}`, `127.96.1.${i + 1}`, `10.1.0.${i + 1}`];
      this.server.apply('services', service(`shop/${name}`, vip));
      this.server.apply('endpointslices', slice(`shop/${name}-1`, name, [endpoint]));
      return `shop/${name}:http ${vip}:80 -> ${endpoint}:8080`;
    });
  }

  async close(): Promise<void> {
    await this.rig.close();
    await this.server.stop();
  }
}
