import {
  acceptGpuEvidence,
  acceptQuote,
  DEFAULT_GPU_POLICY,
  DEFAULT_POLICY,
  encodeUtf8,
  fromBase64,
  INTEL_SGX_ROOT,
  isVerificationError,
  jcs,
  keysetDigest,
  measureGpu,
  NVIDIA_ROOTS,
  parseCollateral,
  parseGpuEvidence,
  parseGpuNonce,
  parseJson,
  parseNrasPolicy,
  parsePolicy,
  parseReceipt,
  parseSession,
  PolicyError,
  receiptSigningInput,
  reportDataFor,
  sessionId,
  sha256,
  statement,
  testNvidiaRoots,
  testPkiRoot,
  testSnpRoots,
  toHex,
  verifyEndpoint,
  verifyGpuEvidence,
  verifyNrasResponse,
  verifyQuote,
  verifyReceipt,
  verifyRim,
  verifySnpReport,
  type GenuineQuote,
  type Keyset,
} from '@vouchgate/attestation'
import type { Work } from './evidence-cases.ts'

/*
 * Runs in the browser, with its types stripped, on the built package: verifies what it is given and answers
 * with one line for each case.
 */

type Given<Kind extends Work['kind']> = Extract<Work, { kind: Kind }>

function policyAnswer(genuine: GenuineQuote): 'allow' | 'reject' {
  try {
    acceptQuote(genuine, DEFAULT_POLICY)
    return 'allow'
  } catch (error) {
    if (error instanceof PolicyError) return 'reject'
    throw error
  }
}

async function verifiedQuote({ quote, collateral, now, rootPem }: Given<'quote'>): Promise<string> {
  const genuine = await verifyQuote({
    quote: fromBase64(quote),
    collateral: parseCollateral(collateral),
    now,
    trustedRoot: rootPem === null ? INTEL_SGX_ROOT : await testPkiRoot(rootPem),
  })
  const { tcb, fmspc, ppid, debug, reportData } = genuine
  const advisories = `[${tcb.advisoryIds.join(',')}]`
  const facts = [fmspc, ppid, String(debug), toHex(reportData)]
  return [tcb.status, policyAnswer(genuine), advisories, ...facts].join(' ')
}

async function verifiedEndpoint(given: Given<'endpoint'>): Promise<string> {
  const verified = await verifyEndpoint({
    ...given,
    evidence: fromBase64(given.evidence),
    policy: parsePolicy(given.policy),
  })
  return `VERIFIED ${verified.origin} ${toHex(verified.binding.digest)}`
}

async function verifiedSnp(given: Given<'snp'>): Promise<string> {
  const { product, revocation } = await verifySnpReport({
    report: fromBase64(given.report),
    leaf: fromBase64(given.leaf),
    chain: given.chain,
    crl: fromBase64(given.crl),
    now: given.now,
    roots: await testSnpRoots(given.rootPem),
  })
  return `VERIFIED ${product} ${revocation}`
}

async function verifiedRim({ document, now, rootPems }: Given<'rim'>): Promise<string> {
  const roots = rootPems === null ? NVIDIA_ROOTS : await testNvidiaRoots(...rootPems)
  const { product, slot, version, golden, validity } = await verifyRim(fromBase64(document), {
    now,
    roots,
  })
  return `VERIFIED ${product} ${slot} ${version} [${[...golden.keys()].join()}] ${validity}`
}

/** Genuine, how its measurements compare, and what the default policy says. */
async function verifiedGpus(given: Given<'gpu'>): Promise<string> {
  const { now, rootPems } = given
  const roots = rootPems === null ? NVIDIA_ROOTS : await testNvidiaRoots(...rootPems)
  const nonce = parseGpuNonce(given.nonce)
  const evidence = await verifyGpuEvidence({
    evidence: parseGpuEvidence(given.evidence),
    nonce,
    now,
    roots,
  })
  const rims = await Promise.all(
    given.rims.map(async (document) => verifyRim(fromBase64(document), { now, roots })),
  )
  const { devices } = evidence
  const measured = new Set(devices.map((device) => measureGpu(device, rims).status))
  const ocsp = given.ocsp.map(fromBase64)
  const asked = { evidence, rims, ocsp, nras: [], now, policy: DEFAULT_GPU_POLICY }
  const said = await acceptGpuEvidence(asked).then(() => 'accepted', refusalCode)
  return `GENUINE ${devices[0]?.arch}×${devices.length} ${[...measured].join()} ${said}`
}

function refusalCode(error: unknown): string {
  if (!isVerificationError(error)) throw error
  return error.code
}

async function verifiedNras(given: Given<'nras'>): Promise<string> {
  const { now, rootPems } = given
  const evidence = await verifyGpuEvidence({
    evidence: parseGpuEvidence(given.evidence),
    nonce: parseGpuNonce(given.nonce),
    now,
    roots: rootPems === null ? NVIDIA_ROOTS : await testNvidiaRoots(...rootPems),
  })
  const { claimsVersion, pinned, devices } = await verifyNrasResponse({
    response: fromBase64(given.response),
    jwks: fromBase64(given.jwks),
    evidence,
    kind: 'gpu',
    now,
    policy: parseNrasPolicy(given.policy),
  })
  return `VERIFIED ${claimsVersion} ${pinned} ${devices.map(({ name }) => name).join()}`
}

async function verifiedReceipt(given: Given<'receipt'>): Promise<string> {
  const parsed = parseReceipt(given.receipt)
  const keyset: Keyset = JSON.parse(JSON.stringify(given.keyset))
  await verifyReceipt({ receipt: parsed, keyset, keysetDigest: parsed.workload_keyset_digest })
  return 'VERIFIED'
}

const NONCE = '000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f'

async function reproducedDocuments({ vectors }: Given<'documents'>): Promise<string> {
  const of = (name: string): string => vectors[name] ?? ''
  const keyset: Keyset = JSON.parse(of('keyset_jcs'))
  const digest = await keysetDigest(keyset)
  const session = parseSession(parseJson(of('session_jcs')))
  const parsed = parseReceipt(parseJson(of('receipt')))
  const input = receiptSigningInput(parsed)
  const zero = '00'.repeat(32)
  const computed: Record<string, string> = {
    keyset_jcs: jcs(parseJson(of('keyset_jcs'))),
    keyset_digest: digest,
    statement: statement(digest, NONCE),
    statement_null_nonce: statement(digest, null),
    session_jcs: jcs(parseJson(JSON.stringify(session))),
    session_id: await sessionId(session),
    receipt_signing_input: input,
    receipt_signing_input_sha256: toHex(await sha256(encodeUtf8(input))),
  }
  const differing = Object.keys(computed).filter((name) => computed[name] !== vectors[name])
  for (const [name, nonce] of Object.entries({
    report_data: NONCE,
    report_data_null_nonce: null,
  })) {
    const data = toHex(await reportDataFor(statement(digest, nonce)))
    if (data !== of(name) + zero) differing.push(name)
  }
  await verifyReceipt({
    receipt: parsed,
    keyset,
    keysetDigest: digest,
    requestBody: encodeUtf8(of('request_body')),
    responseBody: encodeUtf8(of('response_body')),
    sessionId: of('session_id'),
  })
  return differing.length === 0 ? 'SAME' : `DIFFERENT ${differing.join(' ')}`
}

function verify(work: Work): Promise<string> {
  switch (work.kind) {
    case 'quote':
      return verifiedQuote(work)
    case 'endpoint':
      return verifiedEndpoint(work)
    case 'snp':
      return verifiedSnp(work)
    case 'rim':
      return verifiedRim(work)
    case 'gpu':
      return verifiedGpus(work)
    case 'nras':
      return verifiedNras(work)
    case 'documents':
      return reproducedDocuments(work)
    case 'receipt':
      return verifiedReceipt(work)
  }
}

async function answer(work: Work): Promise<string> {
  try {
    return await verify(work)
  } catch (error) {
    if (isVerificationError(error)) return `REJECT ${error.code}`
    return `CRASH ${error instanceof Error ? error.name : typeof error}`
  }
}

const all: Work[] = await (await fetch('/work')).json()
const answers: string[] = []
for (const work of all) answers.push(await answer(work))
await fetch('/answers', { method: 'POST', body: JSON.stringify(answers) })
