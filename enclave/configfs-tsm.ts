import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Bytes } from '@vouchgate/attestation'
import {
  copyReportData,
  EnclaveError,
  requireBoundQuote,
  type EnclaveErrorCode,
  type QuoteSource,
  type TeeEvidence,
} from './quote-source.ts'
import { nodeTsmFiles, type TsmFiles } from './tsm-files.ts'

const TSM_ROOT = '/sys/kernel/config/tsm/report'

export interface ConfigfsTsmOptions {
  /** Where the kernel's report directory is mounted; `/sys/kernel/config/tsm/report`. */
  readonly root?: string
  readonly files?: TsmFiles
  /** Waits between attempts, in milliseconds. */
  readonly pause?: (milliseconds: number) => Promise<void>
}

const ATTEMPTS = 6
const FIRST_PAUSE_MS = 100
const ATTRIBUTE_LIMIT = 64
const QUOTE_LIMIT = 1 << 16
const INBLOB_WRITES = 1n
const RETRY_AFTER_SECONDS = 5

const CODE_OF_ERRNO = new Map<string, EnclaveErrorCode>([
  // One GetQuote is in flight in the whole guest, perhaps another process's.
  ['EBUSY', 'quote_busy'],
  ['EINTR', 'quote_busy'],
  // The generation moved during the read, the blob is not ours any more, or the name was taken.
  ['EAGAIN', 'quote_interference'],
  ['EINVAL', 'quote_interference'],
  ['EEXIST', 'quote_interference'],
  ['ETIMEDOUT', 'quote_timeout'],
])

/**
 * Quotes from the kernel's configfs-tsm interface (Linux 6.7 and later, Documentation/ABI/testing/configfs-tsm).
 *
 * Needs the right to create directories under `root`. A busy device and an interfering writer are tried again
 * a few times. Rejects with `EnclaveError`: `quote_busy`, `quote_interference`, `quote_timeout`,
 * `quote_unavailable`, `quote_provider_unsupported`, `quote_malformed`, `quote_mismatch`.
 */
export function configfsTsmSource(options: ConfigfsTsmOptions = {}): QuoteSource {
  const { root = TSM_ROOT, files = nodeTsmFiles, pause = sleepFor } = options
  return {
    kind: 'configfs-tsm',
    async quote(reportData) {
      const wanted = copyReportData(reportData)
      for (let attempt = 1; ; attempt++) {
        try {
          return await quoteOnce(files, root, wanted)
        } catch (error) {
          if (!mayPass(error) || attempt === ATTEMPTS) throw error
        }
        await pause(FIRST_PAUSE_MS * 2 ** (attempt - 1))
      }
    },
  }
}

const sleepFor = async (milliseconds: number): Promise<void> => {
  await sleep(milliseconds)
}

const mayPass = (error: unknown): boolean =>
  error instanceof EnclaveError &&
  (error.code === 'quote_busy' || error.code === 'quote_interference')

/** A directory of its own per request: two requests in one entry would overwrite each other's blob. */
async function quoteOnce(files: TsmFiles, root: string, reportData: Bytes): Promise<TeeEvidence> {
  const entry = join(root, `vouchgate-${randomUUID()}`)
  await coded(files.mkdir(entry))
  try {
    const quote = await exchange(files, entry, reportData)
    requireBoundQuote(quote, reportData)
    return { quote, eventLog: null, vmConfig: null }
  } finally {
    await coded(files.rmdir(entry))
  }
}

async function exchange(files: TsmFiles, entry: string, reportData: Bytes): Promise<Bytes> {
  const before = await generation(files, entry)
  await coded(files.writeOnce(join(entry, 'inblob'), reportData))
  // The read makes the quote; the kernel waits up to 30 s for the quoting enclave.
  const quote = await coded(files.read(join(entry, 'outblob'), QUOTE_LIMIT))
  if ((await attribute(files, entry, 'provider')) !== 'tdx_guest') {
    throw new EnclaveError('quote_provider_unsupported')
  }
  // Another writer in between means that the quote may be over its blob, not over ours.
  if ((await generation(files, entry)) !== before + INBLOB_WRITES) {
    throw new EnclaveError('quote_interference')
  }
  return quote
}

async function generation(files: TsmFiles, entry: string): Promise<bigint> {
  const text = await attribute(files, entry, 'generation')
  if (!/^\d{1,20}$/.test(text)) throw new EnclaveError('quote_malformed')
  return BigInt(text)
}

async function attribute(files: TsmFiles, entry: string, name: string): Promise<string> {
  const bytes = await coded(files.read(join(entry, name), ATTRIBUTE_LIMIT))
  return Buffer.from(bytes).toString('latin1').replace(/\n$/, '')
}

/** Node's errors name paths; only the code goes on. */
async function coded<T>(operation: Promise<T>): Promise<T> {
  try {
    return await operation
  } catch (error) {
    if (error instanceof EnclaveError) throw error
    const code = CODE_OF_ERRNO.get(errno(error)) ?? 'quote_unavailable'
    throw new EnclaveError(code, code === 'quote_busy' ? RETRY_AFTER_SECONDS : null)
  }
}

const errno = (error: unknown): string =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : ''
