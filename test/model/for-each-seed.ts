/** Runs seeds, some at a time: one that waits for a timeout leaves the processor to the others. */

/** The first and the last seed. */
export type SeedRange = readonly [first: number, last: number]

const AT_ONCE = 6

export async function forEachSeed(
  [first, last]: SeedRange,
  run: (seed: number) => Promise<void>,
): Promise<void> {
  let next = first
  const runSome = async () => {
    while (next <= last) await run(next++)
  }
  await Promise.all(Array.from({ length: AT_ONCE }, runSome))
}
