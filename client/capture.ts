import {
  assembleCollateral,
  collateralKey,
  decodeUtf8,
  fromBase64,
  ISSUER_CHAIN_HEADERS,
  parseJson,
  parseTime,
  pcsRoutes,
  sha256,
  type Bytes,
  type PcsAnswer,
  type UnixSeconds,
} from '@vouchgate/attestation'
import { createReadStream } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { readBounded } from './bounded.ts'
import type { CollateralSource } from './collateral.ts'
import { ChannelError, ClientError } from './errors.ts'
import type { CertificateFetch, EvidenceFetch } from './evidence-fetch.ts'

/** One recorded answer. */
export interface Exchange {
  readonly method: string
  readonly url: URL
  readonly status: number
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  /** SHA-256 of the SPKI that was seen; null where it was not recorded. */
  readonly spkiSha256: Bytes | null
  readonly body: Bytes
}

/** A recorded verification: `manifest.json` and `responses/NNNN_*.{json,body}` of one folder. */
export interface Capture {
  readonly provider: string
  readonly model: string | null
  /** 64 lower-case hex digits; null where the provider takes none. */
  readonly nonce: string | null
  readonly capturedAt: UnixSeconds
  readonly exchanges: readonly Exchange[]
}

const MAX_FILES = 512
const MAX_META = 2 << 20
const MAX_BODY = 8 << 20

const manifestSchema = z.object({
  provider: z.string().max(64),
  model: z.string().max(256).nullish(),
  nonce_hex: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .nullish(),
  captured_at: z.string().max(64),
})

const exchangeSchema = z.object({
  method: z.string().max(16),
  url: z.string().max(8192),
  status: z.number().int(),
  headers: z.record(z.string(), z.union([z.string(), z.array(z.string())])).default({}),
  peer_spki_der_base64: z.string().max(8192).nullish(),
  /** Its SHA-256, where the key itself was not kept. */
  peer_spki_sha256_base64: z.string().max(64).nullish(),
})

/** Throws `capture_unreadable` and `capture_malformed`. */
export async function readCapture(dir: string): Promise<Capture> {
  const manifest = manifestSchema.safeParse(await readDocument(join(dir, 'manifest.json')))
  if (!manifest.success) throw new ClientError('capture_malformed')
  const { provider, model, nonce_hex: nonce, captured_at: time } = manifest.data
  const responses = join(dir, 'responses')
  const exchanges: Exchange[] = []
  for (const name of await metaFiles(responses)) {
    exchanges.push(await readExchange(responses, name))
  }
  return {
    provider,
    model: model ?? null,
    nonce: nonce ?? null,
    capturedAt: timeOf(time),
    exchanges,
  }
}

/** Whole seconds: what was valid a fraction of a second later is not what was judged. */
function timeOf(text: string): UnixSeconds {
  const [whole = '', zone] = text.split('.')
  return parseTime(zone === undefined ? whole : `${whole}Z`)
}

async function metaFiles(dir: string): Promise<string[]> {
  const names = await readdir(dir).catch(() => {
    throw new ClientError('capture_unreadable')
  })
  const meta = names.filter((name) => name.endsWith('.json')).toSorted()
  if (meta.length > MAX_FILES) throw new ClientError('capture_malformed')
  return meta
}

async function readExchange(dir: string, name: string): Promise<Exchange> {
  const parsed = exchangeSchema.safeParse(await readDocument(join(dir, name)))
  const url = parsed.success ? URL.parse(parsed.data.url) : null
  if (!parsed.success || url === null) throw new ClientError('capture_malformed')
  const { method, status, headers } = parsed.data
  return {
    method,
    url,
    status,
    headers: Object.fromEntries(
      Object.entries(headers).map(([header, value]) => [header.toLowerCase(), String(value)]),
    ),
    spkiSha256: await spkiOf(parsed.data),
    body: await readBytes(join(dir, name.replace(/json$/, 'body')), MAX_BODY),
  }
}

async function spkiOf(meta: z.output<typeof exchangeSchema>): Promise<Bytes | null> {
  const { peer_spki_der_base64: der, peer_spki_sha256_base64: digest } = meta
  if (typeof digest === 'string') return fromBase64(digest)
  return typeof der === 'string' ? sha256(fromBase64(der)) : null
}

const readDocument = async (path: string) => parseJson(decodeUtf8(await readBytes(path, MAX_META)))

async function readBytes(path: string, max: number): Promise<Bytes> {
  const bytes = await readBounded(createReadStream(path), max).catch(() => {
    throw new ClientError('capture_unreadable')
  })
  if (bytes === null) throw new ClientError('capture_malformed')
  return bytes
}

/** Answers what was asked then, by host and path: a nonce in the query is that of the capture. */
export const replayedFetch =
  ({ exchanges }: Capture): EvidenceFetch =>
  async ({ origin, path, body }) => {
    const wanted = new URL(path, origin)
    const method = body === undefined ? 'GET' : 'POST'
    const found = exchanges.find(
      (each) =>
        each.method === method &&
        each.url.host === wanted.host &&
        each.url.pathname === wanted.pathname,
    )
    if (found?.status !== 200) throw new ChannelError('report_unavailable')
    return { body: found.body, headers: found.headers, spkiSha256: found.spkiSha256 }
  }

/** The certificate of the handshake that was recorded; without one there was none. */
export const replayedCertificate =
  ({ exchanges }: Capture): CertificateFetch =>
  async (origin) => {
    const found = exchanges.find(({ method, url }) => method === 'TLS' && url.origin === origin)
    if (found === undefined || found.spkiSha256 === null) {
      throw new ChannelError('report_unavailable')
    }
    return { certificate: found.body, spkiSha256: found.spkiSha256 }
  }

/** The collateral that was fetched for the platform of a quote. Rejects with `collateral_unavailable`. */
export const replayedCollateral =
  ({ exchanges }: Capture): CollateralSource =>
  async (quote) => {
    const routes = pcsRoutes(await collateralKey(quote))
    const answer = (route: string, header: string | null): PcsAnswer => {
      const { pathname, searchParams } = new URL(route, 'https://pcs.invalid')
      const found = exchanges.find(
        ({ url }) =>
          url.pathname === pathname &&
          [...searchParams].every(([name, value]) => sameText(url.searchParams.get(name), value)),
      )
      const issuerChain = header === null ? '' : found?.headers[header]
      if (found === undefined || issuerChain === undefined) {
        throw new ChannelError('collateral_unavailable')
      }
      return { body: found.body, issuerChain }
    }
    const rootCrl = exchanges.find(({ url }) => url.pathname.toLowerCase().includes('rootca'))
    if (rootCrl === undefined) throw new ChannelError('collateral_unavailable')
    return assembleCollateral({
      tcb: answer(routes.tcb, ISSUER_CHAIN_HEADERS.tcb),
      qeIdentity: answer(routes.qeIdentity, ISSUER_CHAIN_HEADERS.qeIdentity),
      pckCrl: answer(routes.pckCrl, ISSUER_CHAIN_HEADERS.pckCrl),
      rootCrl: rootCrl.body,
    })
  }

const sameText = (left: string | null, right: string): boolean =>
  left?.toLowerCase() === right.toLowerCase()
