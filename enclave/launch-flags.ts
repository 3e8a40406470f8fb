import { fileURLToPath } from 'node:url'

/** The list that `scripts/launch.sh` reads as well. */
export const LAUNCH_FLAGS_PATH: string = fileURLToPath(new URL('launch-flags.txt', import.meta.url))

/** One flag per line; blank lines and lines that start with `#` are not flags. */
export const parseLaunchFlags = (text: string): string[] =>
  text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))

const READ_FLAG = '--allow-fs-read='
/** Of the leader of several workers, which sees no prompt; see `scripts/launch.sh --workers`. */
export const LEADER_FLAG = '--allow-child-process'
const EVERYTHING = new Set(['', '*', '/', '/*'])

/**
 * Whether node was started with exactly `flags`, in order, then the right to read named paths. One flag more
 * (an inspector, a heap snapshot, a trace) can write prompts to a file; the right to read everything is no limit.
 */
export function isLaunchContract(execArgv: readonly string[], flags: readonly string[]): boolean {
  const reads = execArgv.slice(flags.length)
  return (
    flags.every((flag, index) => execArgv[index] === flag) &&
    reads.length > 0 &&
    reads.every(
      (flag) => flag.startsWith(READ_FLAG) && !EVERYTHING.has(flag.slice(READ_FLAG.length)),
    )
  )
}

/** The flags of the processes that a leader starts: they see prompts, and may start nothing. */
export const workerFlags = (execArgv: readonly string[]): string[] =>
  execArgv.filter((flag) => flag !== LEADER_FLAG)
