// IPv4 addresses as the codecs hold them: one unsigned number in host order.

/** `address` is a dotted quad that has been validated already. */
export function ipv4ToNumber(address: string): number {
  return address.split('.').reduce((sum, octet) => sum * 256 + Number(octet), 0);
}

export function ipv4ToText(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 0xff).join('.');
}
