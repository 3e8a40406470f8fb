import {
  encodeAciEvidence,
  encodeUtf8,
  fromHex,
  receiptSigningInput,
  type UnsignedReceipt,
} from '@vouchgate/attestation'
import { generateKeyPairSync, sign } from 'node:crypto'
import { z } from 'zod'
import { aciService } from '../test/support/aci-service.ts'
import { fakeClock } from '../test/support/clock.ts'
import { realQuotes, syntheticQuotes, type QuoteCase } from '../test/support/quote-cases.ts'
import { createSnpVendor } from '../test/support/snp-vendor.ts'
import { createTeeVendor, type TeeVendor } from '../test/support/tee-vendor.ts'
import { hasVectors, vectorJson } from '../test/support/vectors.ts'

interface QuoteWork {
  readonly kind: 'quote'
  readonly quote: string
  readonly collateral: unknown
  readonly now: number
  /** null for Intel's root. */
  readonly rootPem: string | null
}

/** What is to be verified. Bytes are base64, because a page is given it as JSON. */
export type Work =
  | QuoteWork
  | {
      readonly kind: 'endpoint'
      readonly evidence: string
      readonly challenge: string
      readonly now: number
      readonly policy: unknown
    }
  | {
      readonly kind: 'snp'
      readonly report: string
      readonly leaf: string
      readonly chain: string
      readonly crl: string
      readonly now: number
      readonly rootPem: string
    }
  | {
      readonly kind: 'rim'
      readonly document: string
      readonly now: number
      /** null for NVIDIA's roots; otherwise the roots of devices and of reference values. */
      readonly rootPems: readonly [string, string] | null
    }
  | {
      readonly kind: 'gpu'
      /** JSON text. */
      readonly evidence: string
      readonly nonce: string
      readonly now: number
      readonly rims: readonly string[]
      readonly ocsp: readonly string[]
      readonly rootPems: readonly [string, string] | null
    }
  | {
      readonly kind: 'nras'
      /** JSON text. */
      readonly evidence: string
      readonly nonce: string
      readonly response: string
      readonly jwks: string
      readonly now: number
      readonly rootPems: readonly [string, string] | null
      readonly policy: unknown
    }
  | { readonly kind: 'documents'; readonly vectors: Readonly<Record<string, string>> }
  | { readonly kind: 'receipt'; readonly receipt: unknown; readonly keyset: unknown }

/** One thing to verify in a page; `want` is matched with the line that the page answers. */
export interface Case {
  readonly name: string
  readonly work: Work
  readonly want: RegExp
}

const realCase = z.object({
  expected: z.object({ advisories: z.array(z.string()) }),
  quote: z.object({
    fmspc: z.string(),
    ppid: z.string(),
    debug: z.boolean(),
    report_data: z.string(),
  }),
})

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64')

/** The answer to a quote of another maker: what Intel's library says, and the facts that the quote states. */
function wantedOfReal({ name, want }: QuoteCase): RegExp {
  const { expected, quote } = realCase.parse(vectorJson('tdx', name, 'expected.json'))
  const advisories = expected.advisories.toSorted().join(',')
  const facts = [quote.fmspc, quote.ppid, String(quote.debug), quote.report_data].join(' ')
  return new RegExp(`^${want} (?:allow|reject) \\[${advisories}\\] ${facts}$`)
}

function wantedOfSynthetic({ want }: QuoteCase): RegExp {
  if (want === 'any') return /^(?!CRASH)/
  if (want.startsWith('REJECT')) return /^REJECT /
  if (want.startsWith('POLICY:')) return new RegExp(`^(?!REJECT|CRASH)\\S+ ${want.slice(7)} `)
  return new RegExp(`^${want} `)
}

const quoteWork = ({ quote, collateral, now, rootPem }: QuoteCase): QuoteWork => ({
  kind: 'quote',
  quote: base64(quote),
  collateral,
  now,
  rootPem,
})

/** The byte vectors of ACI/1; the page recomputes each and answers with the names of those that differ. */
function documents(): Case {
  const vectors = z.record(z.string(), z.string()).parse(vectorJson('aci', 'vectors.json'))
  return { name: 'the byte vectors of ACI/1', work: { kind: 'documents', vectors }, want: /^SAME$/ }
}

/** Cases from outside of the project; none where they are not there. */
export function vectorWork(): Case[] {
  if (!hasVectors) return []
  const real = realQuotes().map((each): Case => ({
    name: each.name,
    work: quoteWork(each),
    want: wantedOfReal(each),
  }))
  const synthetic = syntheticQuotes().map((each): Case => ({
    name: each.name,
    work: quoteWork(each),
    want: wantedOfSynthetic(each),
  }))
  return [...real, ...synthetic, documents()]
}

const REPORT_DATA = new Uint8Array(64).fill(7)

async function generatedQuotes(vendor: TeeVendor): Promise<Case[]> {
  const { now, rootPem } = vendor
  const collateral = vendor.collateral()
  const good = await vendor.quote({ reportData: REPORT_DATA })
  const newer = await vendor.quote({ reportData: REPORT_DATA, version: 5 })
  const debug = await vendor.quote({ reportData: REPORT_DATA, tdAttributes: '0100001000000000' })
  const of = (name: string, quote: Uint8Array, want: RegExp, changes = {}): Case => ({
    name: `generated: ${name}`,
    want,
    work: { kind: 'quote', quote: base64(quote), collateral, now, rootPem, ...changes },
  })
  const signed = 632
  return [
    of('a quote of version 4', good, /^UpToDate allow \[\]/),
    of('a quote of version 5', newer, /^UpToDate allow \[\]/),
    of('a TD in debug mode', debug, /^UpToDate reject \[\]/),
    of('a changed body', good.with(200, 1), /^REJECT quote_signature_invalid$/),
    of('a cut quote', good.slice(0, signed), /^REJECT quote_malformed$/),
    of('bytes after the quote', Buffer.concat([good, Buffer.of(1)]), /^REJECT quote_trailing_/),
    of('another root', good, /^REJECT certificate_root_untrusted$/, { rootPem: null }),
    of('a later time', good, /^REJECT \S+_not_valid_now$/, { now: now + 400 * 86_400 }),
    of('another platform', good, /^REJECT tcb_info_wrong_platform$/, {
      collateral: vendor.collateral({ tcbInfo: { fields: { fmspc: '00906ed50000' } } }),
    }),
    of('no collateral', good, /^REJECT collateral_malformed$/, { collateral: {} }),
  ]
}

const NONCE = '7e'.repeat(32)
const SPKI = 'c0'.repeat(32)

async function generatedEndpoints(vendor: TeeVendor): Promise<Case[]> {
  const clock = fakeClock(vendor.now)
  const day = 86_400
  const behaviour = { vendor, clock, fields: {}, boot: null, lifetimeSeconds: day }
  const service = await aciService({ ...behaviour, spkiSha256: SPKI })
  const report = encodeUtf8(JSON.stringify(await service.report(NONCE)))
  const evidence = (observed: string): string =>
    base64(
      encodeAciEvidence({
        collected_at: clock.now(),
        origin: 'https://service.example',
        nonce: NONCE,
        observed_spki_sha256: observed,
        report,
        collateral: vendor.collateral(),
      }),
    )
  const policy = { workload: 'any', trusted_root: { test_pki_pem: vendor.rootPem } }
  const of = (name: string, want: RegExp, changes: { evidence?: string; challenge?: string }) => ({
    name: `generated: ${name}`,
    want,
    work: {
      kind: 'endpoint' as const,
      evidence: evidence(SPKI),
      challenge: NONCE,
      now: clock.now(),
      policy,
      ...changes,
    },
  })
  const other = '00'.repeat(32)
  return [
    of('an attested endpoint', /^VERIFIED https:\/\/service\.example (?:c0){32}$/, {}),
    of('another challenge', /^REJECT nonce_mismatch$/, { challenge: other }),
    of('another key', /^REJECT channel_not_attested$/, { evidence: evidence(other) }),
  ]
}

/** RSA-PSS and P-384, which no Intel quote needs. */
function generatedSnpReports(): Case[] {
  const vendor = createSnpVendor('Genoa')
  const of = (name: string, want: RegExp, report: Uint8Array): Case => ({
    name: `generated: ${name}`,
    want,
    work: {
      kind: 'snp',
      report: base64(report),
      leaf: base64(vendor.leaf('vcek')),
      chain: vendor.chain('vcek'),
      crl: base64(vendor.crl()),
      now: vendor.now,
      rootPem: vendor.rootPem,
    },
  })
  const report = vendor.report()
  const measurement = 0x90
  const changed = report.with(measurement, (report[measurement] ?? 0) ^ 1)
  return [
    of('an SNP report', /^VERIFIED Genoa checked$/, report),
    of('a changed SNP report', /^REJECT snp_signature_invalid$/, changed),
  ]
}

/** A receipt under a key of its own, so that Ed25519 is tried in the page without vectors too. */
function generatedReceipts(): Case[] {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const spki = publicKey.export({ type: 'spki', format: 'der' })
  const digest = `sha256:${'5a'.repeat(32)}`
  const unsigned: UnsignedReceipt = {
    api_version: 'aci/1',
    receipt_id: 'r',
    chat_id: null,
    model: 'm',
    workload_keyset_digest: digest,
    endpoint: '/v1/chat/completions',
    method: 'POST',
    served_at: 1_795_132_800,
    event_log: [{ type: 'request.received', body_hash: digest }],
    key_id: 'k',
  }
  const signature = sign(null, Buffer.from(receiptSigningInput(unsigned)), privateKey).toString(
    'hex',
  )
  const public_key = spki.subarray(-32).toString('hex')
  const keyset = {
    subject: null,
    not_after: 2_000_000_000,
    receipt_signing_keys: [{ key_id: 'k', algo: 'ed25519', public_key }],
    e2ee_public_keys: [],
    tls_public_keys: [],
  }
  const of = (name: string, want: RegExp, receipt: object): Case => ({
    name: `generated: ${name}`,
    want,
    work: { kind: 'receipt', receipt, keyset },
  })
  const forged = Buffer.from(fromHex(signature).with(5, 0)).toString('hex')
  return [
    of('a receipt', /^VERIFIED$/, { ...unsigned, signature }),
    of('a forged receipt', /^REJECT receipt_signature_invalid$/, {
      ...unsigned,
      signature: forged,
    }),
  ]
}

/** Cases made here and now, under a root of their own. */
export async function generatedWork(): Promise<Case[]> {
  const vendor = createTeeVendor()
  return [
    ...(await generatedQuotes(vendor)),
    ...(await generatedEndpoints(vendor)),
    ...generatedSnpReports(),
    ...generatedReceipts(),
  ]
}
