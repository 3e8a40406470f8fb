/** Names and addresses that do not leave the machine. */
export const LOOPBACK: ReadonlySet<string> = new Set(['127.0.0.1', '::1', 'localhost'])

/** Whether this is http that does not leave the machine. A URL has the brackets of an IPv6 address in its host name. */
export const isLocalHttp = ({ protocol, hostname }: URL): boolean =>
  protocol === 'http:' && LOOPBACK.has(hostname.replace(/^\[(.*)\]$/, '$1'))
