import { describe, expect, test } from 'vitest'
import { EnclaveError, type QuoteSource, type TeeEvidence } from '../../enclave/quote-source.ts'
import { quoteQueue } from '../../enclave/quote-queue.ts'

const evidence: TeeEvidence = { quote: new Uint8Array(1), eventLog: null, vmConfig: null }
const data = (byte: number) => new Uint8Array(64).fill(byte)

/** A source whose quotes end when the test says so. */
function manual() {
  const asked: number[] = []
  const pending: { finish: () => void; fail: () => void }[] = []
  const source: QuoteSource = {
    kind: 'test',
    quote: (reportData) => {
      asked.push(reportData[0] ?? -1)
      return new Promise((resolve, reject) => {
        pending.push({
          finish: () => resolve(evidence),
          fail: () => reject(new EnclaveError('quote_unavailable')),
        })
      })
    },
  }
  return { source, asked, pending }
}

const settled = () => new Promise((resolve) => setImmediate(resolve))

describe('quote queue', () => {
  test('asks the source for one quote at a time, in order', async () => {
    const { source, asked, pending } = manual()
    const queue = quoteQueue(source, { maxWaiting: 2 })
    const quotes = [1, 2, 3].map((byte) => queue.quote(data(byte)))
    for (const count of [1, 2, 3]) {
      await settled()
      expect(asked.length).toBe(count)
      pending[count - 1]?.finish()
    }
    await Promise.all(quotes)
    expect(asked).toEqual([1, 2, 3])
  })

  test('past the bound a request is quote_busy with the time the queue needs', async () => {
    const { source, pending } = manual()
    const queue = quoteQueue(source, { maxWaiting: 1 })
    const accepted = [queue.quote(data(1)), queue.quote(data(2))]
    await expect(queue.quote(data(3))).rejects.toMatchObject({
      code: 'quote_busy',
      retryAfterSeconds: 2,
    })
    await settled()
    pending[0]?.finish()
    await settled()
    pending[1]?.finish()
    await Promise.all(accepted)
  })

  test('a place is free again after a quote has ended', async () => {
    const { source, pending } = manual()
    const queue = quoteQueue(source, { maxWaiting: 0 })
    for (const turn of [0, 1]) {
      const quote = queue.quote(data(turn))
      await settled()
      pending[turn]?.finish()
      await quote
    }
    expect(pending.length).toBe(2)
  })

  test('a failed quote fails its own request and no other', async () => {
    const { source, pending } = manual()
    const queue = quoteQueue(source, { maxWaiting: 1 })
    const first = queue.quote(data(1))
    const second = queue.quote(data(2))
    await settled()
    pending[0]?.fail()
    await expect(first).rejects.toMatchObject({ code: 'quote_unavailable' })
    await settled()
    pending[1]?.finish()
    await expect(second).resolves.toBe(evidence)
  })

  test('report data that the caller changes while waiting is quoted as it was given', async () => {
    const { source, asked, pending } = manual()
    const queue = quoteQueue(source, { maxWaiting: 1 })
    const buffer = data(9)
    const quotes = [queue.quote(data(1)), queue.quote(buffer)]
    buffer.fill(0)
    await settled()
    pending[0]?.finish()
    await settled()
    pending[1]?.finish()
    await Promise.all(quotes)
    expect(asked).toEqual([1, 9])
  })

  test.each([-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY])(
    'a bound of %d is a TypeError',
    (bound) => {
      expect(() => quoteQueue(manual().source, { maxWaiting: bound })).toThrow(TypeError)
    },
  )
})
