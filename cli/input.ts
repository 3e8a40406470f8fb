import {
  decodeUtf8,
  encodeUtf8,
  fromBase64,
  fromHex,
  parseGpuPolicy,
  parseJson,
  parsePolicy,
  parseTime,
  type Bytes,
  type GpuPolicy,
  type JsonValue,
  type Policy,
  type UnixSeconds,
} from '@vouchgate/attestation'
import { InvalidArgumentError } from 'commander'
import { createReadStream } from 'node:fs'
import { readBounded } from '../client/bounded.ts'
import { ConfigError } from '../src/config/index.ts'
import { parseYaml } from '../src/config/yaml.ts'
import { CliError } from './errors.ts'

const MAX_INPUT = 32 << 20
const MAX_POLICY = 1 << 20
const MAX_QUOTE_TEXT = 1 << 18

/** At most `max` bytes of a file or pipe. Throws `file_unreadable`, `file_too_large`. */
export async function readInput(path: string, max = MAX_INPUT): Promise<Bytes> {
  const bytes = await readBounded(createReadStream(path), max).catch(() => {
    throw new CliError('file_unreadable')
  })
  if (bytes === null) throw new CliError('file_too_large')
  return bytes
}

export const readText = async (path: string, max?: number): Promise<string> =>
  decodeUtf8(await readInput(path, max))

export const readJson = async (path: string): Promise<JsonValue> => parseJson(await readText(path))

export const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** One YAML or JSON document. Throws `yaml_malformed`. */
export async function readYaml(path: string): Promise<unknown> {
  const text = await readText(path, MAX_POLICY)
  try {
    return parseYaml(text)
  } catch (error) {
    throw error instanceof ConfigError ? new CliError('yaml_malformed', error.problems) : error
  }
}

/** A policy, YAML or JSON, that names its workload or says `workload: any`. */
export async function readPolicy(path: string): Promise<Policy> {
  const value = await readYaml(path)
  if (isRecord(value) && !('workload' in value)) throw new CliError('policy_without_workload')
  return parsePolicy(value)
}

/** A policy for one quote alone: genuineness is the question there, so `workload` may be left out. */
export async function readQuotePolicy(path: string): Promise<Policy> {
  const value = await readYaml(path)
  return parsePolicy(isRecord(value) ? { workload: 'any', ...value } : value)
}

/** A policy for GPU evidence, YAML or JSON; a rule left out takes its strictest value. */
export const readGpuPolicy = async (path: string): Promise<GpuPolicy> =>
  parseGpuPolicy(await readYaml(path))

const HEX_TEXT = /^(?:0x)?((?:[0-9a-fA-F]{2})+)$/

/** A quote as raw bytes, hex or base64: a raw one always holds bytes that no text has. */
export async function readQuote(path: string): Promise<Bytes> {
  const bytes = await readInput(path, MAX_QUOTE_TEXT)
  if (bytes.some((byte) => byte >= 0x80 || (byte < 0x20 && !isSpace(byte)))) return bytes
  const text = decodeUtf8(bytes).replaceAll(/\s/g, '')
  const hex = HEX_TEXT.exec(text)?.[1]
  return hex === undefined ? fromBase64(text) : fromHex(hex)
}

const SPACES = encodeUtf8(' \t\r\n')
const isSpace = (byte: number): boolean => SPACES.includes(byte)

/** `YYYY-MM-DDTHH:MM:SSZ`, of which a fraction is dropped, or seconds since 1970. */
export function parseMoment(text: string): UnixSeconds {
  if (/^\d{1,12}$/.test(text)) return Number(text)
  try {
    return parseTime(text.replace(/\.\d{1,9}Z$/, 'Z'))
  } catch {
    throw new InvalidArgumentError('a time is YYYY-MM-DDTHH:MM:SSZ or unix seconds.')
  }
}

const LISTEN = /^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):(\d{1,5})$/

/** `HOST:PORT`, an IPv6 address in brackets. */
export function parseListen(text: string): { host: string; port: number } {
  const [, host = '', port = ''] = LISTEN.exec(text) ?? []
  if (host === '' || Number(port) > 65_535) {
    throw new InvalidArgumentError('an address is HOST:PORT.')
  }
  return { host: host.replaceAll(/[[\]]/g, ''), port: Number(port) }
}
