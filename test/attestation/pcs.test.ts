import {
  assembleCollateral,
  collateralKey,
  encodeUtf8,
  fromHex,
  pcsRoutes,
  type Collateral,
  type PcsAnswers,
} from '@vouchgate/attestation'
import { describe, expect, test } from 'vitest'
import { toPem } from '../support/pki.ts'
import { createTeeVendor } from '../support/tee-vendor.ts'

const vendor = createTeeVendor()
const collateral = vendor.collateral()

/** What Intel's service answers for this collateral. */
function answersFor(from: Collateral): PcsAnswers {
  const document = (member: string, text: string, signature: string) =>
    encodeUtf8(`{"${member}":${text},"signature":"${signature}"}`)
  return {
    tcb: {
      body: document('tcbInfo', from.tcb_info, from.tcb_info_signature),
      issuerChain: encodeURIComponent(from.tcb_info_issuer_chain),
    },
    qeIdentity: {
      body: document('enclaveIdentity', from.qe_identity, from.qe_identity_signature),
      issuerChain: encodeURIComponent(from.qe_identity_issuer_chain),
    },
    pckCrl: {
      body: fromHex(from.pck_crl),
      issuerChain: encodeURIComponent(from.pck_crl_issuer_chain),
    },
    rootCrl: fromHex(from.root_ca_crl),
  }
}

const answers = answersFor(collateral)

test('collateral is assembled from the four answers byte for byte', () => {
  expect(assembleCollateral(answers)).toEqual(collateral)
})

test('a mirror may serve CRLs as hex text or as PEM', () => {
  const hexText = encodeUtf8(`${collateral.root_ca_crl.toUpperCase()}\n`)
  expect(assembleCollateral({ ...answers, rootCrl: hexText })).toEqual(collateral)
  const pem = encodeUtf8(toPem(fromHex(collateral.root_ca_crl), 'X509 CRL'))
  expect(assembleCollateral({ ...answers, rootCrl: pem })).toEqual(collateral)
})

test.for(['platform', 'processor'] as const)(
  'a quote under the %s CA names its routes',
  async (ca) => {
    const quote = await createTeeVendor({ platform: { ca } }).quote({ reportData: '00'.repeat(64) })
    const key = await collateralKey(quote)
    const rootSha256 = expect.stringMatching(/^[0-9a-f]{64}$/)
    expect(key).toEqual({ tee: 'tdx', fmspc: vendor.platform.fmspc, ca, rootSha256 })
    expect(pcsRoutes(key)).toEqual({
      tcb: '/tdx/certification/v4/tcb?fmspc=b0c06f000000',
      qeIdentity: '/tdx/certification/v4/qe/identity',
      pckCrl: `/sgx/certification/v4/pckcrl?ca=${ca}&encoding=der`,
    })
  },
)

test('a quote without its whole chain names no collateral', async () => {
  const { leaf, intermediate } = vendor.certificates
  for (const chain of [leaf.pem, leaf.pem + intermediate.pem]) {
    const quote = await vendor.quote({ reportData: '00'.repeat(64), chain })
    await expect(collateralKey(quote)).rejects.toMatchObject({ code: 'certificate_chain_length' })
  }
})

describe('an answer is refused that', () => {
  const tcb = (body: string) => ({ tcb: { ...answers.tcb, body: encodeUtf8(body) } })
  const BAD: Record<string, [code: string, changes: Partial<PcsAnswers>]> = {
    'is no JSON': ['json_malformed', tcb('<html>')],
    'lacks the document': ['collateral_malformed', tcb('{"signature":"00","other":{}}')],
    'lacks the signature': ['collateral_malformed', tcb('{"tcbInfo":{},"other":{}}')],
    'has a signature that is no text': [
      'collateral_malformed',
      tcb('{"tcbInfo":{},"signature":1}'),
    ],
    'has another member': ['collateral_malformed', tcb('{"tcbInfo":{},"signature":"00","x":1}')],
    'has an issuer chain that is not percent-encoded': [
      'collateral_malformed',
      { tcb: { ...answers.tcb, issuerChain: '%E0%A4%A' } },
    ],
    'holds a CRL of neither form': ['collateral_malformed', { rootCrl: encodeUtf8('hello') }],
    'holds no CRL': ['collateral_malformed', { rootCrl: new Uint8Array() }],
    'holds a CRL in broken PEM': [
      'encoding_malformed',
      { rootCrl: encodeUtf8('-----BEGIN X509 CRL-----\nMII\n-----END X509 CRL-----\n') },
    ],
    'holds a certificate for a CRL': [
      'collateral_malformed',
      { rootCrl: encodeUtf8(vendor.rootPem) },
    ],
    'holds a CRL in broken hex': ['encoding_malformed', { rootCrl: encodeUtf8('30zz') }],
  }

  test.for(Object.entries(BAD))('%s', ([, [code, changes]]) => {
    expect(() => assembleCollateral({ ...answers, ...changes })).toThrow(
      expect.objectContaining({ code }),
    )
  })
})
