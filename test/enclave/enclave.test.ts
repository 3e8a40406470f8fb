import 'reflect-metadata'
import { X509Certificate } from 'node:crypto'
import { connect, createServer, type TLSSocket } from 'node:tls'
import { once } from 'node:events'
import { inspect } from 'node:util'
import { X509Certificate as ParsedCertificate } from '@peculiar/x509'
import {
  bootSubject,
  encodeAciEvidence,
  encodeUtf8,
  fromHex,
  keysetDigest,
  parsePolicy,
  parseQuote,
  toHex,
  verifyEndpoint,
  verifyReceipt,
  type BootDocument,
  type Bytes,
} from '@vouchgate/attestation'
import { describe, expect, test } from 'vitest'
import { certificateReportData, EVENT_LOG_OID, QUOTE_OID } from '../../enclave/certificate.ts'
import {
  Enclave,
  EnclaveError,
  MAX_LIFETIME_SECONDS,
  tlsOptions,
  type EnclaveOptions,
  type Generation,
  type QuoteSource,
  type ReceiptDraft,
} from '../../enclave/index.ts'
import { fakeClock, TEST_TIME } from '../support/clock.ts'
import { listen, portOf, stop } from '../support/ports.ts'
import { createTeeVendor } from '../support/tee-vendor.ts'

const DAY = 86_400
const NONCE = 'ab'.repeat(32)
const vendor = createTeeVendor()
const document: BootDocument = {
  software: 'vouchgate/test',
  config_digest: `sha256:${'c0'.repeat(32)}`,
  self_check: { no_swap: 'held', seccomp: 'unknown' },
}
const provenance = { repo_url: null, repo_commit: null, image_digest: null, image_provenance: null }
const draft: ReceiptDraft = {
  api_version: 'aci/1',
  receipt_id: 'rcpt-1',
  chat_id: 'chatcmpl-1',
  model: 'demo',
  endpoint: '/v1/chat/completions',
  method: 'POST',
  served_at: TEST_TIME,
  event_log: [{ type: 'request.received', body_hash: `sha256:${'00'.repeat(32)}` }],
}

interface PlatformState {
  asked: number
  failing: boolean
  eventLog: string | null
  gate: Promise<void>
}

/** The vendor's quotes; the test may count them, hold them back or make them fail. */
function platform() {
  const inner = vendor.quoteSource()
  const state: PlatformState = { asked: 0, failing: false, eventLog: null, gate: Promise.resolve() }
  const source: QuoteSource = {
    kind: 'test',
    async quote(reportData) {
      state.asked++
      await state.gate
      if (state.failing) throw new EnclaveError('quote_unavailable')
      return { ...(await inner.quote(reportData)), eventLog: state.eventLog }
    },
  }
  return { state, source }
}

async function start(options: Partial<EnclaveOptions> = {}) {
  const { state, source } = platform()
  const clock = fakeClock()
  const enclave = await Enclave.boot({
    source,
    clock,
    boot: document,
    domain: null,
    lifetimeSeconds: DAY,
    provenance,
    maxWaitingQuotes: 1,
    ...options,
  })
  return { enclave, clock, state, source }
}

/** Lets everything happen that waits for nothing but itself. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
}

const privateKeyOf = (generation: Generation) =>
  generation.tls.key.replaceAll(/-----[^-]+-----|\n/g, '')

/** The content of the OCTET STRING in a certificate extension. */
function extension(pem: string, oid: string): Bytes | null {
  const found = new ParsedCertificate(pem).getExtension(oid)
  if (found === null) return null
  const der = new Uint8Array(found.value)
  const lengthBytes = (der[1] ?? 0) < 0x80 ? 0 : (der[1] ?? 0) & 0x7f
  expect(der[0]).toBe(0x04)
  return der.slice(2 + lengthBytes)
}

async function serve(generation: Generation) {
  const server = createServer(tlsOptions(generation), (socket) => socket.end('x'))
  await listen(server)
  return { server, port: portOf(server) }
}

async function open(port: number, options: object): Promise<TLSSocket> {
  const socket = connect({ host: '127.0.0.1', port, ...options })
  await once(socket, 'secureConnect')
  return socket
}

// The certificate's times are real ones here: OpenSSL has no clock to inject.
const now = () => fakeClock(Math.floor(Date.now() / 1000))

describe('keyset', () => {
  test('has one key per role, the boot subject and the lifetime', async () => {
    const { enclave } = await start()
    const { keyset, keysetDigest: digest, notAfter } = enclave.current
    expect(keyset).toMatchObject({
      subject: await bootSubject(document),
      not_after: TEST_TIME + DAY,
      receipt_signing_keys: [{ algo: 'ed25519' }],
      e2ee_public_keys: [{ algo: 'hpke-x25519-hkdfsha256-aes256gcm' }],
    })
    expect(keyset.tls_public_keys).toEqual([
      { spki_sha256: expect.stringMatching(/^[0-9a-f]{64}$/) },
    ])
    expect(notAfter).toBe(keyset.not_after)
    expect(digest).toBe(await keysetDigest(keyset))
  })

  test('names the domain where there is one', async () => {
    const { enclave } = await start({ domain: 'gw.example' })
    expect(enclave.current.keyset.tls_public_keys[0]?.domain).toBe('gw.example')
  })

  test.each([0, -1, 1.5, Number.NaN, MAX_LIFETIME_SECONDS + 1])(
    'a lifetime of %d seconds is a TypeError',
    async (lifetimeSeconds) => {
      await expect(start({ lifetimeSeconds })).rejects.toThrow(TypeError)
    },
  )

  test('a lifetime of seven days is allowed', async () => {
    const { enclave } = await start({ lifetimeSeconds: MAX_LIFETIME_SECONDS })
    expect(enclave.current.notAfter).toBe(TEST_TIME + 7 * DAY)
  })

  test.each(['', 'https://gw.example', 'gw.example:443', '*.example', 'a b'])(
    'the domain %j is a TypeError',
    async (domain) => {
      await expect(start({ domain })).rejects.toThrow(TypeError)
    },
  )
})

describe('report', () => {
  test('verifies as an endpoint over the nonce', async () => {
    const { enclave } = await start()
    const report = await enclave.report(NONCE)
    const { keyset, keysetDigest: digest } = enclave.current
    const evidence = encodeAciEvidence({
      collected_at: TEST_TIME,
      origin: 'https://127.0.0.1:8443',
      nonce: NONCE,
      observed_spki_sha256: keyset.tls_public_keys[0]?.spki_sha256 ?? '',
      report: encodeUtf8(JSON.stringify(report)),
      collateral: vendor.collateral(),
    })
    const policy = parsePolicy({ trusted_root: { test_pki_pem: vendor.rootPem }, workload: 'any' })
    const endpoint = await verifyEndpoint({ evidence, challenge: NONCE, now: TEST_TIME, policy })
    expect(endpoint.keysetDigest).toBe(digest)
    expect(endpoint.boot).toEqual(document)
  })

  test('carries event log and VM configuration where the platform gives them', async () => {
    const { enclave, state } = await start()
    state.eventLog = '[]'
    const { evidence } = (await enclave.report(NONCE)).attestation
    expect(evidence.event_log).toBe('[]')
    expect(evidence).not.toHaveProperty('vm_config')
  })

  test('without a nonce is made once per generation', async () => {
    const { enclave, state } = await start()
    const asked = state.asked
    const report = await enclave.report(null)
    expect(await enclave.report(null)).toBe(report)
    expect(state.asked).toBe(asked)
    await enclave.rotate()
    expect(await enclave.report(null)).not.toBe(report)
  })

  test('over a nonce has a quote of its own', async () => {
    const { enclave, state } = await start()
    const asked = state.asked
    await enclave.report(NONCE)
    await enclave.report(NONCE)
    expect(state.asked).toBe(asked + 2)
  })

  test.each(['', 'ab', 'AB'.repeat(32), 'zz'.repeat(32)])(
    'over the nonce %j is a TypeError',
    async (nonce) => {
      const { enclave } = await start()
      await expect(enclave.report(nonce)).rejects.toThrow(TypeError)
    },
  )

  test('past the waiting places is quote_busy with a time to come back', async () => {
    const { enclave, state } = await start({ maxWaitingQuotes: 3 })
    const gate = Promise.withResolvers<void>()
    state.gate = gate.promise
    const accepted = [1, 2, 3, 4].map(() => enclave.report(NONCE))
    await settled()
    await expect(enclave.report(NONCE)).rejects.toMatchObject({
      code: 'quote_busy',
      retryAfterSeconds: 4,
    })
    gate.resolve()
    await Promise.all(accepted)
  })

  test('a full queue of requesters does not keep the keys from rotating', async () => {
    const { enclave, state } = await start({ maxWaitingQuotes: 1 })
    const before = enclave.current
    const gate = Promise.withResolvers<void>()
    state.gate = gate.promise
    const asked = [enclave.report(NONCE), enclave.report(NONCE)]
    await settled()
    const rotation = enclave.rotate()
    await settled()
    gate.resolve()
    await Promise.all([...asked, rotation])
    expect(enclave.current).not.toBe(before)
  })

  test('an expired keyset is keyset_expired', async () => {
    const { enclave, clock } = await start()
    clock.advance(DAY)
    await expect(enclave.report(null)).rejects.toMatchObject({ code: 'keyset_expired' })
    await expect(enclave.report(NONCE)).rejects.toMatchObject({ code: 'keyset_expired' })
  })

  test('a platform without quotes keeps the enclave from booting', async () => {
    const source: QuoteSource = {
      kind: 'test',
      quote: () => Promise.reject(new EnclaveError('quote_unavailable')),
    }
    await expect(start({ source })).rejects.toMatchObject({ code: 'quote_unavailable' })
  })
})

describe('receipts', () => {
  test('verify against the current keyset', async () => {
    const { enclave } = await start()
    const receipt = enclave.seal(draft).signed()
    const { keyset, keysetDigest: digest } = enclave.current
    expect(receipt).toMatchObject(draft)
    await verifyReceipt({ receipt, keyset, keysetDigest: digest })
  })

  test('do not verify with one member changed', async () => {
    const { enclave } = await start()
    const receipt = { ...enclave.seal(draft).signed(), model: 'other' }
    const { keyset, keysetDigest: digest } = enclave.current
    await expect(verifyReceipt({ receipt, keyset, keysetDigest: digest })).rejects.toMatchObject({
      code: 'receipt_signature_invalid',
    })
  })

  test('of an earlier generation verify against the archive', async () => {
    const { enclave } = await start()
    const receipt = enclave.seal(draft).signed()
    await enclave.rotate()
    const [keyset] = enclave.archivedKeysets()
    if (keyset === undefined) throw new TypeError('no archived keyset')
    await verifyReceipt({ receipt, keyset, keysetDigest: await keysetDigest(keyset) })
    expect(enclave.seal(draft).signed().key_id).not.toBe(receipt.key_id)
  })

  test('sealed before a rotation are signed with the key of their own generation', async () => {
    const { enclave } = await start()
    const sealed = enclave.seal(draft)
    await enclave.rotate()
    expect(sealed.isSigned).toBe(false)
    const receipt = sealed.signed()
    expect(sealed.isSigned).toBe(true)
    const [keyset] = enclave.archivedKeysets()
    if (keyset === undefined) throw new TypeError('no archived keyset')
    await verifyReceipt({ receipt, keyset, keysetDigest: await keysetDigest(keyset) })
    expect(sealed.signed()).toBe(receipt)
  })

  test('are not signed with an expired keyset', async () => {
    const { enclave, clock } = await start()
    clock.advance(DAY)
    expect(() => enclave.seal(draft)).toThrow(expect.objectContaining({ code: 'keyset_expired' }))
  })
})

describe('rotation', () => {
  test('is due after two thirds of the lifetime', async () => {
    const { enclave, clock } = await start()
    expect(enclave.rotationDueAt).toBe(TEST_TIME + (2 * DAY) / 3)
    clock.advance(1000)
    await enclave.rotate()
    expect(enclave.rotationDueAt).toBe(TEST_TIME + 1000 + (2 * DAY) / 3)
  })

  test('replaces every key and tells the listeners', async () => {
    const { enclave } = await start()
    const before = enclave.current
    const told: Generation[] = []
    enclave.onRotate((generation) => told.push(generation))
    await enclave.rotate()
    const after = enclave.current
    expect(told).toEqual([after])
    expect(after.tls.key).not.toBe(before.tls.key)
    for (const role of ['receipt_signing_keys', 'e2ee_public_keys', 'tls_public_keys'] as const) {
      expect(after.keyset[role]).not.toEqual(before.keyset[role])
    }
  })

  test('keeps the old generation serving until the new one is complete', async () => {
    const { enclave, state } = await start()
    const before = enclave.current
    const gate = Promise.withResolvers<void>()
    state.gate = gate.promise
    const rotation = enclave.rotate()
    await new Promise((resolve) => setImmediate(resolve))
    expect(enclave.current).toBe(before)
    expect(enclave.seal(draft).signed().workload_keyset_digest).toBe(before.keysetDigest)
    gate.resolve()
    await rotation
    expect(enclave.current).not.toBe(before)
  })

  test('that fails leaves the old generation and can be tried again', async () => {
    const { enclave, state } = await start()
    const before = enclave.current
    state.failing = true
    await expect(enclave.rotate()).rejects.toMatchObject({ code: 'quote_unavailable' })
    expect(enclave.current).toBe(before)
    expect(enclave.archivedKeysets()).toEqual([])
    state.failing = false
    await enclave.rotate()
    expect(enclave.archivedKeysets()).toEqual([before.keyset])
  })

  test('asked for twice at once happens once', async () => {
    const { enclave } = await start()
    await Promise.all([enclave.rotate(), enclave.rotate()])
    expect(enclave.archivedKeysets().length).toBe(1)
  })

  test('keeps the last 64 keysets', async () => {
    const { enclave } = await start()
    const first = enclave.current.keyset
    for (let count = 0; count < 65; count++) await enclave.rotate()
    expect(enclave.archivedKeysets().length).toBe(64)
    expect(enclave.archivedKeysets()).not.toContainEqual(first)
  })
})

describe('certificate', () => {
  test('carries a quote that binds its key', async () => {
    const { enclave } = await start()
    const { cert } = enclave.current.tls
    const quote = extension(cert, QUOTE_OID)
    if (quote === null) throw new TypeError('no quote')
    const spki = new X509Certificate(cert).publicKey.export({ type: 'spki', format: 'der' })
    expect(parseQuote(quote).body.report.reportData).toEqual(await certificateReportData(spki))
    expect(toHex(quote.subarray(0, 2))).toBe('0400')
  })

  test('has the key that the keyset names', async () => {
    const { enclave } = await start()
    const spki = new X509Certificate(enclave.current.tls.cert).publicKey.export({
      type: 'spki',
      format: 'der',
    })
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', spki))
    expect(enclave.current.keyset.tls_public_keys[0]?.spki_sha256).toBe(toHex(digest))
  })

  test('is for servers, for the domain and loopback, until the keyset ends', async () => {
    const { enclave } = await start({ domain: 'gw.example' })
    const certificate = new X509Certificate(enclave.current.tls.cert)
    expect(certificate.subjectAltName).toBe('DNS:gw.example, DNS:localhost, IP Address:127.0.0.1')
    expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1'])
    expect(certificate.ca).toBe(false)
    expect(certificate.validToDate.getTime()).toBe(enclave.current.notAfter * 1000)
    expect(certificate.verify(certificate.publicKey)).toBe(true)
  })

  test('has the event log where there is one that fits', async () => {
    const { enclave, state } = await start()
    expect(extension(enclave.current.tls.cert, EVENT_LOG_OID)).toBeNull()
    state.eventLog = `["${'x'.repeat(300)}"]`
    await enclave.rotate()
    expect(extension(enclave.current.tls.cert, EVENT_LOG_OID)).toEqual(encodeUtf8(state.eventLog))
    state.eventLog = 'x'.repeat((1 << 14) + 1)
    await enclave.rotate()
    expect(extension(enclave.current.tls.cert, EVENT_LOG_OID)).toBeNull()
  })

  test('report data of a known key is SHA-512("ratls-cert:" ‖ SPKI)', async () => {
    expect(toHex(await certificateReportData(fromHex('00ff')))).toBe(
      toHex(
        new Uint8Array(
          await crypto.subtle.digest('SHA-512', Buffer.from('ratls-cert:\u0000\u00ff', 'latin1')),
        ),
      ),
    )
  })
})

describe('TLS', () => {
  test('serves TLS 1.3 with the hybrid key exchange to a client that trusts the certificate', async () => {
    const { enclave } = await start({ clock: now() })
    const { server, port } = await serve(enclave.current)
    const socket = await open(port, { ca: enclave.current.tls.cert })
    expect(socket.authorized).toBe(true)
    expect(socket.getProtocol()).toBe('TLSv1.3')
    expect(socket.getEphemeralKeyInfo()).toMatchObject({ name: 'X25519MLKEM768' })
    socket.destroy()
    await stop(server)
  })

  test('refuses TLS 1.2', async () => {
    const { enclave } = await start()
    const { server, port } = await serve(enclave.current)
    const attempt = open(port, { rejectUnauthorized: false, maxVersion: 'TLSv1.2' })
    await expect(attempt).rejects.toMatchObject({
      code: expect.stringMatching(/ALERT_PROTOCOL_VERSION/),
    })
    await stop(server)
  })

  test('does not resume: every connection shows the attested key', async () => {
    const { enclave } = await start()
    const { server, port } = await serve(enclave.current)
    const first = await open(port, { rejectUnauthorized: false })
    const sessions: Buffer[] = []
    first.on('session', (session: Buffer) => sessions.push(session))
    first.resume()
    await once(first, 'close')
    const session = sessions.at(-1)
    const second = await open(port, { rejectUnauthorized: false, session })
    expect(second.isSessionReused()).toBe(false)
    second.destroy()
    await stop(server)
  })

  test('takes a new generation while a connection stays open', async () => {
    const { enclave } = await start()
    const server = createServer(tlsOptions(enclave.current), (socket) => socket.pipe(socket))
    await listen(server)
    enclave.onRotate((generation) => server.setSecureContext(tlsOptions(generation)))
    const kept = await open(portOf(server), { rejectUnauthorized: false })
    await enclave.rotate()
    const fresh = await open(portOf(server), { rejectUnauthorized: false })
    expect(fresh.getPeerX509Certificate()?.raw).toEqual(
      new X509Certificate(enclave.current.tls.cert).raw,
    )
    kept.write('still here')
    const [echo] = await once(kept, 'data')
    expect(String(echo)).toBe('still here')
    kept.destroy()
    fresh.destroy()
    await stop(server)
  })
})

describe('secrecy', () => {
  test('printing or serialising an enclave or a generation shows no private key', async () => {
    const { enclave } = await start()
    const { current } = enclave
    const options = { showHidden: true, getters: true, depth: 12 }
    const shown = [
      inspect(enclave, options),
      inspect(current, options),
      JSON.stringify(enclave),
      JSON.stringify(current),
      JSON.stringify(await enclave.report(NONCE)),
      JSON.stringify(enclave.seal(draft).signed()),
      ...Object.getOwnPropertyNames(enclave),
      ...Object.getOwnPropertyNames(current),
    ].join('\n')
    expect(shown).not.toContain(privateKeyOf(current))
    expect(shown).not.toMatch(/PRIVATE|KeyObject|CryptoKey/)
  })

  test('a structured clone of an enclave is empty', async () => {
    const { enclave } = await start()
    expect(structuredClone(enclave)).toEqual({})
  })
})

describe('a worker of the gateway', () => {
  const leader = () =>
    Enclave.boot({
      source: vendor.quoteSource(),
      clock: fakeClock(),
      boot: document,
      domain: null,
      lifetimeSeconds: DAY,
      provenance,
      maxWaitingQuotes: 1,
    })

  test('has the keys, the certificate and the report of its leader', async () => {
    const from = await leader()
    const worker = Enclave.ofWorker({
      clock: fakeClock(),
      handed: structuredClone(from.handOver()),
      report: (nonce) => from.report(nonce),
    })
    expect(worker.current.keysetDigest).toBe(from.current.keysetDigest)
    expect(worker.current.tls).toEqual(from.current.tls)
    expect(worker.rotationDueAt).toBe(from.rotationDueAt)
    expect(await worker.report(null)).toEqual(await from.report(null))
    expect((await worker.report(NONCE)).workload_keyset_digest).toBe(from.current.keysetDigest)
    // Ed25519 signs one message in one way.
    expect(worker.seal(draft).signed()).toEqual(from.seal(draft).signed())
  })

  test('takes new keys and makes none', async () => {
    const from = await leader()
    const report = (nonce: string) => from.report(nonce)
    const worker = Enclave.ofWorker({ clock: fakeClock(), handed: from.handOver(), report })
    const seen: string[] = []
    worker.onRotate(({ keysetDigest: digest }) => seen.push(digest))
    await expect(worker.rotate()).rejects.toThrow(TypeError)
    await from.rotate()
    worker.take(from.handOver())
    expect(seen).toEqual([from.current.keysetDigest])
    expect(worker.current.keysetDigest).toBe(from.current.keysetDigest)
    expect(worker.archivedKeysets()).toEqual(from.archivedKeysets())
  })
})
