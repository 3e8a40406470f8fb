import type { Bytes } from '@vouchgate/attestation'
import type { TsmFiles } from '../../enclave/tsm-files.ts'

/** What the fake kernel does differently; each counter is used up by one request each. */
interface KernelFaults {
  /** Errno of the read of `outblob`, one per attempt. */
  outblob: string[]
  /** Errno of mkdir, one per attempt. */
  mkdir: string[]
  /** How many requests another writer disturbs. */
  interferences: number
  provider: string
  /** Replaces the text of `generation`. */
  generation: string | null
}

export interface FakeKernel {
  readonly files: TsmFiles
  readonly faults: KernelFaults
  /** Entries that were made, in order, and those that still exist. */
  readonly made: string[]
  readonly open: Set<string>
  readonly pauses: number[]
  readonly pause: (milliseconds: number) => Promise<void>
}

interface Entry {
  generation: number
  inblob: Bytes | null
}

const failure = (code: string): Error => Object.assign(new Error(`${code}: canary-path`), { code })

const ascii = (text: string): Bytes => Uint8Array.from(Buffer.from(text))

/** The configfs-tsm directory of a kernel, in memory: entries, generation counter, one quote per read. */
export function fakeKernel(quote: (reportData: Bytes) => Promise<Bytes>): FakeKernel {
  const entries = new Map<string, Entry>()
  const faults: KernelFaults = {
    outblob: [],
    mkdir: [],
    interferences: 0,
    provider: 'tdx_guest\n',
    generation: null,
  }
  const made: string[] = []
  const open = new Set<string>()
  const pauses: number[] = []

  const locate = (path: string): { entry: Entry; name: string } => {
    const at = path.lastIndexOf('/')
    const entry = entries.get(path.slice(0, at))
    if (entry === undefined) throw failure('ENOENT')
    return { entry, name: path.slice(at + 1) }
  }

  const outblob = async (entry: Entry): Promise<Bytes> => {
    const fault = faults.outblob.shift()
    if (fault !== undefined) throw failure(fault)
    if (entry.inblob?.length !== 64) throw failure('EINVAL')
    const blob = await quote(entry.inblob)
    if (faults.interferences > 0) {
      faults.interferences--
      entry.generation++
    }
    return blob
  }

  const files: TsmFiles = {
    async mkdir(path) {
      const fault = faults.mkdir.shift()
      if (fault !== undefined) throw failure(fault)
      if (entries.has(path)) throw failure('EEXIST')
      entries.set(path, { generation: 7, inblob: null })
      made.push(path)
      open.add(path)
    },
    async rmdir(path) {
      if (!entries.delete(path)) throw failure('ENOENT')
      open.delete(path)
    },
    async read(path) {
      const { entry, name } = locate(path)
      if (name === 'outblob') return outblob(entry)
      if (name === 'provider') return ascii(faults.provider)
      if (name === 'generation') return ascii(faults.generation ?? `${entry.generation}\n`)
      throw failure('ENOENT')
    },
    async writeOnce(path, bytes) {
      const { entry, name } = locate(path)
      if (name !== 'inblob') throw failure('EACCES')
      entry.inblob = bytes
      entry.generation++
    },
  }
  const pause = async (milliseconds: number): Promise<void> => {
    pauses.push(milliseconds)
  }
  return { files, faults, made, open, pauses, pause }
}
