import { GatewayError } from './errors.ts'

/** A part of a `multipart/form-data` body, as byte offsets of its value. */
export interface FormPart {
  readonly name: string
  readonly isFile: boolean
  /** Lower case; empty where the part names none. */
  readonly type: string
  readonly start: number
  readonly end: number
}

const MAX_PARTS = 64
const MAX_PART_HEADERS = 2048
const CRLF = Buffer.from('\r\n')
const HEADERS_END = Buffer.from('\r\n\r\n')
const CLOSING = Buffer.from('--')

const BOUNDARY =
  /^multipart\/form-data;\s*boundary=(?:"([\w'()+,./:=?-]{1,70})"|([\w'+.-]{1,70}))$/i
/** Neither an escape nor a percent sign: parsers disagree on what they mean. */
const DISPOSITION =
  /^content-disposition:\s*form-data;\s*name="([^"\\%\r\n]{1,64})"(;\s*filename="[^"\\\r\n]{0,1024}")?(;\s*filename\*=[\w'%.!#$&+^`|~-]{1,1024})?$/i
const TYPE = /^content-type:\s*([\w.+/-]{1,100}(?:;\s*[\w-]+="?[\w.+-]{1,100}"?)*)$/i

const invalid = (): GatewayError => new GatewayError('invalid_request')

/** Of a content type; null where it is not one of a form that is read here. */
export function formBoundary(contentType: string): string | null {
  const found = BOUNDARY.exec(contentType)
  return found?.[1] ?? found?.[2] ?? null
}

/**
 * The parts of a form. What two parsers could read differently is refused with `invalid_request`: text before the first
 * or after the last boundary, other headers than the two that forms have, escapes in names. At most 64 parts.
 */
export function readForm(bytes: Buffer, boundary: string): FormPart[] {
  const opening = Buffer.from(`--${boundary}`)
  const delimiter = Buffer.from(`\r\n--${boundary}`)
  if (!standsAt(bytes, 0, opening)) throw invalid()
  const parts: FormPart[] = []
  let at = opening.length
  while (!standsAt(bytes, at, CLOSING)) {
    if (parts.length === MAX_PARTS || !standsAt(bytes, at, CRLF)) throw invalid()
    const headers = at + CRLF.length
    const headersEnd = bytes.subarray(headers, headers + MAX_PART_HEADERS).indexOf(HEADERS_END)
    if (headersEnd === -1) throw invalid()
    const start = headers + headersEnd + HEADERS_END.length
    const end = bytes.indexOf(delimiter, start)
    if (end === -1) throw invalid()
    parts.push({
      ...readHeaders(bytes.toString('utf8', headers, headers + headersEnd)),
      start,
      end,
    })
    at = end + delimiter.length
  }
  const rest = bytes.subarray(at + CLOSING.length)
  if (rest.length > 0 && !rest.equals(CRLF)) throw invalid()
  return parts
}

const standsAt = (bytes: Buffer, at: number, wanted: Buffer): boolean =>
  bytes.subarray(at, at + wanted.length).equals(wanted)

/** A disposition and at most a type, in either order. */
function readHeaders(text: string): Pick<FormPart, 'name' | 'isFile' | 'type'> {
  const lines = text.split('\r\n')
  const types = lines.flatMap((line) => TYPE.exec(line)?.[1] ?? [])
  const [disposition] = lines.flatMap((line) => {
    const found = DISPOSITION.exec(line)
    return found === null ? [] : [found]
  })
  const [, name, ...files] = disposition ?? []
  if (name === undefined || types.length > 1 || lines.length !== types.length + 1) throw invalid()
  const [type = ''] = types
  return { name, isFile: files.some((file) => file !== undefined), type: type.toLowerCase() }
}
