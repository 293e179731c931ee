// A server with an index `made` over made vectors (vector_data.c), for benchmarks of searches.
import { execFileSync } from 'node:child_process'
import { closeSync, createWriteStream, openSync, readSync, readdirSync, statSync } from 'node:fs'
import { once } from 'node:events'
import { join } from 'node:path'
import { startServer } from '../tests/kit/server.mjs'
import { build, freshDir } from './report.mjs'

async function writeRows(vectors, path, dimensions) {
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

// `file` is the index's (of backend "lance" its table), `queries` that of a thousand vectors to ask for.
export async function startMade(rows, dimensions, options, backend = 'parquet') {
  const dir = freshDir(), data = join(dir, 'data')
  execFileSync(join(build, 'bench/vector_data'), ['made', dir, rows, dimensions, 1000, 200].map(String))
  await writeRows(join(dir, 'base.f32'), join(dir, 'rows.ndjson'), dimensions)
  const server = await startServer(data, options)
  execFileSync(join(build, 'lakehouse'), ['ingest', join(dir, 'rows.ndjson'), '--dataset', 'made', '--url', server.url])
  const made = await fetch(`${server.url}/vectors/indexes?wait=true`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ index: 'made', dataset: 'made', id_column: 'id', vector_column: 'v', vector_backend: backend }),
  })
  if (made.status !== 201) throw new Error(await made.text())
  const folder = join(data, 'primary/vectors/made', backend === 'lance' ? '' : 'hnsw')
  const file = backend === 'lance' ? 'docs.lance' : readdirSync(folder)[0]
  return { dir, server, file: join(folder, file), queries: join(dir, 'query.f32') }
}

// Queries a second by name and number of clients: { raw1, raw2, rawAWAKE, ... }; see search_beside.c.
export function measureSearches({ server, file, queries }, ef, rounds, ...way) {
  const out = execFileSync(join(build, 'bench/search_beside'), [file, server.url, 'made', queries, ef, rounds, ...way].map(String), { encoding: 'utf8' })
  return Object.fromEntries(out.trim().split('\n').map(line => line.split(' ')).map(([name, clients, qps]) => [name + clients, Number(qps)]))
}
