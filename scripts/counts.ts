import { writeFileSync } from 'node:fs'

/** How many cases of a script passed, failed or could not run. */
export interface Counts {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
}

/** Leaves the counts where `--outputFile.json=FILE` says, by the names that vitest's JSON reporter uses. */
export function writeCounts({ passed, failed, skipped }: Counts): void {
  const option = '--outputFile.json='
  const output = process.argv.find((argument) => argument.startsWith(option))
  if (output === undefined) return
  const report = {
    numPassedTests: passed,
    numFailedTests: failed,
    numPendingTests: skipped,
    numFailedTestSuites: 0,
  }
  writeFileSync(output.slice(option.length), JSON.stringify(report))
}
