import { toHex, type Bytes } from './bytes.ts'

const MASK = (1n << 64n) - 1n
const RATE = 136
const ROUNDS = 24

const rotate = (lane: bigint, by: number): bigint =>
  by === 0 ? lane : ((lane << BigInt(by)) | (lane >> BigInt(64 - by))) & MASK

/** The round constants and rotations of Keccak-f[1600] follow from its own rules (FIPS 202 §3.2). */
const ROUND_CONSTANTS: readonly bigint[] = roundConstants()
const ROTATIONS: readonly number[] = rotations()

function roundConstants(): bigint[] {
  let register = 1
  return Array.from({ length: ROUNDS }, () => {
    let constant = 0n
    for (let bit = 0; bit <= 6; bit++) {
      if ((register & 1) === 1) constant |= 1n << BigInt(2 ** bit - 1)
      register = (register << 1) ^ (register >> 7 === 1 ? 0x171 : 0)
    }
    return constant
  })
}

function rotations(): number[] {
  const table = Array.from({ length: 25 }, () => 0)
  let [x, y] = [1, 0]
  for (let step = 0; step < 24; step++) {
    table[x + 5 * y] = (((step + 1) * (step + 2)) / 2) % 64
    ;[x, y] = [y, (2 * x + 3 * y) % 5]
  }
  return table
}

function permute(lanes: BigUint64Array): void {
  const at = (x: number, y: number): bigint => lanes[(x % 5) + 5 * (y % 5)] ?? 0n
  const rows = [0, 1, 2, 3, 4] as const
  for (const constant of ROUND_CONSTANTS) {
    const columns = rows.map((x) => rows.reduce((sum, y) => sum ^ at(x, y), 0n))
    const moved = new BigUint64Array(25)
    for (const x of rows) {
      const parity = (columns[(x + 4) % 5] ?? 0n) ^ rotate(columns[(x + 1) % 5] ?? 0n, 1)
      for (const y of rows) {
        moved[y + 5 * ((2 * x + 3 * y) % 5)] = rotate(at(x, y) ^ parity, ROTATIONS[x + 5 * y] ?? 0)
      }
    }
    const from = (x: number, y: number): bigint => moved[(x % 5) + 5 * y] ?? 0n
    for (const y of rows) {
      for (const x of rows)
        lanes[x + 5 * y] = from(x, y) ^ (~from(x + 1, y) & MASK & from(x + 2, y))
    }
    lanes[0] = (lanes[0] ?? 0n) ^ constant
  }
}

/** Keccak-256 with the padding that Ethereum uses, which is not SHA3-256's. Web Crypto has neither. */
export function keccak256(message: Uint8Array): Bytes {
  const padded = new Uint8Array(RATE * (Math.floor(message.length / RATE) + 1))
  padded.set(message)
  padded[message.length] = 0x01
  padded[padded.length - 1] = (padded[padded.length - 1] ?? 0) | 0x80
  const view = new DataView(padded.buffer)
  const lanes = new BigUint64Array(25)
  for (let block = 0; block < padded.length; block += RATE) {
    for (let lane = 0; lane < RATE / 8; lane++) {
      lanes[lane] = (lanes[lane] ?? 0n) ^ view.getBigUint64(block + 8 * lane, true)
    }
    permute(lanes)
  }
  const digest = new DataView(new ArrayBuffer(32))
  for (let lane = 0; lane < 4; lane++) digest.setBigUint64(8 * lane, lanes[lane] ?? 0n, true)
  return new Uint8Array(digest.buffer)
}

/** The Ethereum address, 40 lower-case hex digits, of a secp256k1 key given as `x ‖ y`. */
export const ethereumAddress = (point: Uint8Array): string => toHex(keccak256(point).subarray(12))
