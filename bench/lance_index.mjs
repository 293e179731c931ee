// benchmark: IVF_PQ in a Lance table of 100,000 vectors of 768 floats, built and searched, beside LanceDB on a copy of the same table
// SUB_VECTORS=48 measures one kind of code alone (LanceDB builds 48 in two minutes, 192 in eight)
import { execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { lancedb } from '../tests/lance/lancedb.mjs'

const dir = mkdtempSync(join(tmpdir(), 'lakehouse-bench-'))
process.on('exit', () => rmSync(dir, { recursive: true, force: true }))
const build = process.env.BUILD ?? 'build', quick = !!process.env.QUICK
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

console.log('sub_vectors,nprobes,refine,clients,build_ms,recall,p50_us,p99_us,per_s,lancedb_build_ms,lancedb_recall,lancedb_p50_us,lancedb_p99_us,lancedb_per_s')
for (const subVectors of (process.env.SUB_VECTORS ?? '48,96,192').split(',').map(Number)) {
  const ours_ms = Number(run('lance_index', 'build', dir, 'ours.lance', partitions, subVectors))
  const start = now()
  await theirs.createIndex('vector', { config: lancedb.Index.ivfPq({ distanceType: 'cosine', numPartitions: partitions, numSubVectors: subVectors }) })
  const theirs_ms = (now() - start) / 1e3
  for (const nprobes of [5, 20])
    for (const clients of [1, 2]) {
      const a = JSON.parse(run('lance_index', 'search', dir, 'ours.lance', dir, nprobes, 10, clients)), b = await search(nprobes, 10, clients)
      console.log([subVectors, nprobes, 10, clients, ours_ms, a.recall, a.p50_us, a.p99_us, a.per_s, theirs_ms, b.recall, b.p50_us, b.p99_us, b.per_s].map(x => +x.toFixed(4)).join(','))
    }
}
