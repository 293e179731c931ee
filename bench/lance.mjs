// benchmark: Lance tables: an append of 100 rows of 768 floats, a take of one row, beside LanceDB
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { arrow, lancedb } from '../tests/lance/lancedb.mjs'

const dir = mkdtempSync(join(tmpdir(), 'lakehouse-bench-'))
process.on('exit', () => rmSync(dir, { recursive: true, force: true }))
const program = join(process.env.BUILD ?? 'build', 'bench/lance')
const rounds = process.env.QUICK ? 1 : 3
const median = times => times.sort((a, b) => a - b)[times.length >> 1]
const now = () => Number(process.hrtime.bigint()) / 1e3

const schema = new arrow.Schema([new arrow.Field('id', new arrow.Utf8(), true),
  new arrow.Field('vector', new arrow.FixedSizeList(768, new arrow.Field('item', new arrow.Float32(), true)), true)])
const hundred = lancedb.makeArrowTable(Array.from({ length: 100 }, (_, i) => ({ id: `doc-${i}`, vector: Array.from({ length: 768 }, Math.random) })), { schema })

async function theirs(round) {
  const storageOptions = { new_table_data_storage_version: '2.0' }
  const db = await lancedb.connect(join(dir, `theirs${round}`), { storageOptions })
  const table = await db.createTable('t', hundred, { storageOptions })
  const appends = [], takes = []
  for (let i = 0; i < 100; i++) { const start = now(); await table.add(hundred); appends.push(now() - start) }
  await table.optimize()
  for (let i = 0; i < 300; i++) {
    const start = now()
    await table.takeOffsets([Math.floor(Math.random() * 10000)]).toArrow()
    takes.push(now() - start)
  }
  return { append_us: median(appends), take_us: median(takes) }
}

const rows = []
for (let round = 0; round < rounds; round++) {
  const a = JSON.parse(execFileSync(program, [join(dir, `ours${round}`)], { encoding: 'utf8' }))
  const b = await theirs(round)
  rows.push([a.append_us, a.append_bytes, a.take_us, a.take_compacted_us, a.scan_rows_per_s, b.append_us, b.take_us])
}
console.log('append_us,append_bytes,take_us,take_compacted_us,scan_rows_per_s,lancedb_append_us,lancedb_take_us')
for (const row of rows) console.log(row.map(x => +x.toFixed(2)).join(','))
