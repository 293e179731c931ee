// Indexes shared with LanceDB: each searches what the other built, and finds the same rows at the same
// distances.
// usage: node tests/lance/indexes.mjs     BUILD=build says where lance_tool is
import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { check, finish, freshDir } from '../kit/server.mjs'
import { info, lancedb, ours, oursRows, tool } from './lancedb.mjs'

const D = 32, K = 10, ROWS = 3000, QUERIES = 25
let state = 1
const draw = () => { state = (state * 1103515245 + 12345) & 0x7fffffff; return state / 0x7fffffff - 0.5 }
const centres = Array.from({ length: 20 }, () => Array.from({ length: D }, draw))
const vector = () => centres[Math.floor((draw() + 0.5) * 19.99)].map(x => x + 0.3 * draw())
const rows = (from, count) => Array.from({ length: count }, (_, i) => ({ id: `doc ${from + i}`, vector: vector() }))
const equal = (actual, expected, what) => {
  if (JSON.stringify(actual) !== JSON.stringify(expected)) throw new Error(`${what} is ${JSON.stringify(actual)}, not ${JSON.stringify(expected)}`)
}

async function shared(version, count = ROWS) {
  const root = freshDir(), options = { storageOptions: { new_table_data_storage_version: version } }
  const theirs = await (await lancedb.connect(root, options)).createTable('t', rows(0, count), options)
  return { root, theirs }
}

function oursFound(root, metric, nprobes, refine, queries) {
  const file = join(root, 'queries')
  writeFileSync(file, Buffer.from(Float32Array.from(queries.flat()).buffer))
  return ours(root, 'search', 't.lance', 'vector', metric, K, nprobes, refine, file).trim().split('\n').map(line => JSON.parse(line))
}

async function theirsFound(theirs, metric, nprobes, refine, query) {
  let search = theirs.vectorSearch(query).distanceType(metric).limit(K).withRowId().select(['id', '_distance', '_rowid'])
  search = refine < 0 ? search.bypassVectorIndex() : search.nprobes(nprobes)
  if (refine > 0) search = search.refineFactor(refine)
  return (await search.toArray()).map(row => [String(row._rowid), row._distance])
}

// The same rows in the same order, but where their distances are all but the same.
function sameHits(mine, other, what) {
  equal(mine.length, other.length, `${what}: hits`)
  for (let i = 0; i < mine.length; i++) {
    if (Math.abs(mine[i][1] - other[i][1]) > 1e-5) throw new Error(`${what}: hit ${i} is ${mine[i]} and ${other[i]}`)
    if (mine[i][0] !== other[i][0] && !other.some(hit => hit[0] === mine[i][0] && Math.abs(hit[1] - mine[i][1]) < 1e-5))
      throw new Error(`${what}: hit ${i} is ${mine[i]}, not ${other[i]}`)
  }
}

// Refined lists compare only where both refine the same rows, so as many as there are. Rows without an
// index are compared exactly by both, and so are then all others.
async function sameSearches(root, theirs, metric, what, indexed = true) {
  const queries = Array.from({ length: QUERIES }, vector)
  for (const [nprobes, refine] of [...indexed ? [[2, 0], [8, 0]] : [], [8, 100], [1, -1]]) {
    const mine = oursFound(root, metric, nprobes, refine, queries)
    for (let i = 0; i < QUERIES; i++)
      sameHits(mine[i], await theirsFound(theirs, metric, nprobes, refine, queries[i]), `${what}, ${nprobes} probes, refine ${refine}, query ${i}`)
  }
}

async function recalls(root, theirs, metric, nprobes, refine) {
  const queries = Array.from({ length: 50 }, vector), mine = oursFound(root, metric, nprobes, refine, queries)
  let our = 0, their = 0
  for (let i = 0; i < queries.length; i++) {
    const exact = new Set((await theirsFound(theirs, metric, 1, -1, queries[i])).map(hit => hit[0]))
    our += mine[i].filter(hit => exact.has(hit[0])).length
    their += (await theirsFound(theirs, metric, nprobes, refine, queries[i])).filter(hit => exact.has(hit[0])).length
  }
  return [our / 500, their / 500]
}

const plan = (theirs, metric) => theirs.vectorSearch(vector()).distanceType(metric).limit(K).explainPlan(true)

for (const version of ['2.0', '2.2'])
  for (const metric of ['cosine', 'l2', 'dot'])
    await check(`LanceDB searches our IVF_PQ index by ${metric} in a table of ${version}: same rows, same distances, same recall`, async () => {
      const { root, theirs } = await shared(version)
      ours(root, 'index', 't.lance', 'vector', metric, 8, 8, 8)
      await theirs.checkoutLatest()
      const [index] = await theirs.listIndices(), stats = await theirs.indexStats('vector_idx')
      equal([index.name, index.indexType], ['vector_idx', 'IvfPq'], 'the index')
      equal([stats.numIndexedRows, stats.numUnindexedRows, stats.distanceType], [ROWS, 0, metric], 'its figures')
      if (!/ANN/.test(await plan(theirs, metric))) throw new Error('the plan has no index')
      if (!/ANN/.test(await theirs.vectorSearch(vector()).distanceType(metric).limit(K).analyzePlan())) throw new Error('the search used no index')
      await sameSearches(root, theirs, metric, metric)
      const [our, their] = await recalls(root, theirs, metric, 4, 10)
      if (Math.abs(our - their) > 0.01) throw new Error(`recall ${our}, LanceDB's ${their}`)
    })

for (const version of ['2.0', '2.2'])
  for (const metric of ['cosine', 'l2', 'dot'])
    await check(`we search LanceDB's IVF_PQ index by ${metric} in a table of ${version}: same rows, same distances`, async () => {
      const { root, theirs } = await shared(version)
      await theirs.createIndex('vector', { config: lancedb.Index.ivfPq({ distanceType: metric, numPartitions: 8, numSubVectors: 8 }) })
      await sameSearches(root, theirs, metric, metric)
    })

for (const version of ['2.0', '2.2']) await check(`codes of 4 bits, whichever side wrote them in ${version}, find as many neighbours as LanceDB does, or more`, async () => {
  const { root, theirs } = await shared(version)
  for (const builder of ['ours', 'theirs']) {
    if (builder === 'ours') ours(root, 'index', 't.lance', 'vector', 'l2', 8, 32, 4)
    else await theirs.createIndex('vector', { config: lancedb.Index.ivfPq({ distanceType: 'l2', numPartitions: 8, numSubVectors: 32, numBits: 4 }) })
    await theirs.checkoutLatest()
    const [our, their] = await recalls(root, theirs, 'l2', 8, 10)
    if (our < 0.95 || our < their - 0.01) throw new Error(`of ${builder}: recall ${our}, LanceDB's ${their}`)
  }
})

for (const version of ['2.0', '2.2']) await check(`rows that either side adds or deletes after the build are found and missed by both in ${version}; optimize() takes them in`, async () => {
  const { root, theirs } = await shared(version)
  ours(root, 'index', 't.lance', 'vector', 'l2', 8, 16, 8)
  await theirs.checkoutLatest()
  await theirs.add(rows(ROWS, 200))
  ours(root, 'delete', 't.lance', 5, 6, 7, (1n << 32n) + 3n)
  await theirs.checkoutLatest()
  await theirs.delete("id = 'doc 40'")
  equal((await theirs.indexStats('vector_idx')).numUnindexedRows, 199, 'rows not indexed')
  await sameSearches(root, theirs, 'l2', 'before optimize()', false)
  await theirs.optimize()
  equal((await theirs.indexStats('vector_idx')).numUnindexedRows, 0, 'rows not indexed')
  equal(info(root, 't.lance').rows, ROWS + 200 - 5, 'rows')
  await sameSearches(root, theirs, 'l2', 'after optimize()')
})

const scalars = ['id=string,null', 'n=int64,null', 'i=int32,null', 'u=uint64,null', 'f=float,null', 'd=double,null']
const predicate = (column, row) => column === 'id' ? `id = '${row.id}'` : column === 'u' ? `u = arrow_cast('${row.u}', 'UInt64')`
  : column === 'f' ? `f = arrow_cast('${row.f}', 'Float32')` : `${column} = ${row[column]}`
const oursFind = (root, column, keys) => ours(root, 'find', 't.lance', column, ...keys).trim().split('\n').map(line => JSON.parse(line))

async function sameFinds(root, theirs, column, indexed, what) {
  const rows = oursRows(root, 't.lance').filter(row => row[column] !== null), some = rows.filter((_, i) => i % (rows.length >> 4) === 3)
  const found = oursFind(root, column, some.map(row => row[column]))
  for (let i = 0; i < some.length; i++) {
    equal(found[i], rows.filter(row => row[column] === some[i][column]).map(row => row._addr), `${what}: rows of ${column} ${some[i][column]}`)
    const where = predicate(column, some[i]), query = theirs.query().where(where).withRowId().select(['_rowid'])
    equal((await query.toArray()).map(row => String(row._rowid)).sort(), [...found[i]].sort(), `${what}: LanceDB's rows of ${where}`)
    if (indexed !== /ScalarIndexQuery/.test(await theirs.query().where(where).explainPlan(true))) throw new Error(`${what}: ${where} is ${indexed ? 'not ' : ''}by the index`)
  }
}

for (const version of ['2.0', '2.1', '2.2']) await check(`rows are found by value with a btree of ours in ${version} and without, and LanceDB uses ours`, async () => {
  const root = freshDir()
  ours(root, 'create', 't.lance', version, ...scalars)
  ours(root, 'append', 't.lance', 0, 9000)
  ours(root, 'append', 't.lance', 4000, 2000) // twice the same values
  const theirs = await (await lancedb.connect(root)).openTable('t')
  for (const column of scalars.map(text => text.split('=')[0])) {
    await sameFinds(root, theirs, column, false, 'without an index')
    ours(root, 'btree', 't.lance', column)
    await theirs.checkoutLatest()
    await sameFinds(root, theirs, column, true, 'with ours')
    equal((await theirs.indexStats(`${column}_idx`)).numIndexedRows, 11000, 'rows indexed')
  }
  equal(oursFind(root, 'i', ['99999999999'])[0], [], 'rows of what no int32 is')
  for (const where of ['n IS NULL', 'n > 4000000000', 'n < 100000', 'n IN (500003, 1500006)']) {
    const plain = oursRows(root, 't.lance').filter(({ n }) => where === 'n IS NULL' ? n === null : n !== null &&
      (where.includes('>') ? BigInt(n) > 4000000000n : where.includes('<') ? BigInt(n) < 100000n : ['500003', '1500006'].includes(n)))
    equal((await theirs.query().where(where).toArray()).length, plain.length, `LanceDB's rows of ${where}`)
  }
})

for (const version of ['2.0', '2.2'])
  await check(`rows are found through a btree that LanceDB wrote in ${version}, and those that came later, and none that went`, async () => {
    const { root, theirs } = await shared(version, 6000)
    await theirs.createIndex('id', { config: lancedb.Index.btree() })
    await sameFinds(root, theirs, 'id', true, 'at first')
    await theirs.add(rows(6000, 100))
    await theirs.delete("id = 'doc 17'")
    equal(oursFind(root, 'id', ['doc 17', 'doc 18', 'doc 6001', 'no such']).map(found => found.length), [0, 1, 1, 0], 'rows found')
    await theirs.optimize()
    await sameFinds(root, theirs, 'id', true, 'after optimize()')
  })

const ourIndexes = root => ours(root, 'indexes', 't.lance').trim().split('\n').map(line => JSON.parse(line))

for (const [builder, version] of [['ours', '2.0'], ['ours', '2.2'], ['LanceDB\'s', '2.0'], ['LanceDB\'s', '2.2']])
  await check(`indexes of ${builder} in ${version} are brought up to date, without LanceDB and with it, and after a compaction`, async () => {
    const { root, theirs } = await shared(version, 4000)
    if (builder === 'ours') { ours(root, 'index', 't.lance', 'vector', 'l2', 8, 16, 8); ours(root, 'btree', 't.lance', 'id') }
    else {
      await theirs.createIndex('vector', { config: lancedb.Index.ivfPq({ distanceType: 'l2', numPartitions: 8, numSubVectors: 16 }) })
      await theirs.createIndex('id', { config: lancedb.Index.btree() })
    }
    const see = async (what, indexed, segments) => {
      await theirs.checkoutLatest()
      for (const index of ourIndexes(root)) equal([index.indexed, index.unindexed, index.segments], [indexed, 0, segments], `${what}: ${index.name}`)
      for (const name of ['vector_idx', 'id_idx']) {
        const stats = await theirs.indexStats(name)
        equal([stats.numUnindexedRows, stats.numIndices], [0, segments], `${what}: LanceDB's ${name}`)
      }
      await sameSearches(root, theirs, 'l2', what)
      await sameFinds(root, theirs, 'id', true, what)
    }
    await theirs.checkoutLatest()
    equal(ours(root, 'index-update', 't.lance').trim(), '0', 'indexes changed when there is nothing to do')
    await theirs.add(rows(4000, 100))
    await theirs.delete("id = 'doc 4005'")
    equal(ours(root, 'index-update', 't.lance').trim(), '2', 'indexes changed')
    await see('one segment more', 4099, 2)
    await theirs.add(rows(4100, 50))
    ours(root, 'index-update', 't.lance')
    await see('a small segment that took in another', 4149, 2)
    await theirs.add(rows(4150, 2000))
    ours(root, 'index-update', 't.lance')
    await see('all in one', 6149, 1)
    ours(root, 'compact', 't.lance')
    equal(ourIndexes(root).map(index => index.unindexed), [6149, 6149], 'rows not indexed after a compaction')
    ours(root, 'index-update', 't.lance')
    await see('after a compaction', 6149, 1)
    await theirs.optimize()
    await see('after optimize()', 6149, 1)
  })

for (const version of ['2.0', '2.2']) await check(`a build of an index in ${version} that is killed leaves a table that both open, at its last version, with the index that it had`, async () => {
  const { root, theirs } = await shared(version, 6000)
  ours(root, 'index', 't.lance', 'vector', 'l2', 8, 16, 8)
  let finished = 0
  for (let kill = 0; kill < 12; kill++) {
    const child = spawn(tool, [root, 'index', 't.lance', 'vector', 'l2', 20, 16, 8], { stdio: 'ignore' })
    const ended = new Promise(done => child.on('close', status => done(status)))
    setTimeout(() => child.kill('SIGKILL'), 20 * kill)
    finished += await ended === 0
    await theirs.checkoutLatest()
    equal(await theirs.version(), info(root, 't.lance').version, 'the version')
    equal((await theirs.indexStats('vector_idx')).numIndexedRows, 6000, 'rows indexed')
    if (!/ANN/.test(await plan(theirs, 'l2'))) throw new Error('the plan has no index')
  }
  if (finished === 12) throw new Error('no build was killed')
  await sameSearches(root, theirs, 'l2', 'after the kills')
})

finish()
