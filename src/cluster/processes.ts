import cluster from 'node:cluster'
import { workerFlags } from '../../enclave/index.ts'
import { ClusterError } from './error.ts'
import type { FromLeader, FromWorker } from './messages.ts'

/** One process that the leader has started. */
export interface WorkerProcess {
  /** Counts from 1; a replacement has a new one. */
  readonly number: number
  readonly pid: number
  send(message: FromLeader): void
  onMessage(listener: (message: unknown) => void): void
  onExit(listener: (code: number | null, signal: string | null) => void): void
  kill(): void
}

/** A worker's end of the pipe. */
export interface LeaderPort {
  send(message: FromWorker): void
  onMessage(listener: (message: unknown) => void): void
}

/** Which worker this process is; null where it is none. */
export const workerNumber = (): number | null => cluster.worker?.id ?? null

/** What node says this process may do; undefined without `--permission`, whatever its type says. */
type Permission = Pick<typeof process.permission, 'has'> | undefined

/** Throws `workers_not_permitted`. */
export function requirePermission(permission: Permission = process.permission): void {
  const limited = permission !== undefined && !permission.has('child')
  if (limited) throw new ClusterError('workers_not_permitted')
}

// The end of a pipe shows as the end of the process behind it.
const sent = (): void => undefined

/**
 * Starts this very command line again, with the flags of the launch contract alone: what sees prompts may start nothing.
 * Node passes accepted connections round; the bytes of a connection are read by its worker.
 */
export function forkWorker(): WorkerProcess {
  cluster.setupPrimary({ execArgv: workerFlags(process.execArgv), serialization: 'advanced' })
  const worker = cluster.fork()
  const { process: child } = worker
  return {
    number: worker.id,
    pid: child.pid ?? 0,
    send: (message) => {
      if (child.connected) child.send(message, sent)
    },
    onMessage: (listener) => {
      child.on('message', listener)
    },
    onExit: (listener) => {
      child.once('exit', listener)
      // What could not be started at all never exits.
      worker.on('error', () => {
        if (child.pid === undefined) listener(null, null)
      })
    },
    kill: () => {
      child.kill('SIGKILL')
    },
  }
}

/**
 * To the process that started this one. Node ends a worker whose leader has gone (the `disconnect` event); signals that
 * reach the whole group are the leader's to act on.
 */
export function leaderPort(): LeaderPort {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => undefined)
  return {
    send: (message) => {
      process.send?.(message, undefined, undefined, sent)
    },
    onMessage: (listener) => {
      process.on('message', listener)
    },
  }
}

/** Ends the process once nothing is left to do in it. */
export const leaveLeader = (): void => process.disconnect?.()
