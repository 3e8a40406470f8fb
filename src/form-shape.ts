import { GatewayError } from './errors.ts'
import { formBoundary, readForm, type FormPart } from './form.ts'
import type { Edit } from './json-members.ts'

/** What the gateway needs to know of a form with a recording. It holds no content. */
export interface FormShape {
  readonly model: string
  readonly stream: boolean
  readonly answers: 'json' | 'text'
  /** Where the value of `model` stands. */
  readonly modelAt: Omit<Edit, 'text'>
  readonly contentType: string
}

const READ = ['model', 'stream', 'response_format'] as const
const MAX_VALUE = 256
const PLAIN = /^(?:text\/plain(?:;\s*charset="?utf-8"?)?)?$/
const JSON_FORMATS = ['json', 'verbose_json', 'diarized_json']
const TEXT_FORMATS = ['text', 'srt', 'vtt']

const invalid = (): GatewayError => new GatewayError('invalid_request')

/** Reads three fields and copies nothing else. Throws `unsupported_media_type`, `invalid_request`, `duplicate_member` or `invalid_constraint`. */
export function readFormShape(bytes: Buffer, contentType: string): FormShape {
  const boundary = formBoundary(contentType)
  if (boundary === null) throw new GatewayError('unsupported_media_type')
  const parts = readForm(bytes, boundary)
  for (const { name } of parts) checkName(name)
  if (!parts.some(({ name, isFile }) => name === 'file' && isFile)) throw invalid()
  const [model, stream, format] = READ.map((name) => onlyField(parts, name))
  if (model === undefined || model === null) throw invalid()
  const name = textOf(bytes, model)
  if (name === '') throw invalid()
  return {
    model: name,
    stream: readStream(stream ? textOf(bytes, stream) : 'false'),
    answers: readFormat(format ? textOf(bytes, format) : 'json'),
    modelAt: { start: model.start, end: model.end },
    contentType,
  }
}

/** A form has no place for the constraints of ACI §5.3, and one must never be ignored. Some parsers read `model[]` as `model`. */
function checkName(name: string): void {
  if (/^(?:provider|aci_)/i.test(name)) throw new GatewayError('invalid_constraint')
  const [base = ''] = name.split('[')
  const reads = READ.some((each) => each === base.toLowerCase().trim())
  if (name === '_charset_' || (reads && !READ.some((each) => each === name))) throw invalid()
}

function onlyField(parts: readonly FormPart[], name: string): FormPart | null {
  const [found, ...more] = parts.filter((part) => part.name === name)
  if (more.length > 0) throw new GatewayError('duplicate_member')
  if (found === undefined) return null
  if (found.isFile || found.end - found.start > MAX_VALUE || !PLAIN.test(found.type))
    throw invalid()
  return found
}

function textOf(bytes: Buffer, { start, end }: FormPart): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(
      bytes.subarray(start, end),
    )
  } catch {
    throw invalid()
  }
}

/** As OpenAI's SDKs write it; other spellings are true to some parsers and false to others. */
function readStream(value: string): boolean {
  if (value !== 'true' && value !== 'false') throw invalid()
  return value === 'true'
}

function readFormat(value: string): FormShape['answers'] {
  if (JSON_FORMATS.includes(value)) return 'json'
  if (TEXT_FORMATS.includes(value)) return 'text'
  throw invalid()
}
