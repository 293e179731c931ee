// USearch and zvec of bench/vector.mjs, by their native add-ons, in the protocol of vector_harness.h.
// zvec answers one query at a time to one thread of JavaScript, so that its second rate is two
// queries in flight by its asynchronous call.
// usage: node vector_npm.mjs usearch|zvec DIR DIMENSIONS MODULES
import { closeSync, mkdtempSync, openSync, readFileSync, readSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

const [engine, dir, dimensionsText, modules] = process.argv.slice(2)
const require = createRequire(join(modules, 'x.js'))
const dimensions = Number(dimensionsText), k = 10, m = 16, efConstruction = 200

// In pieces: one read takes 2 GiB at most.
function floats(name) {
  const path = join(dir, name), fd = openSync(path, 'r'), parts = []
  for (;;) {
    const part = Buffer.alloc(64 << 20), n = readSync(fd, part)
    if (n === 0) break
    parts.push(part.subarray(0, n))
  }
  closeSync(fd)
  const all = Buffer.concat(parts)
  return new Float32Array(all.buffer, all.byteOffset, all.length / 4)
}

const base = floats('base.f32'), queries = floats('query.f32')
const exactBytes = readFileSync(join(dir, 'exact.i32'))
const exact = new Int32Array(exactBytes.buffer, exactBytes.byteOffset, exactBytes.length / 4)
const rows = base.length / dimensions, asked = queries.length / dimensions
const query = q => queries.subarray(q * dimensions, (q + 1) * dimensions)
const anonymous = () => Number(/RssAnon:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]) / 1024
const seconds = from => Number(process.hrtime.bigint() - from) / 1e9

function usearch() {
  const { Index, MetricKind, ScalarKind } = require('usearch')
  const keys = new BigUint64Array(rows).map((_, i) => BigInt(i))
  let index
  const open = expansion => new Index({ metric: MetricKind.IP, connectivity: m, dimensions, quantization: ScalarKind.BF16,
    expansion_add: efConstruction, expansion_search: expansion, multi: false })
  // The width of its search is fixed when an index is opened: each is loaded from the built one's file.
  const file = join(mkdtempSync(join(modules, 'usearch-')), 'index')
  return {
    build(threads) { index = open(0); index.add(keys, base, threads); index.save(file) },
    set(ef) { index = open(ef); index.load(file) },
    rows: q => [...index.search(query(q), k, 1).keys].map(Number),
    one() { for (let q = 0; q < asked; q++) index.search(query(q), k, 1) },
    two() { index.search(queries, k, 2) },
    close() { rmSync(file, { force: true }) },
  }
}

function zvec() {
  const z = require('@zvec/zvec')
  let collection, ef, folder
  const ask = q => ({ fieldName: 'v', vector: Array.from(query(q)), topk: k, params: { indexType: z.ZVecIndexType.HNSW, ef } })
  return {
    build(threads) {
      z.ZVecInitialize?.({ optimizeThreads: threads, queryThreads: 2, logLevel: z.ZVecLogLevel?.ERROR })
      folder = mkdtempSync(join(modules, 'zvec-'))
      const schema = new z.ZVecCollectionSchema({ name: 'bench', vectors: { name: 'v', dataType: z.ZVecDataType.VECTOR_FP32, dimension: dimensions,
        indexParams: { indexType: z.ZVecIndexType.HNSW, metricType: z.ZVecMetricType.IP, m, efConstruction } } })
      collection = z.ZVecCreateAndOpen(join(folder, 'c'), schema)
      for (let from = 0; from < rows; from += 1000)
        collection.insertSync(Array.from({ length: Math.min(1000, rows - from) }, (_, i) =>
          ({ id: String(from + i), vectors: { v: Array.from(base.subarray((from + i) * dimensions, (from + i + 1) * dimensions)) } })))
      collection.optimizeSync({ concurrency: threads })
    },
    set(value) { ef = value },
    rows: q => collection.querySync(ask(q)).map(hit => Number(hit.id)),
    one() { for (let q = 0; q < asked; q++) collection.querySync(ask(q)) },
    async two() {
      let next = 0
      await Promise.all([0, 1].map(async () => { while (next < asked) await collection.query(ask(next++)) }))
    },
    close() { rmSync(folder, { recursive: true, force: true }) },
  }
}

async function rate(pass) {
  const from = process.hrtime.bigint()
  let passes = 0
  for (; passes === 0 || seconds(from) < 0.2; passes++) await pass()
  return passes * asked / seconds(from)
}

function recall(peer) {
  let hits = 0
  for (let q = 0; q < asked; q++) {
    const truth = new Set(exact.subarray(q * k, (q + 1) * k))
    for (const row of peer.rows(q)) hits += truth.has(row)
  }
  return hits / (asked * k)
}

const peer = engine === 'usearch' ? usearch() : zvec()
const before = anonymous()
// zvec takes its number of threads once in a process; USearch with each call.
for (const threads of engine === 'usearch' ? [1, 2] : [2]) {
  const from = process.hrtime.bigint()
  peer.build(threads)
  console.log(`build ${threads} ${seconds(from).toFixed(3)}`)
}
console.log(`memory ${(anonymous() - before).toFixed(0)}`)
console.log('end')
for await (const line of createInterface({ input: process.stdin })) {
  const [command, ef] = line.split(' ')
  peer.set(Number(ef))
  console.log(command === 'recall' ? recall(peer).toFixed(5) : `${(await rate(() => peer.one())).toFixed(1)} ${(await rate(() => peer.two())).toFixed(1)}`)
}
peer.close()
process.exit(0)
