import { concatBytes, type Bytes } from '../bytes.ts'
import { EvidenceError } from '../errors.ts'

/** Unpacks gzip, at most `max` bytes. Throws `ra_tls_malformed`. */
export async function gunzip(bytes: Bytes, max: number): Promise<Bytes> {
  const reader = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip')).getReader()
  const parts: Uint8Array[] = []
  let length = 0
  for (;;) {
    const value = await next(reader)
    if (value === null) return concatBytes(...parts)
    length += value.length
    if (length > max) {
      await reader.cancel()
      throw new EvidenceError('ra_tls_malformed')
    }
    parts.push(value)
  }
}

async function next(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<Uint8Array | null> {
  try {
    const { value } = await reader.read()
    return value ?? null
  } catch {
    throw new EvidenceError('ra_tls_malformed')
  }
}
