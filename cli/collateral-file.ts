import {
  decodeUtf8,
  parseCollateralBundle,
  parseJson,
  type BundleEntry,
  type CollateralName,
} from '@vouchgate/attestation'
import { existsSync } from 'node:fs'
import { open, rename, rm } from 'node:fs/promises'
import { randomUUID } from 'node:crypto'
import { CliError } from './errors.ts'
import { readInput } from './input.ts'

export type Bundle = Map<CollateralName, BundleEntry>

const MAX_BUNDLE = 8 << 20

/** Empty where there is no file yet. */
export async function readBundle(path: string): Promise<Bundle> {
  if (!existsSync(path)) return new Map()
  return new Map(parseCollateralBundle(parseJson(decodeUtf8(await readInput(path, MAX_BUNDLE)))))
}

export async function writeBundle(path: string, bundle: Bundle): Promise<void> {
  const documents = [...bundle]
    .map(([name, { collateral }]) => [name, collateral] as const)
    .toSorted(([left], [right]) => (left < right ? -1 : 1))
  await writeAtomically(path, `${JSON.stringify(Object.fromEntries(documents), null, 2)}\n`)
}

/** A reader sees the old file or the new one, never half of it. Throws `file_not_written`. */
export async function writeAtomically(path: string, text: string): Promise<void> {
  const temporary = `${path}.${randomUUID()}`
  try {
    const file = await open(temporary, 'wx', 0o644)
    try {
      await file.writeFile(text)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
  } catch {
    await rm(temporary, { force: true }).catch(() => undefined)
    throw new CliError('file_not_written')
  }
}
