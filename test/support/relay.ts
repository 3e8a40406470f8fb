import { connect as connectTcp, createServer, type Socket } from 'node:net'
import { connect as connectTls, createServer as createTlsServer, type TLSSocket } from 'node:tls'
import type { Bytes } from '@vouchgate/attestation'
import { concat } from './der.ts'
import { newTlsIdentity } from './pki.ts'
import { listen, portOf, stop } from './ports.ts'

/**
 * An attacker on the path: a TLS man in the middle with a key of its own. It passes on every byte, the
 * attestation report of the real service included, and keeps what it could read.
 */
export interface Relay {
  /** `https://127.0.0.1:port` */
  readonly origin: string
  /** Hex of the attacker's own TLS key. */
  readonly spkiSha256: string
  /**
   * `intercept` ends TLS here; `passthrough` forwards TCP untouched, so that a victim verifies the real
   * service first. Counts for new connections; `interceptNow` also drops the open ones.
   */
  mode: 'intercept' | 'passthrough'
  interceptNow(): void
  /** TCP connections ever accepted. */
  connections(): number
  /** Everything the victims sent that the attacker could read. */
  plaintext(): Bytes
  close(): Promise<void>
}

export interface RelayOptions {
  /** Origin of the service behind, `https://host:port`. */
  readonly target: string
  readonly port?: number
  readonly mode?: Relay['mode']
}

function join(left: Socket, right: Socket): void {
  const end = (): void => {
    left.destroy()
    right.destroy()
  }
  for (const socket of [left, right]) socket.on('error', end).on('close', end)
  left.pipe(right)
  right.pipe(left)
}

export async function startRelay(options: RelayOptions): Promise<Relay> {
  const { hostname: host, port } = new URL(options.target)
  const target = { host, port: port === '' ? 443 : Number(port) }
  const { key, cert, spkiSha256 } = newTlsIdentity()
  const sockets = new Set<Socket>()
  const read: Buffer[] = []
  let connections = 0
  const interceptor = createTlsServer({ key, cert, minVersion: 'TLSv1.3' }, (victim: TLSSocket) => {
    victim.on('data', (chunk: Buffer) => read.push(chunk))
    // The attacker has no reason to check whom it talks to.
    join(victim, connectTls({ ...target, rejectUnauthorized: false, minVersion: 'TLSv1.3' }))
  })
  interceptor.on('tlsClientError', (_error, socket) => socket.destroy())
  const dropAll = (): void => {
    for (const socket of sockets) socket.destroy()
  }
  const server = createServer((socket) => {
    connections += 1
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket)).on('error', () => socket.destroy())
    if (relay.mode === 'intercept') interceptor.emit('connection', socket)
    else join(socket, connectTcp(target))
  })
  await listen(server, options.port)
  const relay: Relay = {
    origin: `https://127.0.0.1:${portOf(server)}`,
    spkiSha256,
    mode: options.mode ?? 'intercept',
    interceptNow: () => {
      relay.mode = 'intercept'
      dropAll()
    },
    connections: () => connections,
    plaintext: () => concat(...read),
    close: () => {
      dropAll()
      return stop(server)
    },
  }
  return relay
}
