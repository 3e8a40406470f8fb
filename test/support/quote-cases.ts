import { existsSync } from 'node:fs'
import { z } from 'zod'
import { createTeeVendor } from './tee-vendor.ts'
import {
  hasVectors,
  vectorBytes,
  vectorCases,
  vectorJson,
  vectorPath,
  vectorText,
} from './vectors.ts'

/** One quote with what a verifier is given, and the demanded answer. */
export interface QuoteCase {
  readonly name: string
  readonly quote: Uint8Array
  readonly collateral: unknown
  readonly now: number
  /** null for Intel's root. */
  readonly rootPem: string | null
  /** A TCB status, `REJECT`, `REJECT?` (stricter than Intel's library), `POLICY:…` or `any`. */
  readonly want: string
}

const FILES = ['quote.bin', 'collateral.json', 'expected.json']
const REAL = ['tdx4-', 'tdx5-', 'sgx3-']
const expectedSchema = z.object({
  verification_time: z.number(),
  want: z.string().optional(),
  expected: z.object({ tcb_status: z.string() }).optional(),
})

function vectorCase(name: string): QuoteCase {
  const pem = vectorPath('tdx', name, 'trusted_root.pem')
  const { verification_time, want, expected } = expectedSchema.parse(
    vectorJson('tdx', name, 'expected.json'),
  )
  return {
    name,
    quote: vectorBytes('tdx', name, 'quote.bin'),
    collateral: vectorJson('tdx', name, 'collateral.json'),
    now: verification_time,
    rootPem: existsSync(pem) ? vectorText('tdx', name, 'trusted_root.pem') : null,
    want: expected?.tcb_status ?? want?.split(' ')[0] ?? '',
  }
}

const named = (prefix: string): QuoteCase[] => vectorCases('tdx', prefix, FILES).map(vectorCase)

/** Real quotes with what Intel's library answers; none without vectors. */
export const realQuotes = (): QuoteCase[] => REAL.flatMap(named)

/** Quotes under roots of their own; none without vectors. */
export const syntheticQuotes = (): QuoteCase[] => named('synth-')

/** A quote made here, for where there are no vectors. */
export async function simulatedQuote(): Promise<QuoteCase> {
  const vendor = createTeeVendor()
  return {
    name: 'simulated',
    quote: await vendor.quote({ reportData: new Uint8Array(64) }),
    collateral: vendor.collateral(),
    now: vendor.now,
    rootPem: vendor.rootPem,
    want: 'UpToDate',
  }
}
