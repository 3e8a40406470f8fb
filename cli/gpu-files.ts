import {
  fromBase64,
  isVerificationError,
  verifyRim,
  type Bytes,
  type GenuineRim,
  type NvidiaRoots,
  type UnixSeconds,
} from '@vouchgate/attestation'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { CliError } from './errors.ts'
import { readInput } from './input.ts'

const MAX_FILES = 512
const MAX_RIM = 1 << 20
const MAX_OCSP = 1 << 16
const RIM_FILE = /\.(?:xml|swidtag)$/i
const OCSP_FILE = /\.(?:der|ocsp|resp|b64)$/i
const DER_SEQUENCE = 0x30

/** Contents of the files of a folder whose names fit, in the order of the names. */
async function readFolder(folder: string, name: RegExp, max: number): Promise<Bytes[]> {
  const names = await readdir(folder).catch(() => {
    throw new CliError('file_unreadable')
  })
  const chosen = names.filter((file) => name.test(file)).toSorted()
  if (chosen.length > MAX_FILES) throw new CliError('folder_too_large')
  const contents: Bytes[] = []
  for (const file of chosen) contents.push(await readInput(join(folder, file), max))
  return contents
}

export interface RimFolder {
  readonly rims: readonly GenuineRim[]
  /** Why the others are not used. */
  readonly refused: readonly Error[]
}

/**
 * The reference values of a folder (`*.xml`, `*.swidtag`) that are genuine at this time. One that is not, or not
 * yet, is as good as absent: it matters where a device would need it.
 */
export async function readRims(
  folder: string,
  now: UnixSeconds,
  roots: NvidiaRoots,
): Promise<RimFolder> {
  const documents = await readFolder(folder, RIM_FILE, MAX_RIM)
  const rims: GenuineRim[] = []
  const refused: Error[] = []
  for (const document of documents) {
    try {
      rims.push(await verifyRim(document, { now, roots }))
    } catch (error) {
      if (!isVerificationError(error)) throw error
      refused.push(error)
    }
  }
  return { rims, refused }
}

/** The OCSP responses of a folder (`*.der`, `*.ocsp`, `*.resp`, `*.b64`), in DER or base64. */
export async function readOcsp(folder: string): Promise<Bytes[]> {
  const contents = await readFolder(folder, OCSP_FILE, MAX_OCSP)
  return contents.map((bytes) => (bytes[0] === DER_SEQUENCE ? bytes : base64(bytes)))
}

const base64 = (bytes: Bytes): Bytes =>
  fromBase64(new TextDecoder().decode(bytes).replaceAll(/\s/g, ''))
