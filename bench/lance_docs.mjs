// benchmark: a table of 100,000 vectors of 768 floats created, and a document fetched by its id, beside LanceDB
// In this process with a btree and without, and from a running server through HTTP.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { arrow, lancedb } from '../tests/lance/lancedb.mjs'
import { startMade } from './made_index.mjs'
import { build, printTable, quick } from './report.mjs'

const rows = quick ? 10000 : 100000, dimension = 768, fetches = quick ? 1000 : 10000
const run = (program, ...words) => execFileSync(join(build, 'bench', program), words.map(String), { encoding: 'utf8' })
const now = () => Number(process.hrtime.bigint()) / 1e3
const at = (times, share) => times.sort((a, b) => a - b)[Math.floor(times.length * share)]

const made = await startMade(rows, dimension, {}, 'lance'), { dir } = made
const http = JSON.parse(run('lance_docs', 'get', made.server.url, 'made', rows, fetches))
await made.server.stop()

// Rows of `lance_index write`, in the memory that LanceDB takes them from.
function arrowTable() {
  const bytes = readFileSync(join(dir, 'base.f32')), floats = new Float32Array(bytes.buffer, bytes.byteOffset, rows * dimension)
  const type = new arrow.FixedSizeList(dimension, new arrow.Field('item', new arrow.Float32(), true))
  const vectors = arrow.makeData({ type, length: rows, child: arrow.makeData({ type: new arrow.Float32(), length: floats.length, data: floats }) })
  const ids = arrow.vectorFromArray(Array.from({ length: rows }, (_, i) => `doc-${String(i).padStart(6, '0')}`), new arrow.Utf8()).data[0]
  const fields = [new arrow.Field('doc_id', new arrow.Utf8(), false), new arrow.Field('vector', type, false)], schema = new arrow.Schema(fields)
  return new arrow.Table(schema, new arrow.RecordBatch(schema, arrow.makeData({ type: new arrow.Struct(fields), length: rows, nullCount: 0, children: [ids, vectors] })))
}

async function theirFetch(table, count) {
  const times = []
  for (let i = 0; i < count + count / 10; i++) {
    const id = `doc-${String(Math.floor(Math.random() * rows)).padStart(6, '0')}`, start = now()
    const found = await table.query().where(`doc_id = '${id}'`).select(['doc_id', 'vector']).toArrow()
    if (i >= count / 10) times.push(now() - start)
    if (found.numRows !== 1 || found.getChild('doc_id').get(0) !== id) throw new Error(`${found.numRows} rows of ${id}`)
  }
  return { p50_us: at(times, 0.5), p99_us: at(times, 0.99) }
}

const storageOptions = { new_table_data_storage_version: '2.0' }, db = await lancedb.connect(dir)
const all = arrowTable(), create = { ours: [], theirs: [] }
for (let round = 0; round < (quick ? 1 : 3); round++) { // in turns: whatever else the disk does falls on both
  create.ours.push(Number(run('lance_index', 'write', dir, `ours${round}.lance`, dir, rows, dimension)))
  const start = now()
  await db.createTable(`theirs${round}`, all, { storageOptions })
  create.theirs.push((now() - start) / 1e3)
}
const ours = count => JSON.parse(run('lance_docs', 'fetch', dir, 'ours0.lance', rows, count))
const theirs = await db.openTable('theirs0')
const scanned = [ours(fetches / 100), await theirFetch(theirs, fetches / 100)]
run('lance_docs', 'btree', dir, 'ours0.lance')
await theirs.createIndex('doc_id', { config: lancedb.Index.btree() })
const found = [ours(fetches), await theirFetch(theirs, fetches / 10)]

console.log(`${rows} x ${dimension}`)
const both = (name, [a, b]) => [name, a.p50_us, a.p99_us, b.p50_us, b.p99_us]
printTable(['microseconds', 'ours p50', 'p99', 'LanceDB p50', 'p99'], [both('fetch, btree', found), both('fetch, no btree', scanned), ['GET, keep-alive', http.p50_us, http.p99_us, '-', '-']])
console.log()
printTable(['create, milliseconds', ...create.ours.map((_, i) => `round ${i + 1}`)], [['ours', ...create.ours], ['LanceDB', ...create.theirs]])
