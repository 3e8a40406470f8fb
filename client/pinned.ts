import type { Bytes } from '@vouchgate/attestation'
import { createHash, timingSafeEqual } from 'node:crypto'
import { isIP } from 'node:net'
import { connect, type TLSSocket } from 'node:tls'
import type { buildConnector } from 'undici'
import { ChannelError } from './errors.ts'

export interface TlsTarget {
  /** DNS name or address; an IPv6 address with or without brackets. */
  readonly hostname: string
  readonly port: string | number
}

/** A finished TLS 1.3 handshake over which nothing has been sent. */
export interface OpenedTls {
  readonly socket: TLSSocket
  /** SHA-256 of the DER SubjectPublicKeyInfo that the peer proved to hold. */
  readonly spkiSha256: Bytes
}

const DEFAULT_TIMEOUT_MS = 10_000
const TOO_OLD = new Set(['ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION', 'ERR_SSL_UNSUPPORTED_PROTOCOL'])

/**
 * Opens a TLS 1.3 connection and says which key it ends in. Rejects with `ChannelError`.
 *
 * The certificate's issuer and names are not looked at: an attested key is self-signed, and what vouches
 * for it is the quote. Whoever calls this must compare `spkiSha256` before the first byte is written.
 */
export function openTls(target: TlsTarget, timeoutMs: number): Promise<OpenedTls> {
  const host = target.hostname.replace(/^\[(.*)\]$/, '$1')
  return new Promise((resolve, reject) => {
    const socket = connect({
      host,
      port: Number(target.port === '' ? 443 : target.port),
      // A literal address is not a server name (RFC 6066 §3).
      ...(isIP(host) === 0 ? { servername: host } : {}),
      minVersion: 'TLSv1.3',
      // Hybrid first: what is recorded today must not be readable by a later quantum computer.
      ecdhCurve: 'X25519MLKEM768:X25519:P-256',
      ALPNProtocols: ['http/1.1'],
      // No `session`: a resumed handshake shows no certificate to compare.
      rejectUnauthorized: false,
    })
    const fail = (error: ChannelError): void => {
      clearTimeout(timer)
      socket.destroy()
      reject(error)
    }
    const timer = setTimeout(() => fail(new ChannelError('channel_timeout')), timeoutMs)
    // Stays after the handshake: an error between here and the next listener must not end the process.
    socket.on('error', (error) => fail(new ChannelError(handshakeFailure(error))))
    socket.once('close', () => fail(new ChannelError('channel_unreachable')))
    socket.once('secureConnect', () => {
      clearTimeout(timer)
      const spkiSha256 = peerSpki(socket)
      if (spkiSha256 === null) fail(new ChannelError('channel_key_unreadable'))
      else resolve({ socket: socket.setNoDelay(true), spkiSha256 })
    })
  })
}

const handshakeFailure = (error: Error) =>
  'code' in error && typeof error.code === 'string' && TOO_OLD.has(error.code)
    ? 'tls_too_old'
    : 'channel_unreachable'

/** Null where there is no certificate, or a key of a kind that cannot be exported. */
function peerSpki(socket: TLSSocket): Bytes | null {
  try {
    const spki = socket.getPeerX509Certificate()?.publicKey.export({ type: 'spki', format: 'der' })
    return spki === undefined ? null : sha256(spki)
  } catch {
    return null
  }
}

const sha256 = (bytes: Uint8Array): Bytes =>
  Uint8Array.from(createHash('sha256').update(bytes).digest())

export const sameDigest = (left: Uint8Array, right: Uint8Array): boolean =>
  left.length === right.length && timingSafeEqual(left, right)

type OpenSocket = (target: TlsTarget) => Promise<TLSSocket>

/** An undici connector out of a function that opens a socket. */
export const connectorOf =
  (open: OpenSocket): buildConnector.connector =>
  ({ hostname, port, protocol }, callback) => {
    if (protocol === 'https:') void handOver(open, { hostname, port }, callback)
    else callback(new TypeError('an attested channel is https'), null)
  }

async function handOver(
  open: OpenSocket,
  target: TlsTarget,
  callback: buildConnector.Callback,
): Promise<void> {
  let socket: TLSSocket
  try {
    socket = await open(target)
    if (socket.destroyed) throw new ChannelError('channel_unreachable')
  } catch (error) {
    callback(error instanceof Error ? error : new TypeError('not an error'), null)
    return
  }
  callback(null, socket)
}

export interface PinOptions {
  /** For all attempts together. */
  readonly timeoutMs?: number
  /** Where a balancer may lead to other keys: how often to connect until the pinned one answers. Default 1. */
  readonly attempts?: number
}

/**
 * An undici connector that reaches one key and nothing else.
 *
 * undici's own `rejectUnauthorized: false` with `checkServerIdentity` never calls the check for a
 * self-signed certificate and sends the request. Here the key is compared after the handshake and before
 * undici receives a socket it could write to: a peer with another key sees zero bytes of the request.
 */
export function pinnedConnector(
  spkiSha256: Uint8Array,
  options: PinOptions = {},
): buildConnector.connector {
  if (spkiSha256.length !== 32) throw new TypeError('an SPKI digest is 32 bytes')
  const expected = Uint8Array.from(spkiSha256)
  const { timeoutMs = DEFAULT_TIMEOUT_MS, attempts = 1 } = options
  return connectorOf(async (target) => {
    const deadline = performance.now() + timeoutMs
    for (let attempt = 0; attempt < attempts; attempt++) {
      const opened = await openTls(target, deadline - performance.now())
      if (sameDigest(opened.spkiSha256, expected)) return opened.socket
      opened.socket.destroy()
    }
    throw new ChannelError('channel_key_mismatch')
  })
}
