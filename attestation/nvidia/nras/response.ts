import { z } from 'zod'
import { EvidenceError } from '../../errors.ts'
import { jsonOf } from './json.ts'

/** A detached EAT as NRAS hands it out. Nothing of it is verified. */
export interface NrasResponse {
  readonly overall: string
  /** Token by device name: `GPU-0`, `SWITCH-3`. In any order. */
  readonly devices: ReadonlyMap<string, string>
}

export const NRAS_MAX_BYTES = 1 << 20
const MAX_TOKEN = 1 << 14
const MAX_DEVICES = 64
const CODE = 'nras_response_malformed'

/** Compact JWS with a signature of 96 bytes. */
const token = z
  .string()
  .max(MAX_TOKEN)
  .regex(/^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{128}$/)
const bodySchema = z.tuple([
  z.tuple([z.literal('JWT'), token]),
  z.record(z.string().regex(/^(?:GPU|SWITCH)-(?:0|[1-9][0-9]?)$/), token),
])

/**
 * Reads `[["JWT", overall], {"GPU-0": device, …}]`, at most 1 MiB and 1 to 64 devices. Throws
 * `nras_response_malformed`.
 */
export function parseNrasResponse(body: Uint8Array): NrasResponse {
  if (body.length > NRAS_MAX_BYTES) throw new EvidenceError(CODE)
  const parsed = bodySchema.safeParse(jsonOf(() => body))
  if (!parsed.success) throw new EvidenceError(CODE)
  const [[, overall], tokens] = parsed.data
  const devices = new Map(Object.entries(tokens))
  if (devices.size === 0 || devices.size > MAX_DEVICES) throw new EvidenceError(CODE)
  return { overall, devices }
}
