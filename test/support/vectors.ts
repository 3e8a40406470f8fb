import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Real evidence that is not part of the project; tests that need it skip where the variable is unset. */
const VECTORS = process.env['VOUCHGATE_VECTORS'] ?? ''
export const hasVectors = VECTORS !== '' && existsSync(VECTORS)

/** Names of the cases below `folder` that start with `prefix` and hold all of `files`; none without vectors. */
export function vectorCases(folder: string, prefix: string, files: readonly string[]): string[] {
  if (!hasVectors) return []
  const root = join(VECTORS, folder)
  return readdirSync(root).filter(
    (name) => name.startsWith(prefix) && files.every((file) => existsSync(join(root, name, file))),
  )
}

export const vectorPath = (...parts: string[]): string => join(VECTORS, ...parts)
export const vectorText = (...parts: string[]): string => readFileSync(vectorPath(...parts), 'utf8')
export const vectorJson = (...parts: string[]): unknown => JSON.parse(vectorText(...parts))
export const vectorBytes = (...parts: string[]): Uint8Array => readFileSync(vectorPath(...parts))
