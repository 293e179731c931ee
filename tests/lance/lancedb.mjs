// LanceDB on one side, our library behind lance_tool on the other, and rows in one spelling, so that
// the two can be compared: integers of 64 bits as text, bytes as hex, floats as they are.
import { execFileSync, spawn } from 'node:child_process'
import { join } from 'node:path'
import * as arrow from 'apache-arrow'
import * as lancedb from '@lancedb/lancedb'

export { arrow, lancedb }
export const tool = join(process.env.BUILD ?? 'build', 'tests/lance/lance_tool')

export function ours(root, command, table, ...words) {
  try {
    return execFileSync(tool, [root, command, table, ...words.map(String)],
      { encoding: 'utf8', maxBuffer: 1 << 30, stdio: ['ignore', 'pipe', 'pipe'] })
  } catch (error) {
    throw new Error(`lance_tool ${command} ${table}: ${error.stderr}`)
  }
}

export const oursLater = (root, command, table, ...words) => new Promise((done, broken) => {
  const child = spawn(tool, [root, command, table, ...words.map(String)])
  let said = ''
  child.stderr.on('data', data => { said += data })
  child.on('close', status => status ? broken(new Error(said)) : done())
})

export const info = (root, table) => JSON.parse(ours(root, 'info', table))

export const oursRows = (root, table, ...words) =>
  ours(root, 'dump', table, ...words).split('\n').filter(Boolean).map(line => JSON.parse(line))

const hex = bytes => Buffer.from(bytes).toString('hex')

function real(value) {
  if (Number.isNaN(value)) return 'NaN'
  if (!Number.isFinite(value)) return String(value)
  return value
}

// The raw integer of a value of a time type, which Arrow's JavaScript turns into milliseconds.
function rawInteger(vector, row) {
  for (const data of vector.data) {
    if (row < data.length) {
      const raw = data.values
      const at = raw instanceof BigInt64Array || raw.length === data.length ? row : 2 * row
      if (raw instanceof Int32Array && raw.length >= 2 * data.length && data.type.bitWidth !== 32 && !arrow.DataType.isDate(data.type))
        return String(new BigInt64Array(raw.buffer, raw.byteOffset, data.length)[row])
      return raw instanceof Int32Array ? raw[at] : String(raw[at])
    }
    row -= data.length
  }
}

function plain(vector, row, type) {
  const value = vector.get(row)
  if (value === null || value === undefined) return null
  if (arrow.DataType.isFloat(type) && type.precision === arrow.Precision.HALF) return Number(rawInteger(vector, row)) // its bits
  if (arrow.DataType.isTimestamp(type) || arrow.DataType.isTime(type) || arrow.DataType.isDate(type) ||
      arrow.DataType.isDuration(type)) return rawInteger(vector, row)
  if (arrow.DataType.isFixedSizeList(type)) return [...value].map(item => item === null ? null : typeof item === 'bigint' ? String(item) : real(item))
  if (arrow.DataType.isDecimal(type)) return hex(new Uint8Array(value.buffer, value.byteOffset, 16))
  if (value instanceof Uint8Array) return hex(value)
  if (typeof value === 'bigint') return String(value)
  return typeof value === 'number' ? real(value) : value
}

export async function theirRows(table, { withRowId = true, ...options } = {}) {
  let query = table.query().limit(10000000)
  if (withRowId) query = query.withRowId()
  if (options.where) query = query.where(options.where)
  const rows = await rowsOf(query)
  return rows.sort((a, b) => (BigInt(a._addr ?? 0) < BigInt(b._addr ?? 0) ? -1 : 1))
}

// In the order of the answer.
export async function rowsOf(query) {
  const result = await query.toArrow(), rows = []
  const columns = result.schema.fields.map(f => [f.name === '_rowid' ? '_addr' : f.name, result.getChild(f.name), f.type])
  for (let i = 0; i < result.numRows; i++) {
    const row = {}
    for (const [name, vector, type] of columns) row[name] = plain(vector, i, type)
    rows.push(row)
  }
  return rows
}

// The first difference in words, or undefined.
export function difference(left, right) {
  if (left.length !== right.length) return `${left.length} rows and ${right.length}`
  for (let i = 0; i < left.length; i++)
    for (const name of Object.keys(left[i])) {
      const a = JSON.stringify(left[i][name]), b = JSON.stringify(right[i][name])
      if (a !== b) return `row ${i}, ${name}: ${a?.slice(0, 200)} and ${b?.slice(0, 200)}`
    }
}

export async function agree(root, table, theirs) {
  const why = difference(oursRows(root, table), await theirRows(theirs))
  if (why) throw new Error(`ours and LanceDB's rows differ: ${why}`)
}
