import { constants } from 'node:crypto'
import type { Generation } from './generation.ts'

/** What a server of this generation passes to `tls.createServer` and, at a rotation, to `setSecureContext`. */
export interface TlsOptions {
  readonly key: string
  readonly cert: string
  readonly minVersion: 'TLSv1.3'
  readonly ecdhCurve: string
  readonly secureOptions: number
}

/**
 * TLS 1.3 with the hybrid X25519MLKEM768 first, against those who record today to decrypt later.
 *
 * No session resumption: a resumed connection shows no certificate, so a client could not compare the key
 * with the attested one, and a ticket would outlive the generation that issued it.
 */
export const tlsOptions = (generation: Generation): TlsOptions => ({
  ...generation.tls,
  minVersion: 'TLSv1.3',
  ecdhCurve: 'X25519MLKEM768:X25519:P-256',
  secureOptions: constants.SSL_OP_NO_TICKET,
})
