// benchmark: Lance tables: an append of 100 rows of 768 floats, a take of one row, beside LanceDB
// plain_us: the same files written, each made durable and then its folder, one wait after the other;
// LanceDB makes nothing durable (no fsync in its system calls)
import { execFileSync } from 'node:child_process'
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { arrow, lancedb } from '../tests/lance/lancedb.mjs'
import { build, freshDir, median, quick } from './report.mjs'

const dir = freshDir(), program = join(build, 'bench/lance'), rounds = quick ? 1 : 3
const bytesBelow = folder => readdirSync(folder).map(name => join(folder, name))
  .reduce((sum, path) => sum + (statSync(path).isDirectory() ? bytesBelow(path) : statSync(path).size), 0)
const now = () => Number(process.hrtime.bigint()) / 1e3

const schema = new arrow.Schema([new arrow.Field('id', new arrow.Utf8(), true),
  new arrow.Field('vector', new arrow.FixedSizeList(768, new arrow.Field('item', new arrow.Float32(), true)), true)])
const hundred = lancedb.makeArrowTable(Array.from({ length: 100 }, (_, i) => ({ id: `doc-${i}`, vector: Array.from({ length: 768 }, Math.random) })), { schema })

async function theirs(round) {
  const storageOptions = { new_table_data_storage_version: '2.0' }
  const db = await lancedb.connect(join(dir, `theirs${round}`), { storageOptions })
  const table = await db.createTable('t', hundred, { storageOptions })
  const appends = [], takes = [], folder = join(dir, `theirs${round}`), before = bytesBelow(folder)
  for (let i = 0; i < 100; i++) { const start = now(); await table.add(hundred); appends.push(now() - start) }
  const append_bytes = (bytesBelow(folder) - before) / 100
  await table.optimize()
  for (let i = 0; i < 300; i++) {
    const start = now()
    await table.takeOffsets([Math.floor(Math.random() * 10000)]).toArrow()
    takes.push(now() - start)
  }
  return { append_us: median(appends), append_bytes, take_us: median(takes) }
}

const rows = []
for (let round = 0; round < rounds; round++) {
  const a = JSON.parse(execFileSync(program, [join(dir, `ours${round}`)], { encoding: 'utf8' }))
  const b = await theirs(round)
  rows.push([a.append_us, a.plain_us, a.append_bytes, a.take_us, a.take_compacted_us, a.scan_rows_per_s, b.append_us, b.append_bytes, b.take_us])
}
console.log('append_us,plain_us,append_bytes,take_us,take_compacted_us,scan_rows_per_s,lancedb_append_us,lancedb_append_bytes,lancedb_take_us')
for (const row of rows) console.log(row.map(x => +x.toFixed(2)).join(','))
