import {
  INTEL_SGX_ROOT,
  isVerificationError,
  parseCollateral,
  testPkiRoot,
  verifyQuote,
} from '@vouchgate/attestation'
import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { z } from 'zod'
import type { QuoteCase } from '../test/support/quote-cases.ts'

/** Gives the TCB status; throws where it refuses. */
export type Verify = (given: QuoteCase) => Promise<string>

export interface Verifier {
  /** Makes it ready: modules loaded, WebAssembly compiled. `peers` is a folder with node_modules. */
  readonly load: (peers: string) => Promise<Verify>
  /** Comes from the registry, at this version. */
  readonly installed: string | null
  /** Whether it can judge under another root than Intel's. */
  readonly anyRoot: boolean
  /** After so many quotes of other vendors nothing of one that was verified before is remembered. */
  readonly remembers: number
}

export const VERIFIERS: Readonly<Record<string, Verifier>> = {
  '@vouchgate/attestation': {
    load: async () => ours,
    installed: null,
    anyRoot: true,
    remembers: 64,
  },
  'dcap-qvl': {
    load: javascriptPeer,
    installed: '@phala/dcap-qvl@0.3.9',
    anyRoot: true,
    remembers: 0,
  },
  'dcap-qvl-web': {
    load: webAssemblyPeer,
    installed: '@phala/dcap-qvl-web@0.2.7',
    anyRoot: false,
    remembers: 0,
  },
}

async function ours({ quote, collateral, now, rootPem }: QuoteCase): Promise<string> {
  const trustedRoot = rootPem === null ? INTEL_SGX_ROOT : await testPkiRoot(rootPem)
  const parsed = parseCollateral(collateral)
  const genuine = await verifyQuote({ quote, collateral: parsed, now, trustedRoot })
  return genuine.tcb.status
}

/** The answer in one word; only an error that is not a refusal is passed on. */
export async function answer(verify: Verify, given: QuoteCase): Promise<string> {
  try {
    return await verify(given)
  } catch (error) {
    if (verify !== ours || isVerificationError(error)) return 'REJECT'
    throw error
  }
}

const functionOf = <T>(): z.ZodType<T> => z.custom<T>((value) => typeof value === 'function')
const report = z.object({ status: z.string() })

type PeerVerifier = new (rootDer?: Uint8Array) => {
  verify(quote: Uint8Array, collateral: unknown, now: number): unknown
}

const load = async (peers: string, path: string): Promise<unknown> =>
  import(pathToFileURL(join(peers, 'node_modules', path)).href)

async function javascriptPeer(peers: string): Promise<Verify> {
  const { QuoteVerifier } = z
    .object({ QuoteVerifier: functionOf<PeerVerifier>() })
    .parse(await load(peers, '@phala/dcap-qvl/src/index.js'))
  return async ({ quote, collateral, now, rootPem }) => {
    const root = rootPem === null ? undefined : new X509Certificate(rootPem).raw
    const verifier = new QuoteVerifier(root)
    return report.parse(await verifier.verify(Buffer.from(quote), collateral, now)).status
  }
}

async function webAssemblyPeer(peers: string): Promise<Verify> {
  const folder = '@phala/dcap-qvl-web'
  const { initSync, js_verify: verify } = z
    .object({
      initSync: functionOf<(options: { module: Uint8Array }) => void>(),
      js_verify: functionOf<(quote: Uint8Array, collateral: unknown, now: bigint) => unknown>(),
    })
    .parse(await load(peers, `${folder}/dcap-qvl-web.js`))
  const module = readFileSync(join(peers, 'node_modules', folder, 'dcap-qvl-web_bg.wasm'))
  initSync({ module })
  return async ({ quote, collateral, now, rootPem }) => {
    if (rootPem !== null) throw new TypeError('this verifier knows no root but Intel’s')
    return report.parse(verify(Uint8Array.from(quote), collateral, BigInt(now))).status
  }
}

const FLOOR_SIGNATURES = 12

/** The floor: bare signatures over a message of a kilobyte, their key imported before. */
export async function bareSignatures(): Promise<() => Promise<void>> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
  const usages: KeyUsage[] = ['sign', 'verify']
  const { privateKey, publicKey } = await crypto.subtle.generateKey(algorithm, false, usages)
  const message = new Uint8Array(1024)
  const signature = await crypto.subtle.sign(algorithm, privateKey, message)
  return async () => {
    for (let at = 0; at < FLOOR_SIGNATURES; at++) {
      await crypto.subtle.verify(algorithm, publicKey, signature, message)
    }
  }
}
