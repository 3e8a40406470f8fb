import { spawn, type ChildProcess } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { z } from 'zod'
import { copiedPaths } from './dockerfile.ts'

export const ROOT = fileURLToPath(new URL('../../', import.meta.url))
export const DOCKERFILE = readFileSync(join(ROOT, 'Dockerfile.tdx'), 'utf8')

/** The PATH of the image, as it were: the node that runs the tests, and the system. */
export const CLEAN_PATH = `${dirname(process.execPath)}:/usr/local/bin:/usr/bin:/bin`

/** What Dockerfile.tdx copies out of the checkout, in a new folder, without what its ignore file leaves out. */
export function copyContext(): string {
  const folder = mkdtempSync(join(tmpdir(), 'vouchgate-image-'))
  for (const { from, to } of copiedPaths(DOCKERFILE)) {
    for (const path of from) {
      const source = join(ROOT, path)
      const target = to.endsWith(`${path}/`) ? join(folder, to) : join(folder, to, basename(path))
      cpSync(source, target, { recursive: true, filter: isInContext })
    }
  }
  return folder
}

const isInContext = (path: string): boolean =>
  !/(?:^|\/)(?:dist|node_modules)$|\.tsbuildinfo$/.test(path)

const lockFile = z.object({
  packages: z.record(
    z.string(),
    z.object({
      dev: z.boolean().optional(),
      optional: z.boolean().optional(),
      devOptional: z.boolean().optional(),
      link: z.boolean().optional(),
      resolved: z.string().optional(),
    }),
  ),
})

/** The production packages of the lock file, from this checkout's own node_modules: no registry is asked. */
export function copyProductionPackages(folder: string): void {
  const { packages } = lockFile.parse(
    JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')),
  )
  for (const [path, entry] of Object.entries(packages)) {
    const unwanted = entry.dev ?? entry.optional ?? entry.devOptional ?? false
    if (unwanted || !path.startsWith('node_modules/')) continue
    const target = join(folder, path)
    mkdirSync(dirname(target), { recursive: true })
    if (entry.link === true) symlinkSync(join(folder, entry.resolved ?? ''), target)
    else if (!existsSync(target)) cpSync(join(ROOT, path), target, { recursive: true })
  }
}

export interface Ended {
  readonly status: number | null
  readonly out: string
  readonly err: string
}

/** Waits for a process and keeps what it printed. */
export async function ended(child: ChildProcess): Promise<Ended> {
  let out = ''
  let err = ''
  child.stdout?.on('data', (chunk: Buffer) => {
    out += chunk.toString()
  })
  child.stderr?.on('data', (chunk: Buffer) => {
    err += chunk.toString()
  })
  const status = await new Promise<number | null>((resolve) => {
    child.on('close', resolve)
  })
  return { status, out, err }
}

export const spawnIn = (
  folder: string,
  command: readonly string[],
  env: Record<string, string>,
): ChildProcess => {
  const [file = '', ...args] = command
  return spawn(file, args, { cwd: folder, env, stdio: ['ignore', 'pipe', 'pipe'] })
}
