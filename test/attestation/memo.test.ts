import { isVerificationError, testPkiRoot, verifyQuote } from '@vouchgate/attestation'
import { describe, expect, test, vi } from 'vitest'
import { Memo } from '../../attestation/memo.ts'
import { SignedMessage } from '../../attestation/signature.ts'
import { signRaw } from '../support/pki.ts'
import { createTeeVendor, type CollateralOverrides } from '../support/tee-vendor.ts'

test('a memo computes a text once, keeps no failure and forgets what was asked for longest ago', () => {
  const memo = new Memo<string>(2)
  let computed = 0
  const get = (text: string) =>
    memo.get(text, () => {
      computed++
      if (text === 'bad') throw new TypeError('bad')
      return text.toUpperCase()
    })
  expect([get('a'), get('a'), get('b'), computed]).toEqual(['A', 'A', 'B', 2])
  expect(() => get('bad')).toThrow('bad')
  expect(() => get('bad')).toThrow('bad')
  expect(computed).toBe(4)
  get('a')
  get('c')
  expect([get('a'), computed]).toEqual(['A', 5])
  expect([get('b'), computed]).toEqual(['B', 6])
})

test('a rejected promise is not remembered, and no newer one is forgotten in its place', async () => {
  const memo = new Memo<Promise<string>>(1)
  const refused = memo.get('a', () => Promise.reject(new TypeError('bad')))
  await expect(refused).rejects.toThrow('bad')
  await expect(memo.get('a', async () => 'good')).resolves.toBe('good')
  const late = Promise.withResolvers<string>()
  const pending = memo.get('b', () => late.promise)
  void memo.get('c', async () => 'pushes b out')
  const newer = memo.get('b', async () => 'newer')
  late.reject(new TypeError('late'))
  await expect(pending).rejects.toThrow('late')
  expect(memo.get('b', async () => 'computed again')).toBe(newer)
})

test('a signed message answers for each key on its own, whichever was asked about first', async () => {
  const [signer, other] = [createTeeVendor().attestationKey, createTeeVendor().attestationKey]
  const message = Uint8Array.of(1, 2, 3)
  const signature = signRaw(signer, message)
  for (const order of [
    [signer, other],
    [other, signer],
  ]) {
    const signed = new SignedMessage(signature, message)
    for (const key of [...order, ...order]) {
      expect(await signed.isSignedBy(key.point)).toBe(key === signer)
    }
    expect(await signed.isSignedBy(new Uint8Array(64).fill(1))).toBe(false)
    expect(await signed.isSignedBy(null)).toBe(false)
  }
})

const vendor = createTeeVendor()
const stranger = createTeeVendor()
const trustedRoot = await testPkiRoot(vendor.rootPem)
const strangersRoot = await testPkiRoot(stranger.rootPem)
const reportData = new Uint8Array(64)
const strangersLeaf = vendor.pckChain({ leaf: stranger.certificates.leaf })
const strangersQuotes = {
  leaf: await stranger.quote({ reportData, chain: strangersLeaf }),
  chain: await stranger.quote({ reportData, chain: vendor.pckChain() }),
}
const quote = await vendor.quote({ reportData })
// With a space, where a text can be torn in two.
const collateral = vendor.collateral({ tcbInfo: { text: (text) => text.replace('{', '{ ') } })
const good = { quote, collateral, now: vendor.now, trustedRoot }
const DAY = 86_400
const codeOf = (error: unknown): unknown => (isVerificationError(error) ? error.code : error)

/** Everything that could be remembered of this evidence is, before each of these is judged. */
describe('what was remembered of genuine evidence never lets pass', () => {
  const { leaf, tcbSigning, intermediate } = vendor.certificates
  const revoking = (overrides: CollateralOverrides) => ({
    ...good,
    collateral: { ...collateral, ...pick(vendor.collateral(overrides)) },
  })
  const pick = ({ root_ca_crl, pck_crl }: typeof collateral) => ({ root_ca_crl, pck_crl })

  test.for([
    ['the same evidence after its end', 'crl_not_valid_now', { now: vendor.now + 30 * DAY }],
    ['the same evidence before its time', 'crl_not_valid_now', { now: vendor.now - 2 * DAY }],
    [
      'the same evidence under another root',
      'certificate_root_untrusted',
      { trustedRoot: strangersRoot },
    ],
    [
      'its leaf after it was revoked',
      'certificate_revoked',
      revoking({ pckCrl: { revoked: [leaf.serial] } }),
    ],
    [
      'its PCK CA after it was revoked',
      'certificate_revoked',
      revoking({ rootCrl: { revoked: [intermediate.serial] } }),
    ],
    [
      'its TCB signer after it was revoked',
      'certificate_revoked',
      revoking({ rootCrl: { revoked: [tcbSigning.serial] } }),
    ],
    [
      'its TCB info under another signature',
      'tcb_info_signature_invalid',
      { collateral: { ...collateral, tcb_info_signature: collateral.qe_identity_signature } },
    ],
    [
      'its TCB info with another text',
      'tcb_info_signature_invalid',
      { collateral: { ...collateral, tcb_info: `${collateral.tcb_info} ` } },
    ],
    [
      'its TCB info with its first word in the signature',
      'encoding_malformed',
      {
        collateral: {
          ...collateral,
          tcb_info_signature: `${collateral.tcb_info_signature} {`,
          tcb_info: collateral.tcb_info.slice(2),
        },
      },
    ],
    [
      'its TCB info under half of its signature',
      'tcb_info_signature_invalid',
      {
        collateral: {
          ...collateral,
          tcb_info_signature: collateral.tcb_info_signature.slice(0, 64),
        },
      },
    ],
    [
      'its TCB info under another signer',
      'certificate_root_untrusted',
      {
        collateral: {
          ...collateral,
          tcb_info_issuer_chain: stranger.collateral().tcb_info_issuer_chain,
        },
      },
    ],
    [
      'its TCB info, hex digits of the signature moved to the text',
      'tcb_info_signature_invalid',
      {
        collateral: {
          ...collateral,
          tcb_info_signature: collateral.tcb_info_signature.slice(0, -2),
          tcb_info: `${collateral.tcb_info_signature.slice(-2)} ${collateral.tcb_info}`,
        },
      },
    ],
    [
      'its QE identity as its TCB info',
      'tcb_info_malformed',
      {
        collateral: {
          ...collateral,
          tcb_info: collateral.qe_identity,
          tcb_info_signature: collateral.qe_identity_signature,
        },
      },
    ],
    [
      'its chain with the leaf of a stranger',
      'certificate_signature_invalid',
      { quote: strangersQuotes.leaf },
    ],
    [
      'its chain around a quote of a stranger',
      'qe_report_signature_invalid',
      { quote: strangersQuotes.chain },
    ],
    [
      'its CRL by another CA',
      'crl_issuer_mismatch',
      { collateral: { ...collateral, pck_crl: stranger.collateral().pck_crl } },
    ],
    [
      'its quote with one changed byte',
      'quote_signature_invalid',
      { quote: quote.with(200, (quote[200] ?? 0) ^ 1) },
    ],
  ] as const)('%s', async ([, code, changes]) => {
    await expect(verifyQuote(good)).resolves.toBeDefined()
    await expect(verifyQuote({ ...good, ...changes })).rejects.toMatchObject({ code })
    await expect(verifyQuote(good)).resolves.toBeDefined()
  })

  /** Signatures are begun at once and shared by whoever asks: no answer may reach another question. */
  test('any of it, judged at the same time as the genuine', async () => {
    const bad = [
      ['quote_signature_invalid', { quote: quote.with(200, (quote[200] ?? 0) ^ 1) }],
      ['crl_not_valid_now', { now: vendor.now + 30 * DAY }],
      ['certificate_root_untrusted', { trustedRoot: strangersRoot }],
      [
        'qe_identity_signature_invalid',
        { collateral: { ...collateral, qe_identity_signature: collateral.tcb_info_signature } },
      ],
    ] as const
    const judged = bad.flatMap(([, changes]) => [
      verifyQuote({ ...good, ...changes }).then(() => 'accepted', codeOf),
      verifyQuote(good).then(() => 'accepted', codeOf),
    ])
    expect(await Promise.all(judged)).toEqual(bad.flatMap(([code]) => [code, 'accepted']))
  })

  test('a rejection that was seen first', async () => {
    const fresh = createTeeVendor()
    const root = await testPkiRoot(fresh.rootPem)
    const input = {
      quote: await fresh.quote({ reportData }),
      collateral: fresh.collateral(),
      now: fresh.now,
      trustedRoot: root,
    }
    const bad = { ...input.collateral, tcb_info_signature: '00'.repeat(64) }
    for (let round = 0; round < 2; round++) {
      await expect(verifyQuote({ ...input, collateral: bad })).rejects.toMatchObject({
        code: 'tcb_info_signature_invalid',
      })
    }
    await expect(verifyQuote(input)).resolves.toBeDefined()
  })
})

/** Signatures are begun all at once; what is said of evidence that fails in several steps is still what its first step says. */
describe('of all that is wrong, the first step speaks:', () => {
  const other = stranger.certificates.leaf.key
  const wrong = [
    [
      'certificate_signature_invalid',
      { chain: vendor.pckChain({ leaf: vendor.issue('leaf', { signer: other }) }) },
      {},
    ],
    ['crl_malformed', {}, { pckCrl: { innerAlgorithm: new Uint8Array(2) } }],
    ['crl_signature_invalid', {}, { rootCrl: { signer: other } }],
    ['tcb_info_signature_invalid', {}, { tcbInfo: { signer: other } }],
    ['json_malformed', {}, { qeIdentity: { text: () => 'no JSON' } }],
    ['qe_report_signature_invalid', { qeSigner: other }, {}],
    ['quote_signature_invalid', { quoteSigner: other }, {}],
  ] as const

  test.for(wrong.map(([code], at) => [code, at] as const))('%s', async ([code, at]) => {
    const rest = wrong.slice(at)
    const fields = Object.assign({ reportData }, ...rest.map(([, inQuote]) => inQuote))
    const overrides = Object.assign({}, ...rest.map(([, , inCollateral]) => inCollateral))
    const input = {
      ...good,
      quote: await vendor.quote(fields),
      collateral: vendor.collateral(overrides),
    }
    await expect(verifyQuote(input)).rejects.toMatchObject({ code })
    await expect(verifyQuote(good)).resolves.toBeDefined()
    await expect(verifyQuote(input)).rejects.toMatchObject({ code })
  })
})

test('of ten signatures, those by the quoting enclave and the platform are checked each time', async () => {
  const verify = vi.spyOn(crypto.subtle, 'verify')
  const signatures = async (input: typeof good): Promise<number> => {
    verify.mockClear()
    await verifyQuote(input)
    return verify.mock.calls.length
  }
  const fresh = createTeeVendor()
  const input = {
    quote: await fresh.quote({ reportData }),
    collateral: fresh.collateral(),
    now: fresh.now,
    trustedRoot: await testPkiRoot(fresh.rootPem),
  }
  expect([await signatures(input), await signatures(input)]).toEqual([10, 2])
  // Memory is bounded: after the evidence of enough other vendors it is as new.
  for (let vendors = 0; vendors < 64; vendors++) {
    const one = createTeeVendor()
    const other = {
      quote: await one.quote({ reportData }),
      collateral: one.collateral(),
      now: one.now,
      trustedRoot: await testPkiRoot(one.rootPem),
    }
    await verifyQuote(other)
  }
  expect(await signatures(input)).toBe(10)
  verify.mockRestore()
})
