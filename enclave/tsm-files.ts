import { constants } from 'node:fs'
import { mkdir, open, rmdir } from 'node:fs/promises'
import type { Bytes } from '@vouchgate/attestation'
import { EnclaveError } from './quote-source.ts'

/** The four file operations of the configfs-tsm protocol. They reject with Node's errors. */
export interface TsmFiles {
  mkdir(path: string): Promise<void>
  rmdir(path: string): Promise<void>
  /** Everything up to the end, of which there may be at most `limit` bytes (`quote_malformed`). */
  read(path: string, limit: number): Promise<Bytes>
  /** The bytes in a single write(2): the kernel counts writes. */
  writeOnce(path: string, bytes: Bytes): Promise<void>
}

export const nodeTsmFiles: TsmFiles = {
  async mkdir(path) {
    await mkdir(path)
  },
  rmdir: (path) => rmdir(path),
  read: readToEnd,
  writeOnce,
}

/** Attributes report a size of 0 or of their maximum, so only the end of the file tells. */
async function readToEnd(path: string, limit: number): Promise<Bytes> {
  const handle = await open(path, constants.O_RDONLY)
  try {
    const buffer = new Uint8Array(limit + 1)
    let length = 0
    while (length <= limit) {
      const { bytesRead } = await handle.read(buffer, length, buffer.length - length, null)
      if (bytesRead === 0) return buffer.slice(0, length)
      length += bytesRead
    }
    throw new EnclaveError('quote_malformed')
  } finally {
    await handle.close()
  }
}

/** Neither creates nor truncates: only the kernel makes attributes. */
async function writeOnce(path: string, bytes: Bytes): Promise<void> {
  const handle = await open(path, constants.O_WRONLY)
  try {
    const { bytesWritten } = await handle.write(bytes)
    if (bytesWritten !== bytes.length) throw new EnclaveError('quote_interference')
  } finally {
    await handle.close()
  }
}
