import { z } from 'zod'
import { newRimVendor } from '../test/support/nvidia-rim.ts'
import { hasVectors, vectorBytes, vectorJson } from '../test/support/vectors.ts'
import type { Case, Work } from './evidence-cases.ts'

/** NVIDIA's reference values: XML and P-384, which no other evidence needs together. */

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64')

const GENUINE = '10-rims-genuine'
const NEGATIVE = '11-rims-negative'
/** At which every certificate of the vectors has begun, and the older signers have expired. */
const NOW = '2027-01-01T00:00:00Z'
const REFUSED: Readonly<Record<string, RegExp>> = {
  'NV_GPU_DRIVER_GH100_535.86.09_measurement_mismatch.xml': /^REJECT rim_digest_mismatch$/,
  'NV_GPU_DRIVER_GH100_570.124.03_expired.xml': /^REJECT rim_digest_mismatch$/,
  'NV_SWITCH_BIOS_5612_0002_890_9610550001_invalid_signature.xml': /^REJECT rim_digest_mismatch$/,
  'incorrect_cert_chain_driver_rim.xml': /^REJECT certificate_root_untrusted$/,
  'incorrect_signature_driver_rim.xml': /^REJECT rim_signature_invalid$/,
}

const expectedSchema = z.record(
  z.string(),
  z.object({
    version: z.string(),
    product: z.string(),
    active: z.array(z.number()),
    signerValid: z.tuple([z.string(), z.string()]),
  }),
)

const work = (set: string, name: string): Work => ({
  kind: 'rim',
  document: base64(vectorBytes('nvidia', set, name)),
  now: Date.parse(NOW) / 1000,
  rootPems: null,
})

/** Cases from outside of the project; none where they are not there. */
export function vectorRimWork(): Case[] {
  if (!hasVectors) return []
  const expected = expectedSchema.parse(vectorJson('nvidia', GENUINE, 'expected.json'))
  const genuine = Object.entries(expected).map(
    ([name, { product, version, active, signerValid }]) => {
      const validity = Date.parse(signerValid[1]) < Date.parse(NOW) ? 'expired' : 'valid'
      const want = `^VERIFIED ${product} (?:driver|vbios) ${version} \\[${active.join()}\\] ${validity}$`
      return { name, work: work(GENUINE, name), want: new RegExp(want) }
    },
  )
  const refused = Object.entries(REFUSED).map(([name, want]) => ({
    name,
    work: work(NEGATIVE, name),
    want,
  }))
  return [...genuine, ...refused]
}

/** Cases made here and now, under roots of their own. */
export function generatedRimWork(): Case[] {
  const vendor = newRimVendor()
  const rim = vendor.rim()
  const rootPems = [vendor.pki.deviceRoot.pem, vendor.pki.rimRoot.pem] as const
  const of = (name: string, document: string, want: RegExp): Case => ({
    name: `generated: ${name}`,
    want,
    work: { kind: 'rim', document: base64(Buffer.from(document)), now: vendor.now, rootPems },
  })
  return [
    of('reference values', rim, /^VERIFIED GH100 driver 580\.95\.05 \[7,21,.*\] valid$/),
    of('another spelling', rim.replaceAll('\n', '\r\n').replaceAll('"', "'"), /^VERIFIED GH100 /),
    of(
      'another value',
      rim.replace('active="False"', 'active="True"'),
      /^REJECT rim_digest_mismatch$/,
    ),
    of('a comment', rim.replace('</ds:DigestValue>', '<!-- -->$&'), /^REJECT rim_xml_comment$/),
  ]
}
