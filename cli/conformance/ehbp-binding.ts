import { equalBytes, fromHex, toHex, type JsonValue } from '@vouchgate/attestation'
import { z } from 'zod'
import { hex, readInput, rejection, type Stage } from './stage.ts'

/** A document of version 2: the TLS key's digest, then the HPKE key. */
const inputSchema = z.strictObject({
  schema_version: z.literal('1'),
  report_data_hex: hex(64).transform(fromHex),
  offered_hpke_public_key_hex: hex(32).transform(fromHex),
})

export const EHBP_BINDING: Stage = {
  name: 'verify-ehbp-key-binding',
  judge: (document: JsonValue) => {
    const { report_data_hex: bound, offered_hpke_public_key_hex: offered } = readInput(
      inputSchema,
      document,
    )
    const [tls, hpke] = [bound.subarray(0, 32), bound.subarray(32)]
    if (!equalBytes(hpke, offered)) return Promise.resolve(rejection('EHBP_KEY_BINDING_MISMATCH'))
    return Promise.resolve({
      accepted: true,
      outputs: { attested_hpke_public_key_hex: toHex(hpke), tls_fingerprint_hex: toHex(tls) },
    })
  },
}
