/** A million random inputs for the CRC engines. */

import { testRandomInputs } from './random-inputs.ts'

testRandomInputs(1_000_000)
