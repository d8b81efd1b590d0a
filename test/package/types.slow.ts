/** The declarations of the packed package, for every TypeScript that the package supports. */

import t from 'tap'
import { pack } from '../helpers/packed-package.ts'
import { BOTH, testCompilers } from './compilers.ts'

const packed = await pack(t)

t.test('a program of a user compiles, and its mistakes do not', async t => {
  await testCompilers(t, packed, [
    { module: 'typescript54', version: '5.4', files: ['use.mts'] },
    { module: 'typescript59', version: '5.9', files: BOTH },
    { module: 'typescript', version: '6.0', files: BOTH },
    { module: 'typescript7', version: '7.0', files: BOTH, nodeTypes: 'types-node26' },
    { module: 'typescript7', version: '7.0', files: ['use.mts'], moduleResolution: 'bundler' },
  ])
})
