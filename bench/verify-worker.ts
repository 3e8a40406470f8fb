import { text } from 'node:stream/consumers'
import { z } from 'zod'
import {
  realQuotes,
  simulatedQuote,
  syntheticQuotes,
  type QuoteCase,
} from '../test/support/quote-cases.ts'
import { median, milliseconds, signaturesOf } from './timing.ts'
import { answer, bareSignatures, VERIFIERS, type Verify } from './verifiers.ts'

/*
 * One verifier in one fresh process, so that a first verification is a first one. Reads one JSON task from
 * standard input and writes one JSON answer.
 */

export const taskSchema = z.object({
  verifier: z.string(),
  /** A folder with the peers in its node_modules. */
  peers: z.string(),
  /** Answers to everything, or times of the named quotes. */
  timed: z.array(z.string()).nullable(),
  passes: z.number(),
})
export const timesSchema = z.object({
  /** The first verification of the process: modules are loaded, nothing has been compiled or remembered. */
  first: z.number(),
  /** Compiled code, nothing remembered of this evidence. */
  cold: z.number(),
  /** Compiled code, this evidence was verified before. */
  warm: z.number(),
  /** ECDSA signatures that are checked, cold and warm. */
  coldSignatures: z.number(),
  signatures: z.number(),
  /** Of the warm time, the part that waits for them. */
  signatureShare: z.number(),
  floor: z.number(),
})
export const answersSchema = z.record(z.string(), z.string())

/** Verifications before compiled code is measured. */
const WARM_UP = 200

/** Every third quote, each after evidence of so many other vendors that nothing of it can still be remembered. */
async function coldTimes(verify: Verify, quotes: readonly QuoteCase[], remembers: number) {
  const others: QuoteCase[] = []
  for (let at = 0; at < remembers; at++) others.push(await simulatedQuote())
  const measured: number[] = []
  let count = 0
  for (const quote of quotes.filter((_, at) => at % 3 === 0)) {
    for (const other of others) await verify(other)
    measured.push(await milliseconds(() => verify(quote)))
    for (const other of others) await verify(other)
    const seen = await signaturesOf(() => verify(quote))
    count += seen.count
  }
  return { cold: median(measured), coldSignatures: count / measured.length }
}

async function times(
  verify: Verify,
  remembers: number,
  quotes: readonly QuoteCase[],
  passes: number,
) {
  const [first] = quotes
  if (first === undefined) throw new TypeError('nothing to measure')
  const firstTime = await milliseconds(() => verify(first))
  const bare = await bareSignatures()
  const all = async (): Promise<void> => {
    for (const quote of quotes) await verify(quote)
  }
  for (let round = 0; round < WARM_UP / quotes.length; round++) await all()
  const cold = await coldTimes(verify, quotes, remembers)
  await all()
  const warm: number[] = []
  const floor: number[] = []
  for (let pass = 0; pass < passes; pass++) {
    for (const quote of quotes) {
      warm.push(await milliseconds(() => verify(quote)))
      floor.push(await milliseconds(bare))
    }
  }
  let signatures = { count: 0, spent: 0 }
  const observed = await milliseconds(async () => {
    signatures = await signaturesOf(all)
  })
  return {
    first: firstTime,
    ...cold,
    warm: median(warm),
    floor: median(floor),
    signatureShare: signatures.spent / observed,
    signatures: signatures.count / quotes.length,
  }
}

async function answers(verify: Verify, quotes: readonly QuoteCase[]) {
  const found: Record<string, string> = {}
  for (const quote of quotes) found[quote.name] = await answer(verify, quote)
  return found
}

async function work(): Promise<unknown> {
  const { verifier, peers, timed, passes } = taskSchema.parse(JSON.parse(await text(process.stdin)))
  const chosen = VERIFIERS[verifier]
  if (chosen === undefined) throw new TypeError('no such verifier')
  const verify = await chosen.load(peers)
  if (timed === null) {
    const synthetic = syntheticQuotes().filter(({ rootPem }) => chosen.anyRoot || rootPem === null)
    return answers(verify, [...realQuotes(), ...synthetic])
  }
  const names = new Set(timed)
  const quotes = realQuotes().filter(({ name }) => names.has(name))
  const timedQuotes = quotes.length > 0 ? quotes : [await simulatedQuote()]
  return times(verify, chosen.remembers, timedQuotes, passes)
}

if (import.meta.main) process.stdout.write(JSON.stringify(await work()))
