import { channel } from 'node:diagnostics_channel'
import { readFileSync } from 'node:fs'
import { url as inspectorUrl } from 'node:inspector'
import { isatty } from 'node:tty'

/** What the self-check looks at. Each member may throw; the fact is then `unknown`. */
export interface Probe {
  readonly execArgv: readonly string[]
  readonly environmentNames: readonly string[]
  /** Absolute. */
  readonly cwd: string
  readFile(path: string): string
  mayWriteFiles(): boolean
  hasSubscribers(channel: string): boolean
  isTerminal(descriptor: number): boolean
  isInspectorActive(): boolean
}

/** This process. */
export const processProbe = (): Probe => ({
  execArgv: process.execArgv,
  environmentNames: Object.keys(process.env),
  cwd: process.cwd(),
  readFile: (path) => readFileSync(path, 'latin1'),
  // Without --permission there is no `process.permission`, whatever its type says.
  mayWriteFiles: () => !('permission' in process) || process.permission.has('fs.write'),
  hasSubscribers: (name) => channel(name).hasSubscribers,
  isTerminal: isatty,
  isInspectorActive: () => inspectorUrl() !== undefined,
})
