// usage: node check_table.mjs TABLE_DIRECTORY EXPECTED.ndjson
// Reads the table with icebird and compares it with rows that another program wrote down.
import { readFileSync } from 'node:fs'
import { currentSchema, difference } from './compare.mjs'
import { readTable } from './icebird.mjs'

const [directory, expectedFile] = process.argv.slice(2)
const { metadata, rows } = await readTable(directory)
const expected = readFileSync(expectedFile, 'utf8').trim().split('\n').map(line => JSON.parse(line))
const why = difference(currentSchema(metadata), rows, expected)
console.log(why ?? `${rows.length} rows agree`)
process.exit(why ? 1 : 0)
