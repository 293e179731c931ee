// benchmark: vector searches through HTTP beside the same searches in the process
// 100,000 x 768 made vectors (vector_data.c), ef 34 (recall@10 of about 0.99). search_beside.c takes
// the ways in turns. With raw floats a body holds one vector or a hundred; clients and server share
// the machine's cores.
import { execFileSync } from 'node:child_process'
import { closeSync, createWriteStream, openSync, readSync, readdirSync, statSync } from 'node:fs'
import { once } from 'node:events'
import { join } from 'node:path'
import { startServer } from '../tests/kit/server.mjs'
import { build, freshDir, printTable, quick } from './report.mjs'

const dir = freshDir(), data = join(dir, 'data'), dimensions = 768, ef = 34
const rows = quick ? 10000 : 100000

async function writeRows(vectors, path) {
  const out = createWriteStream(path), fd = openSync(vectors), count = statSync(vectors).size / 4 / dimensions
  const row = new Float32Array(dimensions)
  for (let i = 0; i < count; i++) {
    readSync(fd, row, 0, dimensions * 4, i * dimensions * 4)
    if (!out.write(`{"id":${i},"v":[${Array.from(row, x => x.toPrecision(7)).join(',')}]}\n`)) await once(out, 'drain')
  }
  closeSync(fd)
  out.end()
  await once(out, 'finish')
}

execFileSync(join(build, 'bench/vector_data'), ['made', dir, rows, dimensions, 1000, 200].map(String))
await writeRows(join(dir, 'base.f32'), join(dir, 'rows.ndjson'))
const server = await startServer(data)
execFileSync(join(build, 'lakehouse'), ['ingest', join(dir, 'rows.ndjson'), '--dataset', 'made', '--url', server.url])
const made = await fetch(`${server.url}/vectors/indexes?wait=true`, {
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify({ index: 'made', dataset: 'made', id_column: 'id', vector_column: 'v' }),
})
if (made.status !== 201) throw new Error(await made.text())
const folder = join(data, 'primary/vectors/made/hnsw'), file = join(folder, readdirSync(folder)[0])
const out = execFileSync(join(build, 'bench/search_beside'), [file, server.url, 'made', join(dir, 'query.f32'), ef, quick ? 3 : 11].map(String), { encoding: 'utf8' })
const rate = Object.fromEntries(out.trim().split('\n').map(line => line.split(' ')).map(([name, clients, qps]) => [name + clients, Number(qps)]))
const names = { direct: 'in the process', raw: 'HTTP, raw floats, 1 a request', 'raw-many': 'HTTP, raw floats, 100 a request', json: 'HTTP, JSON' }
console.log(`${rows} x ${dimensions}, ef ${ef}`)
printTable(['', 'q/s, 1 client', '2 clients', 'to the process, 1 client', '2 clients', 'more us a query, 1 client'],
  Object.entries(names).map(([key, name]) => [name, rate[`${key}1`], rate[`${key}2`], rate[`${key}1`] / rate.direct1, rate[`${key}2`] / rate.direct2, 1e6 / rate[`${key}1`] - 1e6 / rate.direct1]))
await server.stop()
