import { createHash } from 'node:crypto'
import {
  decodeUtf8,
  encodeUtf8,
  equalBytes,
  fromHex,
  parseCcel,
  parseDstackLog,
  parseHclReport,
  parseJson,
  parseQuote,
  parseSnpCertificateTable,
  parseRimAnswer,
  parseSnpPolicy,
  parseSnpReport,
  replay,
} from '@vouchgate/attestation'
import { parseHclRuntime } from '../attestation/azure/hcl.ts'
import { canonicalXml } from '../attestation/nvidia/rim/c14n.ts'
import { readDocument } from '../attestation/nvidia/rim/document.ts'
import { readSignature } from '../attestation/nvidia/rim/signature.ts'
import { parseXml } from '../attestation/nvidia/rim/xml.ts'
import { parseNvidiaCertificate } from '../attestation/nvidia/certificate.ts'
import { verifyOcspResponse } from '../attestation/nvidia/ocsp/verify.ts'
import { parseAmdCertificate, parseAmdCrl } from '../attestation/sev-snp/certificate.ts'
import { parseCrl } from '../attestation/x509-crl.ts'
import { parseCertificate } from '../attestation/x509.ts'
import { hclReport } from '../test/support/azure-vm.ts'
import { ascii, bootEntry, ccel, EV, efiVariable, runtimeEntry } from '../test/support/eventlog.ts'
import { certificateTable, vendorEntries } from '../test/support/snp-table.ts'
import { newRimVendor, RIMS } from '../test/support/nvidia-rim.ts'
import { TEST_TIME } from '../test/support/clock.ts'
import {
  certIdOf,
  issueResponder,
  nonceExtension,
  OCSP_STATUS,
  ocspResponse,
} from '../test/support/nvidia-ocsp.ts'
import { issueAuthority } from '../test/support/nvidia-pki.ts'
import { createSnpVendor } from '../test/support/snp-vendor.ts'
import type { TeeVendor } from '../test/support/tee-vendor.ts'
import { Disagreement, json, text, type Target } from './fuzz-target.ts'

/** Quotes, certificates and CRLs in Intel's formats. */
export async function intelTargets(vendor: TeeVendor): Promise<Target[]> {
  const reportData = new Uint8Array(64)
  const quotes = [
    await vendor.quote({ reportData }),
    await vendor.quote({ reportData, version: 5 }),
    await vendor.quote({ reportData, version: 5, bodyType: 2, padding: 16 }),
  ]
  const revoked = vendor.collateral({ pckCrl: { revoked: [Uint8Array.of(1, 2, 3)] } })
  const { leaf, intermediate, root } = vendor.certificates
  return [
    { name: 'parseQuote', seeds: quotes, run: parseQuote },
    {
      name: 'parseCertificate',
      seeds: [leaf.der, intermediate.der, root.der],
      run: parseCertificate,
    },
    {
      name: 'parseCrl',
      seeds: [fromHex(revoked.pck_crl), fromHex(revoked.root_ca_crl)],
      run: parseCrl,
    },
  ]
}

/** Reports, certificates, CRLs and policies of SEV-SNP, and Azure's wrapping of its reports. */
export function amdTargets(): Target[] {
  const vendors = [createSnpVendor('Milan'), createSnpVendor('Turin')]
  const policy = { min_tcb: { Milan: 'any' }, measurement: ['ab'.repeat(48)], vmpl: [0, 1] }
  return [
    {
      name: 'parseSnpReport',
      seeds: vendors.map((vendor) => vendor.report()),
      run: parseSnpReport,
    },
    {
      name: 'parseSnpCertificateTable',
      seeds: vendors.map((vendor) => certificateTable(vendorEntries(vendor))),
      run: parseSnpCertificateTable,
    },
    {
      name: 'parseAmdCertificate',
      seeds: vendors.flatMap((vendor) => [vendor.root(), vendor.leaf('vcek'), vendor.leaf('vlek')]),
      run: parseAmdCertificate,
    },
    {
      name: 'parseAmdCrl',
      seeds: vendors.map((vendor) => vendor.crl({ revoked: [1, 2] })),
      run: parseAmdCrl,
    },
    {
      name: 'parseSnpPolicy',
      seeds: [json(policy)],
      run: (input) => parseSnpPolicy(parseJson(text(input))),
    },
    {
      name: 'parseHclReport',
      seeds: vendors.map((vendor) => hclReport(vendor)),
      run: (input) => parseHclRuntime(parseHclReport(input)),
    },
  ]
}

/** Event logs, read and replayed. */
export function eventLogTargets(): Target[] {
  const separator = { register: 1, type: EV.separator, data: new Uint8Array(4) }
  const variable = efiVariable('SecureBoot', Uint8Array.of(1))
  const records = [
    separator,
    { register: 1, type: EV.variableDriverConfig, data: variable },
    { register: 3, type: EV.ipl, data: ascii('grub_cmd: boot\0') },
  ]
  const payload = Uint8Array.of(1, 2, 3)
  const entries = [
    bootEntry(0, 'firmware'),
    runtimeEntry('app-id', payload),
    runtimeEntry('compose-hash', payload, 2),
    runtimeEntry('system-ready'),
  ]
  return [
    {
      name: 'parseCcel',
      seeds: [ccel(records)],
      run: async (input) => replay(await parseCcel(input), 0),
    },
    {
      name: 'parseDstackLog',
      seeds: [json(entries)],
      run: async (input) => replay(await parseDstackLog(text(input)), 3),
    },
  ]
}

/** What is read has one canonical form, and that form is read as the same. */
function canonicalForm(input: Uint8Array): void {
  const once = canonicalXml(parseXml(input), null)
  if (!equalBytes(canonicalXml(parseXml(once), null), once)) throw new Disagreement()
}

/** Reference values, read without the signature that would refuse every change of them. */
export function rimTargets(): Target[] {
  const vendor = newRimVendor()
  const rims = Object.values(RIMS).map((fields) => encodeUtf8(vendor.rim({ fields })))
  const spelled = rims.map((rim) =>
    encodeUtf8(`\ufeff<?xml version='1.0'?>\r\n${decodeUtf8(rim).replaceAll('GH', '&#x47;&#72;')}`),
  )
  const id = 'NV_GPU_DRIVER_GH100_580.95.05'
  const sha256 = createHash('sha256').update('rim').digest('hex')
  const answer = { id, rim: Buffer.from('rim').toString('base64'), sha256 }
  return [
    { name: 'canonicalXml', seeds: [...rims, ...spelled], run: canonicalForm },
    { name: 'readSignature', seeds: rims, run: (input) => readSignature(parseXml(input)) },
    { name: 'readDocument', seeds: rims, run: (input) => readDocument(parseXml(input)) },
    { name: 'parseRimAnswer', seeds: [json(answer)], run: (input) => parseRimAnswer(input, id) },
  ]
}

/** OCSP responses, read and judged. */
export async function ocspTargets(): Promise<Target[]> {
  const issuer = issueAuthority('issuer', null)
  const subject = issueAuthority('subject', issuer)
  const question = { subject, issuer, responder: issueResponder(issuer), at: TEST_TIME }
  const certId = certIdOf(question, { hash: 'sha1' })
  const extensions = [nonceExtension(new Uint8Array(32))]
  const pair = {
    subject: await parseNvidiaCertificate(subject.der),
    issuer: await parseNvidiaCertificate(issuer.der),
  }
  return [
    {
      name: 'verifyOcspResponse',
      seeds: [
        ocspResponse(question),
        ocspResponse(question, { extensions }),
        ocspResponse(question, {
          answers: [{ certId, status: OCSP_STATUS.revoked(TEST_TIME, 6) }],
        }),
      ],
      run: (input) => verifyOcspResponse(input, { ...pair, now: TEST_TIME, nonce: 'stapled' }),
    },
  ]
}
