import { testPkiRoot, verifyQuote } from '@vouchgate/attestation'
import { describe, expect, test } from 'vitest'
import { Memo } from '../../attestation/memo.ts'
import { createTeeVendor, type CollateralOverrides } from '../support/tee-vendor.ts'

test('a memo computes a text once, keeps no failure and forgets the oldest', () => {
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
  get('c')
  expect([get('a'), computed]).toEqual(['A', 6])
})

const vendor = createTeeVendor()
const stranger = createTeeVendor()
const trustedRoot = await testPkiRoot(vendor.rootPem)
const strangersRoot = await testPkiRoot(stranger.rootPem)
const quote = await vendor.quote({ reportData: new Uint8Array(64) })
const collateral = vendor.collateral()
const good = { quote, collateral, now: vendor.now, trustedRoot }
const DAY = 86_400

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

  test('a rejection that was seen first', async () => {
    const fresh = createTeeVendor()
    const root = await testPkiRoot(fresh.rootPem)
    const input = {
      quote: await fresh.quote({ reportData: new Uint8Array(64) }),
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
