import {
  acceptQuote,
  DEFAULT_POLICY,
  INTEL_SGX_ROOT,
  isVerificationError,
  parseCollateral,
  PolicyError,
  testPkiRoot,
  verifyQuote,
  type GenuineQuote,
} from '@vouchgate/attestation'
import { existsSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import {
  hasVectors,
  vectorBytes,
  vectorCases,
  vectorJson,
  vectorPath,
  vectorText,
} from '../support/vectors.ts'

const FILES = ['quote.bin', 'collateral.json', 'expected.json']

const realCase = z.object({
  verification_time: z.number(),
  expected: z.object({
    chain_accepted: z.boolean(),
    tcb_status: z.string(),
    advisories: z.array(z.string()),
    launch_status: z.string().nullable(),
    current_status: z.string().nullable(),
  }),
  quote: z.object({
    fmspc: z.string(),
    report_data: z.string(),
    debug: z.boolean(),
    ppid: z.string(),
  }),
})
const syntheticCase = z.object({ verification_time: z.number(), want: z.string() })

async function verify(name: string, now: number): Promise<GenuineQuote> {
  const pem = vectorPath('tdx', name, 'trusted_root.pem')
  return verifyQuote({
    quote: vectorBytes('tdx', name, 'quote.bin'),
    collateral: parseCollateral(vectorJson('tdx', name, 'collateral.json')),
    now,
    trustedRoot: existsSync(pem)
      ? await testPkiRoot(vectorText('tdx', name, 'trusted_root.pem'))
      : INTEL_SGX_ROOT,
  })
}

function policyVerdict(quote: GenuineQuote): string {
  try {
    acceptQuote(quote, DEFAULT_POLICY)
    return 'allow'
  } catch (error) {
    if (error instanceof PolicyError) return 'reject'
    throw error
  }
}

const real = ['tdx4-', 'tdx5-', 'sgx3-'].flatMap((prefix) => vectorCases('tdx', prefix, FILES))

describe.skipIf(!hasVectors)('real quotes get the status that Intel gives them', () => {
  test.for(real)('%s', async (name) => {
    const want = realCase.parse(vectorJson('tdx', name, 'expected.json'))
    const quote = await verify(name, want.verification_time)
    expect(want.expected.chain_accepted).toBe(true)
    expect(quote.tcb.status).toBe(want.expected.tcb_status)
    const { launch_status, current_status } = want.expected
    expect(quote.tcb.launchStatus).toBe(launch_status ?? 'TcbNotSupported')
    // Before TD 1.5 the format does not tell launch and current apart; Intel's library repeats the one.
    expect([null, current_status]).toContain(quote.tcb.currentStatus)
    expect(quote.tcb.tcbInfoVersion).toBe(name.includes('-tcbv2-') ? 2 : 3)
    expect(quote.tcb.advisoryIds).toEqual(want.expected.advisories.toSorted())
    expect(quote.fmspc).toBe(want.quote.fmspc)
    expect(quote.ppid).toBe(want.quote.ppid)
    expect(quote.debug).toBe(want.quote.debug)
    expect(Buffer.from(quote.reportData).toString('hex')).toBe(want.quote.report_data)
  })
})

/** `REJECT`, the TCB status, or for policy cases what the default policy says of a genuine quote. */
async function answer(name: string): Promise<string> {
  const { want, verification_time } = syntheticCase.parse(vectorJson('tdx', name, 'expected.json'))
  try {
    const quote = await verify(name, verification_time)
    return want.startsWith('POLICY:') ? `POLICY:${policyVerdict(quote)}` : quote.tcb.status
  } catch (error) {
    // A crash is not a rejection.
    if (isVerificationError(error)) return 'REJECT'
    throw error
  }
}

const synthetic = vectorCases('tdx', 'synth-', FILES).map((name) => {
  const { want } = syntheticCase.parse(vectorJson('tdx', name, 'expected.json'))
  const pattern = want.startsWith('REJECT') ? /^REJECT$/ : new RegExp(`^${want.split(' ')[0]}$`)
  return { name, want: want === 'any' ? /./ : pattern }
})

describe.skipIf(!hasVectors)('synthetic cases get the demanded answer', () => {
  test.for(synthetic)('$name', async ({ name, want }) => {
    expect(await answer(name)).toMatch(want)
  })
})

test.skipIf(!hasVectors)('every case of each family was found', () => {
  expect(real).toHaveLength(65 + 5 + 24)
  expect(synthetic).toHaveLength(169)
})
