// usage: node check_table.mjs TABLE_DIRECTORY EXPECTED.ndjson
// Reads the table with icebird and compares it with rows that another program wrote down; then
// checks that the bounds in its manifests, as icebird decodes them, are the extremes of the rows.
import { readFileSync } from 'node:fs'
import { icebergManifests } from 'icebird'
import { currentSchema, difference } from './compare.mjs'
import { readTable } from './icebird.mjs'

// Bounds come as a map of field ids, or as a list of keys and values.
function boundOf(bounds, id) {
  if (!bounds) return undefined
  if (!Array.isArray(bounds)) return bounds[id]
  return bounds.find(entry => Number(entry.key) === id)?.value
}

function numberOf(bytes, type) {
  const view = Buffer.from(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes)
  return type === 'long' ? view.readBigInt64LE() : BigInt(view.readInt32LE())
}

// For whole-number columns the least lower bound is the least value, and so for the upper ones.
async function boundsDifference(metadata, rows) {
  const files = (await icebergManifests(metadata)).flatMap(manifest => manifest.entries)
    .filter(entry => entry.status !== 2).map(entry => entry.data_file)
  for (const field of currentSchema(metadata).fields) {
    if (field.type !== 'int' && field.type !== 'long') continue
    const values = rows.map(row => row[field.name]).filter(v => v !== null && v !== undefined).map(BigInt)
    if (values.length === 0) continue
    const ends = name => files.map(file => boundOf(file[name], field.id))
      .filter(bound => bound !== undefined).map(bound => numberOf(bound, field.type))
    const least = ends('lower_bounds').reduce((a, b) => (a < b ? a : b))
    const most = ends('upper_bounds').reduce((a, b) => (a > b ? a : b))
    const low = values.reduce((a, b) => (a < b ? a : b)), high = values.reduce((a, b) => (a > b ? a : b))
    if (least !== low || most !== high)
      return `the bounds of '${field.name}' are ${least}..${most}, its values ${low}..${high}`
  }
  return null
}

const [directory, expectedFile] = process.argv.slice(2)
const { metadata, rows } = await readTable(directory)
const expected = readFileSync(expectedFile, 'utf8').trim().split('\n').map(line => JSON.parse(line))
const why = difference(currentSchema(metadata), rows, expected) ?? await boundsDifference(metadata, rows)
console.log(why ?? `${rows.length} rows agree`)
process.exit(why ? 1 : 0)
