import { CLUSTER_STEPS, CLUSTER_SUITES } from './steps-cluster.ts'
import { DIALECT_SUITES } from './steps-dialects.ts'
import { EDGE_STEPS, EDGE_SUITES } from './steps-edges.ts'
import { NEAR_STEPS, NEAR_SUITES } from './steps-near.ts'
import { CHUTES_STEPS, CHUTES_SUITES } from './steps-chutes.ts'
import { NVIDIA_STEPS, NVIDIA_SUITES } from './steps-nvidia.ts'
import { OPERATION_STEPS, OPERATION_SUITES } from './steps-operation.ts'
import { PROVIDER_STEPS, PROVIDER_SUITES } from './steps-providers.ts'
import { RELEASE_STEPS, RELEASE_SUITES } from './steps-release.ts'
import { REQUEST_STEPS, REQUEST_SUITES } from './steps-requests.ts'
import { SESSION_STEPS, SESSION_SUITES } from './steps-sessions.ts'

/** One check taken out of one file. */
export interface Removal {
  readonly file: string
  readonly name: string
  readonly start: number
  readonly end: number
  readonly replacement: string
}

const ACI = ['endpoint', 'receipt', 'parsers', 'eventlog-endpoint'].map(
  (name) => `test/attestation/${name}`,
)
const QUOTES = ['quote-refusals', 'memo', 'policy', 'parsers', 'pcs', 'collateral', 'x509'].map(
  (name) => `test/attestation/${name}`,
)

/** Which tests judge which sources, by the first prefix that fits. Every `throw` of a coded error below a prefix is removed in turn. */
export const SUITES: readonly (readonly [prefix: string, suites: readonly string[]])[] = [
  ['attestation/eventlog', ['test/attestation/eventlog']],
  ['attestation/sev-snp', ['test/attestation/sev-snp']],
  ['attestation/azure', ['test/attestation/azure']],
  ...NVIDIA_SUITES,
  ...NEAR_SUITES,
  ...RELEASE_SUITES,
  ...CHUTES_SUITES,
  ...PROVIDER_SUITES,
  ['attestation/aci', ACI],
  ['attestation/verify.ts', ['test/attestation/endpoint', 'test/attestation/eventlog-endpoint']],
  ['attestation', QUOTES],
  ['enclave/quote-source.ts', ['test/enclave']],
  ['enclave/enclave.ts', ['test/enclave/enclave.test.ts']],
  ['client/pinned.ts', ['test/client']],
  ['client/collect.ts', ['test/client']],
  ['client/deep.ts', ['test/client']],
  ['client/gateway-channel.ts', ['test/client']],
  ['client/verified-fetch.ts', ['test/client']],
  ['client/verify-gateway.ts', ['test/client']],
  ...CLUSTER_SUITES,
  ...SESSION_SUITES,
  ...REQUEST_SUITES,
  ...DIALECT_SUITES,
  ...OPERATION_SUITES,
  ...EDGE_SUITES,
  ['src/upstream/plain.ts', ['test/src/sessions.test.ts', 'test/src/parts.test.ts']],
  ['src/upstream/attested.ts', ['test/src/sessions.test.ts']],
  ['src/collateral.ts', ['test/src/collateral.test.ts']],
  ['src/collateral-slot.ts', ['test/src/collateral.test.ts']],
  ['client/collateral.ts', ['test/client/collateral.test.ts']],
  ['src/nvidia', ['test/src/nvidia']],
  [
    'src/dialects/bedrock',
    ['test/dialects/bedrock', 'test/dialects/eventstream', 'test/dialects/vendors-hostile'],
  ],
  ['src/consent.ts', ['test/src/parts.test.ts', 'test/src/refusals.test.ts']],
  ['src/keys.ts', ['test/src/parts.test.ts', 'test/src/refusals.test.ts']],
  ['src/admit.ts', ['test/src/refusals.test.ts']],
  ['src/routes/prompt.ts', ['test/src/operation.test.ts', 'test/src/refusals.test.ts']],
]

/** Steps that are calls or conditions, beyond the refusals themselves: [file, text, replacement]. */
export const STEPS: readonly (readonly [file: string, step: string, replacement: string])[] = [
  // attestation/verify.ts, the steps an auditor reads first
  ['attestation/verify.ts', '  checkChallenge(evidence, input.challenge)\n', ''],
  ['attestation/verify.ts', '  checkExpiry(keyset, now)\n', ''],
  [
    'attestation/verify.ts',
    'const quote = acceptQuote(genuine, input.policy,',
    'const quote = acceptQuote(genuine, { ...input.policy, workload: "any" },',
  ],
  ['attestation/verify.ts', 'equalBytes(quoted, expected) &&', ''],
  ['attestation/verify.ts', 'stated === toHex(expected.subarray(0, 32)) &&', ''],
  ['attestation/verify.ts', 'spki_sha256 === evidence.observed_spki_sha256 &&', ''],
  // attestation/tdx/verify.ts
  ['attestation/tdx/verify.ts', '  checkPckProfile(pck, trustedRoot)\n', ''],
  [
    'attestation/tdx/pck.ts',
    "  if (profile === 'intel') checkProfileEntries(entries, issuer)\n",
    '',
  ],
  ['attestation/tdx/verify.ts', '  await verifyCrl(root, chain.root, now)\n', ''],
  ['attestation/tdx/verify.ts', '  await verifyCrl(pck, chain.intermediate, now)\n', ''],
  ['attestation/tdx/verify.ts', '  checkNotRevoked(chain, root, pck)\n', ''],
  ['attestation/tdx/verify.ts', '  checkTcbInfoSubject(tcbInfo, quote.body.tee, pck)\n', ''],
  ['attestation/tdx/verify.ts', '  checkQeIdentitySubject(qeIdentity, quote.body.tee)\n', ''],
  ['attestation/tdx/verify.ts', '  await verifyQeReport(quote, chain, qeIdentity)\n', ''],
  ['attestation/tdx/verify.ts', '  await verifyQuoteSignature(quote)\n', ''],
  [
    'attestation/tdx/verify.ts',
    "  if (quote.body.tee === 'tdx') verifyTdxModule(quote.body.report, tcbInfo)\n",
    '',
  ],
  // attestation/tdx/verify-collateral.ts
  ['attestation/tdx/verify-collateral.ts', '  await verifyCrl(rootCrl, root, now)\n', ''],
  ['attestation/tdx/verify-collateral.ts', '  await verifyCrl(pckCrl, ca, now)\n', ''],
  [
    'attestation/tdx/verify-collateral.ts',
    '  checkTcbInfoSubject(tcbInfo, key.tee, { fmspc: key.fmspc, pceId: null })\n',
    '',
  ],
  ['attestation/tdx/verify-collateral.ts', '  checkQeIdentitySubject(qeIdentity, key.tee)\n', ''],
  // attestation/tdx/chain.ts
  ['attestation/tdx/chain.ts', '  checkNames([ca, [name]], [root, [ROOT_NAME]], refuse)\n', ''],
  ['attestation/tdx/chain.ts', '  checkAuthority(ca, 0, refuse)\n', ''],
  ['attestation/tdx/chain.ts', '  await checkLink(ca, root, now, refuse)\n', ''],
  [
    'attestation/tdx/chain.ts',
    '  await checkRoot(root, trusted, now, refuse)\n  return { ca, root }\n',
    '  return { ca, root }\n',
  ],
  [
    'attestation/tdx/chain.ts',
    '  checkNames([leaf, [PCK_NAME]], [intermediate, PCK_CA_NAMES], refuse)\n',
    '',
  ],
  ['attestation/tdx/chain.ts', '  checkAuthority(intermediate, 0, refuse)\n', ''],
  ['attestation/tdx/chain.ts', '  await checkLink(leaf, intermediate, now, refuse)\n', ''],
  ['attestation/tdx/chain.ts', '  await checkLink(intermediate, root, now, refuse)\n', ''],
  ['attestation/tdx/chain.ts', '  checkLeaf(leaf, refuse)\n', ''],
  [
    'attestation/tdx/chain.ts',
    '  checkNames([signer, [TCB_SIGNING_NAME]], [root, [ROOT_NAME]], refuse)\n',
    '',
  ],
  ['attestation/tdx/chain.ts', '  await checkLink(signer, root, now, refuse)\n', ''],
  [
    'attestation/tdx/chain.ts',
    "  if (rootCrl.revokedSerials.has(signer.serial)) return refuse('certificate_revoked')\n",
    '',
  ],
  [
    'attestation/tdx/chain.ts',
    "  if (!(await isTrusted(root, trusted))) refuse('certificate_root_untrusted')\n",
    '',
  ],
  [
    'attestation/tdx/chain.ts',
    "  if (!equalBytes(subject.issuer, issuer.subject)) refuse('certificate_name_mismatch')\n",
    '',
  ],
  [
    'attestation/tdx/chain.ts',
    "  if (!(await subject.isSignedBy(issuer.p256))) refuse('certificate_signature_invalid')\n",
    '',
  ],
  [
    'attestation/tdx/chain.ts',
    "  if (certificate.unknownCritical) refuse('certificate_critical_extension')\n",
    '',
  ],
  ['attestation/tdx/chain.ts', "  if (!valid) refuse('certificate_not_valid_now')\n", ''],
  // attestation/tdx/crl.ts
  ['attestation/tdx/crl.ts', 'rootCrl.revokedSerials.has(chain.intermediate.serial) ||', ''],
  ['attestation/tdx/crl.ts', '||\n    pckCrl.revokedSerials.has(chain.leaf.serial)', ''],
  // attestation/tdx/qe.ts
  ['attestation/tdx/qe.ts', 'equalBytes(reportData.subarray(0, 32), bound) &&', ''],
  ['attestation/tdx/qe.ts', 'equalBytes(report.mrSigner, fromHex(identity.mrsigner)) &&', ''],
  ['attestation/tdx/qe.ts', 'report.isvProdId === identity.isvprodid &&', ''],
  // attestation/tdx/module.ts
  [
    'attestation/tdx/module.ts',
    'equalBytes(report.mrSignerSeam, fromHex(expected.mrsigner)) &&',
    '',
  ],
  // attestation/sev-snp: the steps of verify.ts, and conditions that share one refusal
  ['attestation/sev-snp/verify.ts', '  await verifySignature(report, chain)\n', ''],
  ['attestation/sev-snp/chain.ts', '  checkValidity(root, now)\n', ''],
  ['attestation/sev-snp/chain.ts', '  await checkLink(signer, root, now)\n', ''],
  ['attestation/sev-snp/chain.ts', '  checkAuthority(signer)\n', ''],
  ['attestation/sev-snp/chain.ts', '  await checkLink(endorsement, signer, now)\n', ''],
  [
    'attestation/sev-snp/chain.ts',
    "  if (!equalBytes(subject.issuer, issuer.subject)) refuse('certificate_name_mismatch')\n",
    '',
  ],
  [
    'attestation/sev-snp/chain.ts',
    "  if (!(await subject.isSignedBy(issuer.rsa))) refuse('certificate_signature_invalid')\n",
    '',
  ],
  [
    'attestation/sev-snp/chain.ts',
    "  if (subject.unknownCritical) refuse('certificate_critical_extension')\n",
    '',
  ],
  ['attestation/sev-snp/chain.ts', '  checkValidity(subject, now)\n', ''],
  ['attestation/sev-snp/chain.ts', 'now < notBefore || ', ''],
  ['attestation/sev-snp/chain.ts', 'constraints?.ca !== true || ', ''],
  ['attestation/sev-snp/chain.ts', 'leaf.p384 === null || ', ''],
  ['attestation/sev-snp/endorsement.ts', '  checkProduct(report, chain)\n', ''],
  [
    'attestation/sev-snp/endorsement.ts',
    "  if (chain.kind === 'vcek') checkChip(report, chain)\n",
    '',
  ],
  ['attestation/sev-snp/endorsement.ts', 'equalBytes(endorsed, chipId.subarray(0, length)) &&', ''],
  ['attestation/sev-snp/endorsement.ts', 'endorsed !== product || ', ''],
  ['attestation/sev-snp/endorsement.ts', ' || !same', ''],
  ['attestation/sev-snp/certificate-table.ts', 'offset < contentStart || ', ''],
  ['attestation/sev-snp/certificate-table.ts', ' || offset > bytes.length', ''],
  ['attestation/sev-snp/certificate-table.ts', 'outside || ', ''],
  ['attestation/sev-snp/certificate-table.ts', ' || table.has(guid)', ''],
  ['attestation/sev-snp/report.ts', '!has(POLICY.mustBeOne) || ', ''],
  ['attestation/sev-snp/report.ts', ' || (keyInfo & MASK_CHIP_KEY) !== 0', ''],
  ['attestation/sev-snp/accept.ts', '  checkGuest(genuine, policy)\n', ''],
  ['attestation/sev-snp/accept.ts', '  checkPlatform(genuine, policy)\n', ''],
  ['attestation/sev-snp/accept.ts', '  checkTcb(genuine, policy)\n', ''],
  ['attestation/sev-snp/accept.ts', '  checkIdentity(genuine, policy)\n', ''],
  ['attestation/sev-snp/accept.ts', ' && isTcbAtLeast(tcb.current, tcb.committed)', ''],
  ['attestation/sev-snp/certificate.ts', '!pss || rsa', 'rsa'],
  // attestation/eventlog: conditions that share one refusal
  ['attestation/eventlog/ccel.ts', 'record.type === EV_NO_ACTION || ', ''],
  ['attestation/eventlog/ccel.ts', ' || rtmr === null', ' && rtmr === null'],
  ['attestation/eventlog/ccel.ts', 'type !== EV_NO_ACTION || ', ''],
  ['attestation/eventlog/ccel.ts', '!isZero(digest) || ', ''],
  ['attestation/eventlog/ccel.ts', ' || !isSignature(signature)', ''],
  ['attestation/eventlog/ccel.ts', 'sizes.size !== count || ', ''],
  ['attestation/eventlog/ccel.ts', '  event.end()\n', ''],
  ['attestation/eventlog/ccel.ts', 'digests.size !== count || ', ''],
  ['attestation/eventlog/dstack.ts', '!stated || ', ''],
  ['attestation/eventlog/dstack.ts', ' || !shown', ''],
  ['attestation/eventlog/dstack.ts', '.refine((name) => name.isWellFormed())', ''],
  [
    'attestation/eventlog/launch.ts',
    "  if (((input.log.report.tdAttributes[0] ?? 0) & DEBUG) !== 0) return noClaims('debug_enabled')\n",
    '',
  ],
  ['attestation/eventlog/launch.ts', 'row.mrtd === toHex(mrtd) &&', ''],
  ['attestation/eventlog/launch.ts', 'row.rtmr0 === toHex(rtmr0) &&', ''],
  ['attestation/eventlog/launch.ts', 'row.rtmr1 === toHex(rtmr1) &&', ''],
  ['attestation/eventlog/launch.ts', '&&\n        row.rtmr2 === toHex(rtmr2)', ''],
  ['attestation/eventlog/launch.ts', ' && event.rtmr === 3', ''],
  ['attestation/eventlog/launch.ts', '.slice(0, ready)', ''],
  ['attestation/eventlog/launch.ts', 'equalBytes(bound, digest) &&', ''],
  [
    'attestation/eventlog/launch.ts',
    'names(launch.composeHash, document.data.compose_hash) &&',
    '',
  ],
  ['attestation/eventlog/launch.ts', 'names(launch.appId, document.data.app_id) &&', ''],
  ['attestation/eventlog/launch.ts', 'names(launch.instanceId, document.data.instance_id) &&', ''],
  [
    'attestation/eventlog/launch.ts',
    '&&\n    names(keyProviderId(launch), document.data.key_provider_id)',
    '',
  ],
  ['attestation/verify.ts', 'if (text === undefined) return null', 'return null'],
  // attestation/azure
  ['attestation/azure/snp.ts', '  await checkRuntimeData(hcl, snp)\n', ''],
  ['attestation/azure/tpm.ts', '!complete || ', ''],
  ['attestation/azure/tpm.ts', "count !== '00000001' || ", ''],
  ['attestation/azure/hcl.ts', 'status !== 0 || ', ''],
  ['attestation/azure/hcl.ts', 'keys.length !== 1 || ', ''],
  ['attestation/azure/hcl.ts', 'dataVersion !== 1 || hashType !== SHA256 || ', ''],
  ...NVIDIA_STEPS,
  ...PROVIDER_STEPS,
  ...RELEASE_STEPS,
  ...CHUTES_STEPS,
  ...CLUSTER_STEPS,
  ...SESSION_STEPS,
  ...REQUEST_STEPS,
  ...NEAR_STEPS,
  // attestation/aci/receipt.ts
  [
    'attestation/aci/receipt.ts',
    "  await checkBody(receipt, 'request.received', input.requestBody, 'receipt_request_mismatch')\n",
    '',
  ],
  [
    'attestation/aci/receipt.ts',
    "  await checkBody(receipt, 'response.returned', input.responseBody, 'receipt_response_mismatch')\n",
    '',
  ],
  [
    'attestation/aci/receipt.ts',
    '  if (input.sessionId !== undefined) checkSession(receipt, input.sessionId)\n',
    '',
  ],
  // client/: the key is compared before a socket is handed over
  ['client/pinned.ts', 'if (sameDigest(opened.spkiSha256, expected)) return', 'return'],
  // src/: checks that the types make already, made again at run time
  ...OPERATION_STEPS,
  ...EDGE_STEPS,
  ['src/upstream/channel.ts', '    this.#check()\n    const { seal }', '    const { seal }'],
]
