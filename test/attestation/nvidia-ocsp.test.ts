import {
  ocspRequest,
  toHex,
  verifyOcspResponse,
  type Bytes,
  type OcspInput,
  type OcspVerdict,
} from '@vouchgate/attestation'
import * as fc from 'fast-check'
import { createHash, sign } from 'node:crypto'
import { beforeAll, describe, expect, test } from 'vitest'
import { parseNvidiaCertificate } from '../../attestation/nvidia/certificate.ts'
import { TEST_TIME } from '../support/clock.ts'
import {
  concat,
  enumerated,
  explicit,
  generalizedTime,
  implicit,
  integer,
  octetString,
  oid,
  sequence,
  time,
} from '../support/der.ts'
import {
  byName,
  CERTIFICATE_HOLD,
  certIdOf,
  extendedKeyUsage,
  issueResponder,
  nonceExtension,
  OCSP_STATUS,
  ocspFailure,
  ocspResponse,
  RESPONDER_EXTENSIONS,
  type OcspFields,
  type OcspQuestion,
  type SingleFields,
} from '../support/nvidia-ocsp.ts'
import {
  caExtensions,
  issueAuthority,
  newP384Key,
  nvidiaName,
  signDer384,
  SIGNING_EXTENSIONS,
  type CertificateFields384,
} from '../support/nvidia-pki.ts'

const NOW = TEST_TIME
const DAY = 86_400
const OCSP_SIGNING = '1.3.6.1.5.5.7.3.9'

const root = issueAuthority('NVIDIA Device Identity CA', null)
const issuer = issueAuthority('NVIDIA GH100 Identity', root)
const subject = issueAuthority('NVIDIA GH100 Provisioner ICA 1', issuer)
const sibling = issueAuthority('NVIDIA GH100 Provisioner ICA 2', issuer)
const responder = issueResponder(issuer)
const question: OcspQuestion = { subject, issuer, responder, at: NOW }

let pair: Pick<OcspInput, 'subject' | 'issuer'>
beforeAll(async () => {
  pair = {
    subject: await parseNvidiaCertificate(subject.der),
    issuer: await parseNvidiaCertificate(issuer.der),
  }
})

const judge = (der: Uint8Array, nonce: OcspInput['nonce'] = 'stapled'): Promise<OcspVerdict> =>
  verifyOcspResponse(der, { ...pair, now: NOW, nonce })

const forged = (changes: Partial<OcspFields> = {}, asked: Partial<OcspQuestion> = {}): Bytes =>
  ocspResponse({ ...question, ...asked }, changes)
const answering = (...answers: Partial<SingleFields>[]): Bytes => forged({ answers })
/** A response by another responder, which is a good one but for these fields of its certificate. */
const by = (changes: Partial<CertificateFields384>, fields: Partial<OcspFields> = {}): Bytes =>
  forged(fields, { responder: issueResponder(issuer, changes) })

const code = (name: string) => expect.objectContaining({ code: name, step: 'gpu_revocation' })

/** A length in more bytes than it needs, or an integer with a zero byte too many. */
function paddedSignature(tbs: Uint8Array): Bytes {
  const signature = signDer384(responder.key, tbs)
  const length = signature[3] ?? 0
  const r = concat(Uint8Array.of(0x02, length + 1, 0), signature.subarray(4, 4 + length))
  return sequence(r, signature.subarray(4 + length))
}

describe('a good response', () => {
  test('says what it is about and how long it holds', async () => {
    const der = forged()
    expect(await judge(der)).toEqual({
      state: 'good',
      producedAt: NOW,
      thisUpdate: NOW,
      nextUpdate: NOW + DAY,
      sha256: createHash('sha256').update(der).digest('hex'),
      certificateSha256: createHash('sha256').update(subject.der).digest('hex'),
    })
  })

  const byIssuer = { responder: issuer, at: NOW }
  test.each<[string, () => Bytes]>([
    [
      'O13: its CertID is of SHA-1',
      () => answering({ certId: certIdOf(question, { hash: 'sha1' }) }),
    ],
    [
      'its CertID is of SHA-256',
      () => answering({ certId: certIdOf(question, { hash: 'sha256' }) }),
    ],
    [
      'its hash has no parameters',
      () => answering({ certId: certIdOf(question, { parameters: new Uint8Array(0) }) }),
    ],
    ['the responder is named', () => forged({ responderId: byName(responder) })],
    ['the issuer itself answers', () => forged({ certificates: [] }, byIssuer)],
    ['the issuer itself answers and comes along', () => forged({}, byIssuer)],
    [
      'the issuer itself answers, by name',
      () => forged({ certificates: [], responderId: byName(issuer) }, byIssuer),
    ],
    ['other certificates come along', () => forged({ certificates: [root.der, responder.der] })],
    [
      'the responder has one usage, not critical, and nothing else',
      () => by({ extensions: [extendedKeyUsage(false, OCSP_SIGNING)] }),
    ],
    ['the clock of the responder is a little ahead', () => forged({}, { at: NOW + 300 })],
    ['it is about to end', () => forged({}, { at: NOW - DAY })],
    [
      'an extension that is not critical is unknown',
      () => forged({ extensions: [{ id: '1.2.3', value: octetString(Uint8Array.of(1)) }] }),
    ],
    [
      'the nonce is critical',
      () => forged({ extensions: [nonceExtension(new Uint8Array(32), true)] }),
    ],
  ])('holds where %s', async (_, response) => {
    expect((await judge(response())).state).toBe('good')
  })

  test('O12: tells a certificate on hold from a revoked one', async () => {
    const status = OCSP_STATUS.revoked(NOW - DAY, CERTIFICATE_HOLD)
    expect((await judge(answering({ status }))).state).toBe('hold')
  })

  test('answers the nonce that was sent', async () => {
    const nonce = Uint8Array.from({ length: 32 }, (_, at) => at)
    const der = forged({ extensions: [nonceExtension(nonce)] })
    expect((await judge(der, nonce)).state).toBe('good')
    expect((await judge(der)).state).toBe('good')
  })
})

const OTHER_KEY = newP384Key()
const NONCE = new Uint8Array(32)
const CRITICAL = { id: '1.2.3', critical: true, value: octetString(Uint8Array.of(1)) }
const LATE = { at: NOW - DAY - 1 }

describe('a response is refused where', () => {
  test.each<[string, string, () => Bytes]>([
    // Statuses: unsigned, so that they can only ever refuse.
    ['O1: the responder is not authorised', 'ocsp_unauthorized', () => ocspFailure(6)],
    ['O1: the responder asks for patience', 'ocsp_try_later', () => ocspFailure(3)],
    ['O1: the request is malformed', 'ocsp_status_unsuccessful', () => ocspFailure(1)],
    ['O1: the responder has an error', 'ocsp_status_unsuccessful', () => ocspFailure(2)],
    ['O1: the request must be signed', 'ocsp_status_unsuccessful', () => ocspFailure(5)],
    [
      'O1: content follows a failure',
      'ocsp_status_unsuccessful',
      () => forged({ responseStatus: 4 }),
    ],
    [
      'it is not basic',
      'ocsp_type_unsupported',
      () => forged({ responseType: '1.3.6.1.5.5.7.48.1.9' }),
    ],
    // The signature and who made it.
    [
      'O2: its signature is of other bytes',
      'ocsp_signature_invalid',
      () => forged({ signature: () => signDer384(responder.key, Uint8Array.of(1)) }),
    ],
    [
      'O2: another key signed it',
      'ocsp_signature_invalid',
      () => forged({ signature: (tbs) => signDer384(OTHER_KEY, tbs) }),
    ],
    [
      'O2: it is signed with SHA-256',
      'ocsp_algorithm_unsupported',
      () =>
        forged({
          algorithm: sequence(oid('1.2.840.10045.4.3.2')),
          signature: (tbs) => Uint8Array.from(sign('sha256', tbs, responder.key.privateKey)),
        }),
    ],
    [
      'O2: the responder has a key of another curve',
      'ocsp_signature_invalid',
      () => {
        const other = issueResponder(issuer, { key: newP384Key('P-256') })
        return forged({ responderId: byName(other) }, { responder: other })
      },
    ],
    [
      'O3: the responder issued itself',
      'ocsp_responder_untrusted',
      () => by({ signer: OTHER_KEY }),
    ],
    [
      'O3: the responder is of another authority',
      'ocsp_responder_untrusted',
      () => forged({}, { responder: issueResponder(root) }),
    ],
    [
      'O3: the responder names another issuer',
      'ocsp_responder_untrusted',
      () => by({ issuer: root.subject }),
    ],
    [
      'O3: the certificate answers for itself',
      'ocsp_responder_untrusted',
      () => forged({}, { responder: issueResponder(subject) }),
    ],
    [
      'O3: the responder does not come along',
      'ocsp_responder_unknown',
      () => forged({ certificates: [] }),
    ],
    [
      'O3: another responder comes along',
      'ocsp_responder_unknown',
      () =>
        forged({ certificates: [issueResponder(issuer, { subject: nvidiaName('Other') }).der] }),
    ],
    [
      'O3: the named responder does not come along',
      'ocsp_responder_unknown',
      () => forged({ responderId: explicit(1, nvidiaName('Other')) }),
    ],
    [
      'O4: the responder has no extended usage',
      'ocsp_responder_role_invalid',
      () => by({ extensions: SIGNING_EXTENSIONS }),
    ],
    [
      'O4: the responder has other usages',
      'ocsp_responder_role_invalid',
      () => by({ extensions: [extendedKeyUsage(false, '1.3.6.1.5.5.7.3.1', '2.5.29.37.0')] }),
    ],
    [
      'O4: a sibling of the certificate answers',
      'ocsp_responder_role_invalid',
      () => forged({}, { responder: sibling }),
    ],
    [
      'O4: the responder may not sign',
      'ocsp_responder_role_invalid',
      () => by({ extensions: [...caExtensions(), extendedKeyUsage(true, OCSP_SIGNING)] }),
    ],
    [
      'O4: the responder has an unknown critical extension',
      'certificate_critical_extension',
      () => by({ extensions: [...RESPONDER_EXTENSIONS, CRITICAL] }),
    ],
    ['O5: the responder has expired', 'ocsp_responder_not_valid', () => by({ notAfter: NOW - 1 })],
    [
      'O5: the responder expired after it answered',
      'ocsp_responder_not_valid',
      () => forged({}, { at: NOW - 60, responder: issueResponder(issuer, { notAfter: NOW - 1 }) }),
    ],
    [
      'O5: the responder was not valid yet when it answered',
      'ocsp_responder_not_valid',
      () =>
        forged({}, { at: NOW - 60, responder: issueResponder(issuer, { notBefore: NOW - 59 }) }),
    ],
    // What it is about.
    [
      'O6: the serial is another',
      'ocsp_certificate_mismatch',
      () => answering({ certId: certIdOf({ subject: sibling, issuer }) }),
    ],
    [
      'O7: the name of the issuer is another',
      'ocsp_certificate_mismatch',
      () => answering({ certId: certIdOf(question, { issuerName: root.subject }) }),
    ],
    [
      'O7: the key of the issuer is another',
      'ocsp_certificate_mismatch',
      () => answering({ certId: certIdOf(question, { issuerKey: root.key.point }) }),
    ],
    [
      'O7: the hash is of one kind and says another',
      'ocsp_certificate_mismatch',
      () => {
        const certId = certIdOf(question)
        const sha384 = Buffer.from('608648016503040202', 'hex')
        const at = Buffer.from(certId).indexOf(sha384)
        certId[at + sha384.length - 1] = 0x01
        return answering({ certId })
      },
    ],
    ['O15: there are two answers', 'ocsp_answer_count', () => answering({}, {})],
    [
      'O15: there is a second answer, about another certificate',
      'ocsp_answer_count',
      () => answering({}, { certId: certIdOf({ subject: sibling, issuer }) }),
    ],
    ['O15: there is no answer', 'ocsp_answer_count', () => answering()],
    // Time and freshness.
    ['O8: it has ended', 'ocsp_not_valid_now', () => forged({}, LATE)],
    ['O8: it has not begun', 'ocsp_not_valid_now', () => forged({}, { at: NOW + 301 })],
    [
      'O8: only its answer has not begun',
      'ocsp_not_valid_now',
      () => answering({ thisUpdate: generalizedTime(NOW + 301) }),
    ],
    [
      'O8: it was made in the future',
      'ocsp_not_valid_now',
      () => forged({ producedAt: generalizedTime(NOW + 301) }),
    ],
    ['O8: it never ends', 'ocsp_next_update_missing', () => answering({ nextUpdate: null })],
    // What it says.
    [
      'O10: the certificate is unknown',
      'ocsp_status_unknown',
      () => answering({ status: OCSP_STATUS.unknown }),
    ],
    [
      'O11: the key was compromised',
      'certificate_revoked',
      () => answering({ status: OCSP_STATUS.revoked(NOW - DAY, 1) }),
    ],
    [
      'O11: it is revoked for no reason',
      'certificate_revoked',
      () => answering({ status: OCSP_STATUS.revoked(NOW - DAY, null) }),
    ],
    [
      'O11: the revocation lies ahead',
      'certificate_revoked',
      () => answering({ status: OCSP_STATUS.revoked(NOW + DAY, 0) }),
    ],
    // Form.
    [
      'O14: an integer of its signature is padded',
      'ocsp_signature_malformed',
      () => forged({ signature: paddedSignature }),
    ],
    [
      'it has an unknown critical extension',
      'ocsp_extension_unsupported',
      () => forged({ extensions: [CRITICAL] }),
    ],
    [
      'its answer has an unknown critical extension',
      'ocsp_extension_unsupported',
      () => answering({ extensions: [CRITICAL] }),
    ],
    [
      'a nonce in its answer is critical',
      'ocsp_extension_unsupported',
      () => answering({ extensions: [nonceExtension(NONCE, true)] }),
    ],
  ])('%s', async (_, refusal, response) => {
    await expect(judge(response())).rejects.toEqual(code(refusal))
  })

  const nonceOf = (first: number, length = 32): Bytes =>
    Uint8Array.from({ length }, (_, at) => (at === 0 ? first : 7))
  test.each<[string, Partial<OcspFields>]>([
    ['is absent', {}],
    ['differs', { extensions: [nonceExtension(nonceOf(2))] }],
    ['is shorter', { extensions: [nonceExtension(nonceOf(1, 31))] }],
    ['is longer', { extensions: [nonceExtension(nonceOf(1, 33))] }],
    ['is bare', { extensions: [{ id: '1.3.6.1.5.5.7.48.1.2', value: nonceOf(1) }] }],
    ['is in the answer', { answers: [{ extensions: [nonceExtension(nonceOf(1))] }] }],
  ])('O9: its nonce %s', async (_, changes) => {
    const judged = judge(forged(changes), nonceOf(1))
    await expect(judged).rejects.toEqual(code('ocsp_nonce_mismatch'))
  })
})

describe('a response is malformed where', () => {
  const extra = integer(1)
  const reason = (inside: Uint8Array, ...more: Uint8Array[]) =>
    explicit(1, concat(generalizedTime(NOW), explicit(0, inside), ...more))
  test.each<[string, () => Uint8Array]>([
    ['it is empty', () => new Uint8Array(0)],
    ['it is HTML', () => Buffer.from('<!doctype html><html></html>')],
    ['bytes follow it', () => concat(forged(), extra)],
    ['something follows its content', () => sequence(forged().subarray(4), extra)],
    ['it has no content', () => ocspFailure(0)],
    ['its status is too large', () => sequence(enumerated(256))],
    ['it is of another version', () => forged({ version: [explicit(0, integer(1))] })],
    ['version 1 is written', () => forged({ version: [explicit(0, integer(0))] })],
    ['something follows its certificates', () => forged({ more: { basic: extra } })],
    [
      'something follows its extensions',
      () => forged({ extensions: [nonceExtension(NONCE)], more: { data: extra } }),
    ],
    ['something follows what is signed', () => forged({ more: { after: extra } })],
    ['something follows its bytes', () => forged({ more: { bytes: extra } })],
    [
      'its certificates are no list',
      () => forged({ certificates: [], more: { basic: explicit(0, extra) } }),
    ],
    [
      'it has five certificates',
      () => forged({ certificates: Array.from({ length: 5 }, () => responder.der) }),
    ],
    [
      'the key of a certificate is none',
      () => {
        const key = { ...newP384Key(), spki: sequence(integer(1)) }
        return forged({}, { responder: issueResponder(issuer, { key }) })
      },
    ],
    ['a certificate is none', () => forged({ certificates: [sequence(extra)] })],
    [
      'a certificate has an impossible date',
      () => {
        const der = responder.der.slice()
        der.set(Buffer.from('219901'), Buffer.from(der).indexOf('210101000000Z'))
        return forged({ certificates: [der] })
      },
    ],
    ['its responder is neither name nor key', () => forged({ responderId: explicit(3, extra) })],
    ['the key of its responder is no string', () => forged({ responderId: explicit(2, extra) })],
    ['an answer is no answer', () => answering({ more: [extra, extra] })],
    ['something follows its answer', () => answering({ extensions: [CRITICAL], more: [extra] })],
    ['good has content', () => answering({ status: implicit(0, Uint8Array.of(0)) })],
    ['a status is none', () => answering({ status: implicit(3, new Uint8Array(0)) })],
    ['a revocation has no time', () => answering({ status: explicit(1, new Uint8Array(0)) })],
    ['a revocation has no reason', () => answering({ status: reason(extra) })],
    ['something follows a revocation', () => answering({ status: reason(enumerated(6), extra) })],
    ['a time is of the two-digit form', () => answering({ thisUpdate: time(NOW) })],
    ['its last time is of the two-digit form', () => answering({ nextUpdate: time(NOW + DAY) })],
    ['an extension occurs twice', () => forged({ extensions: [CRITICAL, CRITICAL] })],
    [
      'it is larger than 64 KiB',
      () => forged({ extensions: [{ id: '1.2.3', value: new Uint8Array(65_536) }] }),
    ],
  ])('%s', async (_, response) => {
    await expect(judge(response())).rejects.toEqual(code('ocsp_malformed'))
  })

  test('a time is impossible', async () => {
    const thisUpdate = generalizedTime(NOW)
    thisUpdate.set(Buffer.from('20261332'), 2)
    await expect(judge(answering({ thisUpdate }))).rejects.toMatchObject({ code: 'time_malformed' })
  })

  test('the usages of its responder are no list', async () => {
    const usages = { id: '2.5.29.37', value: integer(1) }
    await expect(judge(by({ extensions: [usages] }))).rejects.toEqual(code('ocsp_malformed'))
  })
})

describe('whatever comes', () => {
  const refused = { name: 'EvidenceError' }

  test('no byte of a good response can change', async () => {
    const der = forged({ extensions: [nonceExtension(NONCE)] })
    await judge(der, NONCE)
    for (let at = 0; at < der.length; at++) {
      for (const bit of [0x01, 0x20, 0x80]) {
        const changed = Uint8Array.from(der)
        changed[at] = (der[at] ?? 0) ^ bit
        const judged = judge(changed, NONCE)
        await expect(judged, `${at} ${bit}`).rejects.toMatchObject(refused)
      }
    }
  })

  test('no part of a good response is a response', async () => {
    const der = forged()
    for (let length = 0; length < der.length; length++) {
      await expect(judge(der.subarray(0, length)), String(length)).rejects.toMatchObject(refused)
    }
  })

  test('arbitrary bytes are refused with a code', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
        await expect(judge(bytes)).rejects.toMatchObject(refused)
      }),
    )
  })

  test('signed nonsense is refused with a code', async () => {
    const part = fc.uint8Array({ maxLength: 40 })
    await fc.assert(
      fc.asyncProperty(part, part, part, async (certId, status, nextUpdate) => {
        await expect(judge(answering({ certId, status, nextUpdate }))).rejects.toMatchObject(
          refused,
        )
      }),
      { numRuns: 50 },
    )
  })
})

describe('a request', () => {
  test('has the one form that responders read', async () => {
    const nonce = Uint8Array.from({ length: 32 }, (_, at) => at)
    const extension = sequence(oid('1.3.6.1.5.5.7.48.1.2'), octetString(octetString(nonce)))
    const expected = sequence(
      sequence(sequence(sequence(certIdOf(question))), explicit(2, sequence(extension))),
    )
    expect(toHex(await ocspRequest({ ...pair, nonce }))).toBe(toHex(expected))
  })

  test('can go without a nonce', async () => {
    const expected = sequence(sequence(sequence(sequence(certIdOf(question)))))
    expect(toHex(await ocspRequest({ ...pair, nonce: null }))).toBe(toHex(expected))
  })

  test('writes serials with a high bit, and zero, as positive numbers', async () => {
    for (const serial of [Uint8Array.of(0x80, 1), Uint8Array.of(0), Uint8Array.of(0x7f)]) {
      const other = issueAuthority('other', issuer, { serial })
      const request = await ocspRequest({
        issuer: pair.issuer,
        subject: await parseNvidiaCertificate(other.der),
        nonce: null,
      })
      const certId = certIdOf({ subject: other, issuer })
      expect(toHex(request)).toContain(toHex(certId))
    }
  })

  test.each([0, 16, 31, 33])('takes no nonce of %i bytes', async (length) => {
    const asked = ocspRequest({ ...pair, nonce: new Uint8Array(length) })
    await expect(asked).rejects.toThrow(TypeError)
  })
})
