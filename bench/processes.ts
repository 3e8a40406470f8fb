import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'

const children: ChildProcess[] = []

/** Starts a role of `servers.ts` in a process of its own, and gives what it printed when it was ready. */
export async function start<T>(role: string, input: object): Promise<T> {
  const child = spawn(
    process.execPath,
    [
      '--conditions=vouchgate-source',
      new URL('servers.ts', import.meta.url).pathname,
      role,
      JSON.stringify(input),
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  children.push(child)
  const [line]: string[] = await once(createInterface({ input: child.stdout }), 'line')
  return JSON.parse(line ?? '')
}

export function stopAll(): void {
  for (const child of children) child.kill()
}
