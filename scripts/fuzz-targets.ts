import {
  assembleCollateral,
  concatBytes,
  decodeAciEvidence,
  DEFAULT_POLICY,
  encodeAciEvidence,
  encodeUtf8,
  equalBytes,
  fromHex,
  memberSpans,
  parseJson,
  parsePolicy,
  parseReceipt,
  parseReport,
  parseSession,
  receiptSigningInput,
  sessionId,
  testPkiRoot,
  verifyQuote,
  workloadRow,
  type Bytes,
} from '@vouchgate/attestation'
import { aciService } from '../test/support/aci-service.ts'
import { fakeClock } from '../test/support/clock.ts'
import { createTeeVendor, type TeeVendor } from '../test/support/tee-vendor.ts'
import { chutesTargets } from './fuzz-chutes-targets.ts'
import { gpuTargets } from './fuzz-gpu-targets.ts'
import { nrasTargets } from './fuzz-nras-targets.ts'
import { releaseTargets } from './fuzz-release-targets.ts'
import { Disagreement, json, text, type Target } from './fuzz-target.ts'
import {
  amdTargets,
  eventLogTargets,
  intelTargets,
  ocspTargets,
  rimTargets,
} from './fuzz-tee-targets.ts'

/** What the strict parser accepts means the same to the platform's parser. */
function strictJson(input: Uint8Array): void {
  const value = parseJson(text(input))
  if (JSON.stringify(value) !== JSON.stringify(JSON.parse(text(input)))) throw new Disagreement()
}

/** The spans of a document that is JSON are its members, as written. */
function spansOf(input: Uint8Array): void {
  const document = text(input)
  const spans = memberSpans(document)
  const value = parseJson(document)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Disagreement()
  const members = new Map(Object.entries(value))
  if (spans.size !== members.size) throw new Disagreement()
  for (const [name, [start, end]] of spans) {
    const member: unknown = JSON.parse(document.slice(start, end))
    if (JSON.stringify(member) !== JSON.stringify(members.get(name))) throw new Disagreement()
  }
}

/** What is read can be written and read again. */
function evidenceBundle(input: Uint8Array): void {
  const written = encodeAciEvidence(decodeAciEvidence(input))
  if (!equalBytes(encodeAciEvidence(decodeAciEvidence(written)), written)) throw new Disagreement()
}

const SEPARATOR = '\n--8<--\n'

/** The four answers of a collateral service, bodies and headers one after the other. */
function answers(input: Uint8Array): unknown {
  const parts = Buffer.from(input).toString('latin1').split(SEPARATOR)
  const body = (at: number): Bytes => Uint8Array.from(Buffer.from(parts[at] ?? '', 'latin1'))
  const answer = (at: number) => ({ body: body(at), issuerChain: parts[at + 1] ?? '' })
  return assembleCollateral({
    tcb: answer(0),
    qeIdentity: answer(2),
    pckCrl: answer(4),
    rootCrl: body(6),
  })
}

const DIGEST = `sha256:${'5a'.repeat(32)}`

const receipt = (type: string) => ({
  api_version: 'aci/1',
  receipt_id: 'rcpt-1',
  chat_id: 'chatcmpl-1',
  model: null,
  workload_keyset_digest: DIGEST,
  endpoint: '/v1/chat/completions',
  method: 'POST',
  served_at: 1_795_132_800,
  event_log: [
    { type: 'request.received', body_hash: DIGEST },
    { type, result: 'verified', required: true, model_id: 'm', session_id: '5e'.repeat(32) },
    { type, result: 'failed', required: true, model_id: 'm', reason: 'r', upstream_name: 'u' },
    { type: 'vouchgate.attempt', nested: [{ a: null }] },
  ],
  key_id: 'r1',
  signature: '00'.repeat(64),
})

const session = (digest: string) => ({
  api_version: 'aci/1',
  upstream_name: 'upstream',
  endpoint: 'https://service.example',
  identity: { workload_keyset_digest: digest },
  verifier_id: 'verifier/1',
  established_at: 1_795_132_800,
  expires_at: 1_795_136_400,
  channel_binding: [{ type: 'tls_spki_sha256', spki_sha256: 'c0'.repeat(32) }],
  claims: {
    tee_attested: { status: 'asserted', source: 'hardware_proven', reason: 'r' },
    gpu_attested: { status: 'unknown' },
    tcb_up_to_date: { status: 'refuted', source: 'hardware_proven' },
    os_known_good: { status: 'unknown' },
    serving_software_known_good: { status: 'unknown' },
    model_weights_provenance: { status: 'unknown' },
    extra: { name: [1, null] },
  },
  evidence: { digest, data: 'data:application/octet-stream;base64,AAAA' },
})

/** A policy as it is written after `workloadRow` showed what to expect. */
async function policyOf(vendor: TeeVendor, quote: Uint8Array) {
  const collateral = vendor.collateral()
  const trustedRoot = await testPkiRoot(vendor.rootPem)
  const genuine = await verifyQuote({ quote, collateral, now: vendor.now, trustedRoot })
  return { ...DEFAULT_POLICY, workload: [workloadRow(genuine, DIGEST)] }
}

async function evidenceSeeds() {
  const vendor = createTeeVendor()
  const clock = fakeClock(vendor.now)
  const spkiSha256 = 'c0'.repeat(32)
  const boot = { software: 's/1', config_digest: DIGEST, self_check: { held: 'held' as const } }
  const options = { vendor, clock, fields: {}, lifetimeSeconds: 3600, spkiSha256 }
  const services = [
    await aciService({ ...options, boot }),
    await aciService({ ...options, boot: null }),
  ]
  const reports = await Promise.all(
    services.map(async (service) => json(await service.report(null))),
  )
  const bundles = reports.map((report) =>
    encodeAciEvidence({
      collected_at: clock.now(),
      origin: 'https://service.example',
      nonce: null,
      observed_spki_sha256: spkiSha256,
      report,
      collateral: vendor.collateral(),
    }),
  )
  return { vendor, reports, bundles }
}

function pcsAnswers(vendor: TeeVendor): Bytes {
  const c = vendor.collateral()
  const parts = [
    encodeUtf8(`{"tcbInfo":${c.tcb_info},"signature":"${c.tcb_info_signature}"}`),
    encodeUtf8(encodeURIComponent(c.tcb_info_issuer_chain)),
    encodeUtf8(`{"enclaveIdentity":${c.qe_identity},"signature":"${c.qe_identity_signature}"}`),
    encodeUtf8(encodeURIComponent(c.qe_identity_issuer_chain)),
    fromHex(c.pck_crl),
    encodeUtf8(encodeURIComponent(c.pck_crl_issuer_chain)),
    fromHex(c.root_ca_crl),
  ]
  return concatBytes(
    ...parts.flatMap((part, at) => (at === 0 ? [part] : [encodeUtf8(SEPARATOR), part])),
  )
}

/** Every parser of what comes from outside. */
export async function fuzzTargets(): Promise<Target[]> {
  const { vendor, reports, bundles } = await evidenceSeeds()
  const policy = await policyOf(vendor, await vendor.quote({ reportData: new Uint8Array(64) }))
  const documents = [json(receipt('upstream.verified')), json(session(DIGEST)), json(policy)]
  return [
    ...(await intelTargets(vendor)),
    ...amdTargets(),
    ...releaseTargets(),
    ...eventLogTargets(),
    ...(await chutesTargets(vendor)),
    ...gpuTargets(),
    ...rimTargets(),
    ...(await ocspTargets()),
    ...(await nrasTargets()),
    { name: 'parseJson', seeds: documents, run: strictJson },
    { name: 'memberSpans', seeds: documents, run: spansOf },
    { name: 'parseReport', seeds: reports, run: parseReport },
    { name: 'decodeAciEvidence', seeds: bundles, run: evidenceBundle },
    {
      name: 'parseSession',
      seeds: documents.slice(1, 2),
      run: (input) => sessionId(parseSession(parseJson(text(input)))),
    },
    {
      name: 'parseReceipt',
      seeds: documents.slice(0, 1),
      run: (input) => receiptSigningInput(parseReceipt(parseJson(text(input)))),
    },
    {
      name: 'parsePolicy',
      seeds: documents.slice(2),
      run: (input) => parsePolicy(parseJson(text(input))),
    },
    { name: 'assembleCollateral', seeds: [pcsAnswers(vendor)], run: answers },
  ]
}
