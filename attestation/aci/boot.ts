import { z } from 'zod'
import { encodeUtf8, sha256, toHex } from '../bytes.ts'
import { jcs } from './jcs.ts'
import { digestLabel } from './keyset.ts'

export const bootSchema = z.strictObject({
  software: z.string().max(128),
  config_digest: digestLabel,
  self_check: z.record(z.string().max(64), z.enum(['held', 'not_held', 'unknown'])),
})

/**
 * How a gateway started: its software, the digest of its configuration and what its self-check found.
 *
 * The keyset shape of ACI v1 is fixed, so the digest of this document is the keyset's `subject`; the quote
 * binds the keyset and thereby this.
 */
export interface BootDocument {
  readonly software: string
  /** `sha256:<hex>` over the configuration file's bytes. */
  readonly config_digest: string
  readonly self_check: Readonly<Record<string, 'held' | 'not_held' | 'unknown'>>
}

const PREFIX = 'urn:vouchgate:boot:sha256:'

export const bootSubject = async (boot: BootDocument): Promise<string> =>
  PREFIX + toHex(await sha256(encodeUtf8(jcs(boot))))
