// What goes in over HTTP must come out the same two ways: from POST /query, and from the table's
// own files read by icebird, which knows nothing of lakehouse.
// usage: node tests/interop/run.mjs     BUILD=build says where the binary is
import { join } from 'node:path'
import { parquetWriteBuffer } from 'hyparquet-writer'
import { call, check, finish, freshDir, startServer } from '../kit/server.mjs'
import { currentSchema, difference } from './compare.mjs'
import { readTable } from './icebird.mjs'

const data = freshDir(), primary = join(data, 'primary')
const server = await startServer(data)

async function request(method, path, body) {
  const answer = await call(server, method, path, body)
  if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${answer.text}`)
  return answer.json
}

const ingest = (dataset, format, mode, body) =>
  request('POST', `/ingest/file?dataset=${dataset}&format=${format}&mode=${mode}`, body)

async function query(dataset) {
  const answer = await request('POST', '/query', { sql: `SELECT * FROM ${dataset}`, limit: 10000 })
  return answer.rows.map(row => Object.fromEntries(answer.columns.map((c, i) => [c.name, row[i]])))
}

async function agree(dataset, count) {
  const { metadata, rows } = await readTable(join(primary, 'warehouse/main', dataset))
  if (rows.length !== count) throw new Error(`icebird sees ${rows.length} rows, not ${count}`)
  const why = difference(currentSchema(metadata), rows, await query(dataset))
  if (why) throw new Error(`icebird reads ${why}`)
  return metadata
}

const ndjson = rows => rows.map(row => JSON.stringify(row)).join('\n') + '\n'

function person(i) {
  return {
    id: i, big: 9007199254740993 + i * 1000, name: `Zoë ${i}`, ratio: i / 8, ok: i % 2 === 0,
    day: `2024-02-${10 + i % 20}`, at: `2024-03-0${1 + i % 9} 12:34:56`,
    maybe: i % 3 ? null : `n${i}`, list: [i, i + 0.5], nested: { a: i, b: `x${i}` },
  }
}

function csv(from, to) {
  let text = 'id,name,amount,day,at,flag\n'
  for (let i = from; i < to; i++)
    text += `${i},"a ""quoted"", name ${i}",${i}.25,2023-11-1${i % 10},2023-11-11 0${i % 10}:00:00,${i % 2 === 1}\n`
  return text
}

function parquet() {
  return Buffer.from(parquetWriteBuffer({
    columnData: [
      { name: 'flag', data: [true, false, true], type: 'BOOLEAN' },
      { name: 'i32', data: [1, -2, 2147483647], type: 'INT32' },
      { name: 'i64', data: [1n, -9223372036854775807n, 9223372036854775807n], type: 'INT64' },
      { name: 'f32', data: [0.5, -1.5, 3.25], type: 'FLOAT' },
      { name: 'f64', data: [1e300, -0.1, 2], type: 'DOUBLE' },
      { name: 's', data: ['', 'ü', 'a'.repeat(300)], type: 'STRING' },
      { name: 'ts', data: [new Date(0), new Date(86400123), new Date(1e12)], type: 'TIMESTAMP' },
    ],
  }))
}

const range = (from, to) => Array.from({ length: to - from }, (_, i) => person(from + i))
await check('rows ingested as NDJSON are read by icebird as by SQL', async () => {
  await ingest('people', 'ndjson', 'create', ndjson(range(0, 50)))
  await agree('people', 50)
})
await check('so are they after an append', async () => {
  await ingest('people', 'ndjson', 'append', ndjson(range(50, 75)))
  const metadata = await agree('people', 75)
  if (metadata.snapshots.length !== 2) throw new Error(`${metadata.snapshots.length} snapshots`)
})
await check('rows ingested as CSV, and after an append', async () => {
  await ingest('orders', 'csv', 'create', csv(0, 40))
  await agree('orders', 40)
  await ingest('orders', 'csv', 'append', csv(40, 45))
  await agree('orders', 45)
})
await check('rows ingested as Parquet that another program wrote', async () => {
  await ingest('measures', 'parquet', 'create', parquet())
  await agree('measures', 3)
})
await check('a replace leaves only the new rows', async () => {
  await ingest('orders', 'csv', 'replace', csv(0, 7))
  await agree('orders', 7)
})
await check('a rollback brings the old rows back', async () => {
  const answer = await request('POST', '/catalog/datasets/orders/rollback', { version: 2 })
  if (answer.version !== 4) throw new Error(`the rollback made version ${answer.version}`)
  await agree('orders', 45)
})
await check('a patch travels in the table and changes no row', async () => {
  await request('PATCH', '/catalog/datasets/people', { owner: 'data team' })
  const metadata = await agree('people', 75)
  if (metadata.properties['lakehouse.owner'] !== 'data team')
    throw new Error(`properties are ${JSON.stringify(metadata.properties)}`)
})

await server.stop()
finish()
