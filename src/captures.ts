import { formatTime } from '@vouchgate/attestation'
import { join } from 'node:path'
import type { Recorder, Subject } from '../client/recorder.ts'
import type { Logger } from './log.ts'

/** A gateway verifies for years; whoever records wants to look at something now. */
const MAX_CAPTURES = 256

/** Writes captures of verifications below `dir`, the first 256 of this process. Failures are logged, never thrown. */
export function captureFolder(dir: string, log: Logger) {
  let written = 0
  return async (recorder: Recorder, subject: Subject): Promise<void> => {
    if (written >= MAX_CAPTURES) return
    written++
    const time = formatTime(subject.at).replaceAll(/[-:]/g, '')
    const name = `${subject.provider}_${time}_${subject.nonce?.slice(0, 8) ?? '0'}`
    try {
      await recorder.write(join(dir, name), subject)
    } catch {
      log({ event: 'capture_failed' })
    }
  }
}
