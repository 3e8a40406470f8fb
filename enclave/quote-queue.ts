import { copyReportData, EnclaveError, type QuoteSource } from './quote-source.ts'

export interface QuoteQueueOptions {
  /** How many requests may wait while one is being served. */
  readonly maxWaiting: number
}

/** What a quote takes on real hardware, rounded up. */
const SECONDS_PER_QUOTE = 1

const ignore = (): void => undefined

/**
 * The same source, asked for one quote at a time.
 *
 * Hardware makes one quote at a time and takes about a second for it, and anyone may ask for one with a nonce:
 * without a bound the queue would be a cheap way to exhaust memory and to delay everybody. Past the bound
 * the request is refused with `quote_busy` and the seconds after which a full queue has drained.
 */
export function quoteQueue(source: QuoteSource, options: QuoteQueueOptions): QuoteSource {
  const { maxWaiting } = options
  if (!Number.isSafeInteger(maxWaiting) || maxWaiting < 0) {
    throw new TypeError('maxWaiting is a non-negative integer')
  }
  let unfinished = 0
  let last: Promise<unknown> = Promise.resolve()
  return {
    kind: source.kind,
    async quote(reportData) {
      const wanted = copyReportData(reportData)
      if (unfinished > maxWaiting) {
        throw new EnclaveError('quote_busy', SECONDS_PER_QUOTE * unfinished)
      }
      unfinished++
      const quote = last.then(() => source.quote(wanted))
      last = quote.then(ignore, ignore)
      try {
        return await quote
      } finally {
        unfinished--
      }
    },
  }
}
