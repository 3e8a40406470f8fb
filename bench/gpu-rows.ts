import {
  encodeUtf8,
  parseGpuEvidence,
  verifyGpuEvidence,
  verifyRim,
  type Bytes,
} from '@vouchgate/attestation'
import { randomBytes } from 'node:crypto'
import { TEST_TIME } from '../test/support/clock.ts'
import { evidenceList, newGpu, newNvidiaVendor } from '../test/support/nvidia-gpu.ts'
import { newRimVendor } from '../test/support/nvidia-rim.ts'
import { median, milliseconds, signaturesOf } from './timing.ts'

/** `cold`: chains or documents never seen before; `warm`: the same devices with a new nonce, the same document. */
export interface GpuRow {
  readonly name: string
  readonly ms: number
  /** P-384 signatures that are checked. */
  readonly signatures: number
  /** Of the time, the part in which at least one of them is computed. */
  readonly signatureShare: number
}

type Run = () => Promise<unknown>

const vendor = newNvidiaVendor()
const rimVendor = newRimVendor(vendor.pki)
const newNonce = (): Bytes => Uint8Array.from(randomBytes(32))

/** Parsing and every step of the verification of what these devices answer to a new nonce. */
function verificationOf(devices: readonly ReturnType<typeof newGpu>[]): Run {
  const nonce = newNonce()
  const json = evidenceList(devices, nonce)
  return async () =>
    verifyGpuEvidence({
      evidence: parseGpuEvidence(json),
      nonce,
      now: TEST_TIME,
      roots: vendor.pki.roots,
    })
}

const newGpus = (count: number): ReturnType<typeof newGpu>[] =>
  Array.from({ length: count }, () => newGpu(vendor))

const rimVerification = (document: Bytes): Run => {
  const input = { now: TEST_TIME, roots: vendor.pki.roots }
  return async () => verifyRim(document, input)
}

/** Medians of `rounds` runs of compiled code. What a run needs is made before its time is taken. */
export async function gpuRows(rounds: number): Promise<GpuRow[]> {
  const [one, eight] = [newGpus(1), newGpus(8)]
  let revision = 0
  const newRim = (): Bytes =>
    encodeUtf8(rimVendor.rim({ fields: { tagId: (++revision).toString(16).padStart(96, '0') } }))
  const rim = newRim()
  const runs: readonly (readonly [string, () => Run])[] = [
    ['one GPU, cold', () => verificationOf(newGpus(1))],
    ['one GPU, warm', () => verificationOf(one)],
    ['eight GPUs, cold', () => verificationOf(newGpus(8))],
    ['eight GPUs, warm', () => verificationOf(eight)],
    ['new RIM, known signer', () => rimVerification(newRim())],
    ['known RIM', () => rimVerification(rim)],
  ]
  for (const [, prepare] of runs) for (let at = 0; at < 5; at++) await prepare()()
  const rows: GpuRow[] = []
  for (const [name, prepare] of runs) rows.push(await measured(name, prepare, rounds))
  return rows
}

async function measured(name: string, prepare: () => Run, rounds: number): Promise<GpuRow> {
  const times: number[] = []
  const shares: number[] = []
  let signatures = 0
  for (let round = 0; round < rounds; round++) {
    times.push(await milliseconds(prepare()))
    let seen = { count: 0, spent: 0 }
    const run = prepare()
    const observed = await milliseconds(async () => {
      seen = await signaturesOf(run)
    })
    signatures = seen.count
    shares.push(seen.spent / observed)
  }
  const two = (value: number): number => Number(value.toFixed(2))
  return { name, ms: two(median(times)), signatures, signatureShare: two(median(shares)) }
}
