// benchmark: IVF_PQ in a Lance table of 100,000 vectors of 768 floats, built and searched, beside LanceDB on a copy of the same table
// usage: [SUB_VECTORS=48,96,192] [NPROBES=5,20] [CLIENTS=1,2] [LANCEDB=no] node bench/lance_index.mjs
// Parts are measured alone by naming them: LanceDB builds codes of 48 sub-vectors in two minutes, of 192
// in eight. LANCEDB=no leaves it out.
import { execFileSync } from 'node:child_process'
import { cpSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { lancedb } from '../tests/lance/lancedb.mjs'
import { build, freshDir, quick } from './report.mjs'

const dir = freshDir(), peer = process.env.LANCEDB !== 'no'
const parts = (name, all) => (process.env[name] ?? all).split(',').map(Number)
const rows = quick ? 10000 : 100000, partitions = quick ? 100 : 316, queries = quick ? 200 : 1000, dimension = 768
const run = (program, ...words) => execFileSync(join(build, 'bench', program), words.map(String), { encoding: 'utf8' })
const now = () => Number(process.hrtime.bigint()) / 1e3
const at = (times, share) => times.sort((a, b) => a - b)[Math.floor(times.length * share)]

run('vector_data', 'made', dir, rows, dimension, queries, 300)
run('lance_index', 'write', dir, 'ours.lance', dir, rows, dimension)
cpSync(join(dir, 'ours.lance'), join(dir, 'theirs.lance'), { recursive: true })
const floats = name => { const bytes = readFileSync(join(dir, name)); return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4) }
const asked = floats('query.f32'), exact = new Int32Array(floats('exact.i32').buffer.slice(0))
const query = i => asked.subarray(i * dimension, (i + 1) * dimension)
const theirs = await (await lancedb.connect(dir)).openTable('theirs')

// Without `select` each search would fetch the vectors too.
async function search(nprobes, refine, clients) {
  const times = [], ask = async i => {
    const start = now()
    const hits = await theirs.vectorSearch(query(i)).distanceType('cosine').nprobes(nprobes).refineFactor(refine).limit(10)
      .withRowId().select(['_rowid', '_distance']).toArrow()
    times.push(now() - start)
    const wanted = new Set(exact.subarray(i * 10, i * 10 + 10))
    return [...hits.getChild('_rowid')].filter(id => wanted.has(Number(id & 0xffffffffn))).length
  }
  let found = 0
  for (let i = 0; i < 50; i++) await ask(i)
  times.length = 0
  const start = now()
  await Promise.all(Array.from({ length: clients }, async (_, c) => { for (let i = c; i < queries; i += clients) { const n = await ask(i); found += n } }))
  return { recall: found / queries / 10, p50_us: at(times, 0.5), p99_us: at(times, 0.99), per_s: queries / ((now() - start) / 1e6) }
}

const ours = ['build_ms', 'recall', 'p50_us', 'p99_us', 'per_s'], peers = peer ? ours.map(name => `lancedb_${name}`) : []
console.log(['sub_vectors', 'nprobes', 'refine', 'clients', ...ours, ...peers].join(','))
const numbers = (build_ms, found) => [build_ms, found.recall, found.p50_us, found.p99_us, found.per_s]
for (const subVectors of parts('SUB_VECTORS', '48,96,192')) {
  const ours_ms = Number(run('lance_index', 'build', dir, 'ours.lance', partitions, subVectors)), start = now()
  if (peer) await theirs.createIndex('vector', { config: lancedb.Index.ivfPq({ distanceType: 'cosine', numPartitions: partitions, numSubVectors: subVectors }) })
  const theirs_ms = (now() - start) / 1e3
  for (const nprobes of parts('NPROBES', '5,20'))
    for (const clients of parts('CLIENTS', '1,2')) {
      const row = [subVectors, nprobes, 10, clients, ...numbers(ours_ms, JSON.parse(run('lance_index', 'search', dir, 'ours.lance', dir, nprobes, 10, clients)))]
      if (peer) row.push(...numbers(theirs_ms, await search(nprobes, 10, clients)))
      console.log(row.map(x => +x.toFixed(4)).join(','))
    }
}
