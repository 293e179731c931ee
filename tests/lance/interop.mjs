// Tables shared with LanceDB: what one writes the other reads, row for row, and changes of either go
// on from the other's, one after the other and at once.
// usage: node tests/lance/interop.mjs     BUILD=build says where lance_tool is
import { execFileSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { binary, check, finish, freshDir } from '../kit/server.mjs'
import { agree, arrow, difference, info, lancedb, ours, oursLater, oursRows, rowsOf, theirRows } from './lancedb.mjs'
import { everyColumn, longTexts } from './lancedb_columns.mjs'

const equal = (actual, expected, what) => {
  if (JSON.stringify(actual) !== JSON.stringify(expected)) throw new Error(`${what} is ${JSON.stringify(actual)}, not ${JSON.stringify(expected)}`)
}
const VERSIONS = ['2.0', '2.1', '2.2'], inVersion = version => ({ storageOptions: { new_table_data_storage_version: version } })

const OUR_TYPES = ['bool', 'int8', 'int16', 'int32', 'int64', 'uint8', 'uint16', 'uint32', 'uint64', 'float',
  'double', 'string', 'binary', 'date32:day', 'timestamp:s:-', 'timestamp:ms:-', 'timestamp:us:UTC', 'timestamp:ns:-',
  'time32:s', 'time32:ms', 'time64:us', 'time64:ns', 'duration:us', 'decimal:128:30:4', 'fixed_size_binary:5', 'fixed_size_binary:300',
  'fixed_size_list:float:3', 'fixed_size_list:float:96', 'fixed_size_list:uint8:4', 'fixed_size_list:double:5', 'halffloat', 'large_string',
  'large_binary']

for (const version of VERSIONS)
  await check(`LanceDB reads 10,000 rows of every type that we write in ${version}, with nulls and without, row for row, and any of them alone`, async () => {
    const root = freshDir()
    const columns = OUR_TYPES.flatMap((type, i) => [`c${i}=${type},null`, `d${i}=${type}`])
    ours(root, 'create', 't.lance', version, ...columns, 'nothing=null,null')
    for (const [from, rows] of [[0, 1], [1, 3], [4, 4996], [5000, 5000]]) ours(root, 'append', 't.lance', from, rows)
    const theirs = await (await lancedb.connect(root)).openTable('t')
    equal(info(root, 't.lance').files, version, 'the version of files')
    equal(await theirs.countRows(), 10000, 'LanceDB\'s count')
    await agree(root, 't.lance', theirs)
    const all = oursRows(root, 't.lance'), some = [0, 1, 3, 4, 700, 4999, 5000, 9999]
    const taken = await rowsOf(theirs.takeOffsets(some).withRowId())
    const why = difference(taken, some.map(i => all[i]))
    if (why) throw new Error(`rows that LanceDB took differ: ${why}`)
  })

for (const version of VERSIONS)
  await check(`we read every kind of column that LanceDB writes in ${version}, row for row, and compact it for LanceDB to read`, async () => {
    const root = freshDir(), options = inVersion(version)
    const db = await lancedb.connect(root, options)
    const theirs = await db.createTable('t', everyColumn(version === '2.2' ? 10000 : 3000), options)
    await agree(root, 't.lance', theirs)
    await theirs.add(everyColumn(300))
    await theirs.addColumns([{ name: 'large_string', valueSql: "arrow_cast(s_short, 'LargeUtf8')" }, { name: 'twice', valueSql: 'i32_seq * 2' }])
    await theirs.delete('i32_seq % 7 = 2')
    await agree(root, 't.lance', theirs)
    const some = oursRows(root, 't.lance').filter((_, i) => i % 997 === 5)
    const taken = ours(root, 'take', 't.lance', ...some.map(row => row._addr)).trim().split('\n').map(line => JSON.parse(line))
    const why = difference(taken, some)
    if (why) throw new Error(`taken rows differ: ${why}`)
    const before = oursRows(root, 't.lance'), values = rows => rows.map(({ _addr, ...row }) => row)
    ours(root, 'compact', 't.lance')
    await theirs.checkoutLatest()
    const moved = difference(values(await theirRows(theirs)), values(before))
    if (moved) throw new Error(`compacted rows differ: ${moved}`)
    await theirs.add(everyColumn(20))
    await theirs.optimize()
    await agree(root, 't.lance', theirs)
  })

await check('we read long texts, which LanceDB compresses one by one, and LanceDB reads ours', async () => {
  const root = freshDir()
  const theirs = await (await lancedb.connect(root)).createTable('t', longTexts())
  await agree(root, 't.lance', theirs)
  await theirs.delete("mixed IS NULL")
  ours(root, 'compact', 't.lance')
  await theirs.checkoutLatest()
  await agree(root, 't.lance', theirs)
})

const small = ['id=string,null', 'n=int64,null', 'v=fixed_size_list:float:4,null']
async function shared(rows, version = '2.0') {
  const root = freshDir()
  ours(root, 'create', 't.lance', version, ...small)
  if (rows) ours(root, 'append', 't.lance', 0, rows)
  const theirs = await (await lancedb.connect(root)).openTable('t')
  return { root, theirs }
}
const row = (id, n) => ({ id, n: BigInt(n), v: [1, 2, 3, n] })
const rowSchema = new arrow.Schema([new arrow.Field('id', new arrow.Utf8(), true), new arrow.Field('n', new arrow.Int64(), true),
  new arrow.Field('v', new arrow.FixedSizeList(4, new arrow.Field('item', new arrow.Float32(), true)), true)])
const batch = (from, count) => lancedb.makeArrowTable(Array.from({ length: count }, (_, i) => row(`their ${from + i}`, from + i)), { schema: rowSchema })

for (const fileVersion of VERSIONS) await check(`LanceDB appends to, deletes from, updates and merges into our table in ${fileVersion}; we read each version`, async () => {
  const { root, theirs } = await shared(100, fileVersion)
  await theirs.add(batch(1000, 50)); await agree(root, 't.lance', theirs)
  await theirs.delete('n < 5000000'); await agree(root, 't.lance', theirs)
  await theirs.update({ where: "id = 'their 1003'", values: { id: 'changed' } }); await agree(root, 't.lance', theirs)
  await theirs.mergeInsert('id').whenMatchedUpdateAll().whenNotMatchedInsertAll().execute(batch(1040, 30))
  await agree(root, 't.lance', theirs)
  await theirs.optimize(); await agree(root, 't.lance', theirs)
  const latest = await theirs.version()
  for (let version = 1; version <= latest; version++) {
    await theirs.checkout(version)
    const why = difference(oursRows(root, 't.lance', version), await theirRows(theirs))
    if (why) throw new Error(`version ${version}: ${why}`)
  }
})

for (const version of [...VERSIONS, 'its default']) await check(`we append to, delete from, update and compact a table of LanceDB's in ${version}; LanceDB reads each version`, async () => {
  const options = version === 'its default' ? {} : inVersion(version)
  const root = freshDir(), db = await lancedb.connect(root, options)
  const theirs = await db.createTable('t', batch(0, 200), options)
  const see = async rows => {
    await theirs.checkoutLatest()
    equal(await theirs.countRows(), rows, 'LanceDB\'s count')
    await agree(root, 't.lance', theirs)
  }
  ours(root, 'append', 't.lance', 0, 100); await see(300)
  equal(ours(root, 'delete', 't.lance', 0, 1, 199, (1n << 32n) + 5n).trim(), '4', 'rows deleted'); await see(296)
  ours(root, 'update', 't.lance', 900, 3, 10, 11, (1n << 32n) + 7n); await see(296)
  await theirs.delete("id = 'their 20'"); await see(295)
  ours(root, 'delete', 't.lance', 30); await see(294)
  const all = oursRows(root, 't.lance').map(r => r._addr).filter(a => BigInt(a) >> 32n === 2n)
  ours(root, 'delete', 't.lance', ...all); await see(291) // the whole fragment goes
  ours(root, 'append', 't.lance', 2000, 10, 5); await see(341)
  const done = JSON.parse(ours(root, 'compact', 't.lance'))
  equal(done.after, 1, 'fragments made'); await see(341)
  await theirs.add(batch(5000, 5)); await see(346)
  await theirs.optimize(); await agree(root, 't.lance', theirs)
  ours(root, 'restore', 't.lance', 1); await see(200)
  await theirs.add(batch(6000, 5)); await see(205)
  equal(info(root, 't.lance').files, version === 'its default' ? '2.2' : version, 'the version of files')
})

await check('many deleted rows, which LanceDB keeps as a Roaring bitmap, are the same rows for both', async () => {
  const { root, theirs } = await shared(30000)
  await theirs.delete('n % 3 = 0'); await agree(root, 't.lance', theirs)
  const some = oursRows(root, 't.lance').slice(0, 500).map(r => r._addr)
  ours(root, 'delete', 't.lance', ...some)
  await theirs.checkoutLatest(); await agree(root, 't.lance', theirs)
  await theirs.delete('n % 5 = 0'); await agree(root, 't.lance', theirs)
})

await check('a stale LanceDB handle rebases its append and its delete over our commits', async () => {
  const { root, theirs } = await shared(20)
  ours(root, 'append', 't.lance', 100, 10)
  await theirs.add(batch(1, 1))
  equal(await theirs.countRows(), 31, 'rows')
  const stale = await (await lancedb.connect(root)).openTable('t')
  ours(root, 'append', 't.lance', 200, 10)
  ours(root, 'delete', 't.lance', 0)
  ours(root, 'update', 't.lance', 300, 1, 1)
  await stale.delete("id = 'row 2..'")
  equal(await stale.countRows(), 39, 'rows')
  await agree(root, 't.lance', stale)
})

await check('other columns in the place of all: LanceDB reads both versions, refuses what it began on the old one, and goes on', async () => {
  const { root, theirs } = await shared(20)
  await theirs.createIndex('id', { config: lancedb.Index.btree() })
  const stale = await (await lancedb.connect(root)).openTable('t')
  ours(root, 'replace', 't.lance', 500, 30, 'w=fixed_size_list:float:6,null', 'id=string,null')
  let refused
  try { await stale.add(batch(1, 1)) } catch (error) { refused = error.message }
  if (!refused) throw new Error('LanceDB appended rows of the old columns')
  await theirs.checkoutLatest()
  await agree(root, 't.lance', theirs)
  equal([await theirs.countRows(), (await theirs.listIndices()).length], [30, 0], 'rows and indexes')
  await theirs.add([{ w: [1, 2, 3, 4, 5, 6], id: 'x' }])
  await theirs.delete("id = 'row 501'")
  ours(root, 'append', 't.lance', 600, 10)
  await theirs.checkoutLatest()
  await agree(root, 't.lance', theirs)
  await theirs.checkout(3)
  equal(difference(oursRows(root, 't.lance', 3), await theirRows(theirs)), undefined, 'what differs in the version before')
})

for (const version of ['2.0', '2.2']) await check(`our writers and LanceDB's append, delete and compact at once in ${version}: no row is lost, none comes twice`, async () => {
  const { root, theirs } = await shared(10, version)
  const writers = [0, 1, 2].map(i => oursLater(root, 'race', 't.lance', 10000 * (i + 1), 15))
  const other = async from => {
    const handle = await (await lancedb.connect(root)).openTable('t')
    for (let i = 0; i < 10; i++) {
      await handle.add(batch(from + i * 3, 3))
      if (i % 3 === 2) await handle.delete(`id = 'their ${from + i * 3}'`)
    }
  }
  const compactions = async () => { // either may lose against a change of the fragments that it rewrites
    const handle = await (await lancedb.connect(root)).openTable('t')
    for (let i = 0; i < 4; i++) {
      try { await handle.optimize() } catch (error) { if (!/onflict/.test(error.message)) throw error }
      await oursLater(root, 'compact', 't.lance').catch(error => { if (!/lance_conflict/.test(error.message)) throw error })
    }
  }
  await Promise.all([...writers, other(100000), other(200000), compactions()])
  await theirs.checkoutLatest()
  equal(await theirs.countRows(), 10 + 3 * 150 + 2 * 30 - 2 * 3, 'rows')
  await agree(root, 't.lance', theirs)
  const rows = oursRows(root, 't.lance').filter(r => r.n !== null).map(r => r.n)
  equal(new Set(rows).size, rows.length, 'distinct rows')
})

for (const version of ['2.0', '2.2']) await check(`indexes that LanceDB built survive our appends, deletes and compactions in ${version}`, async () => {
  const { root, theirs } = await shared(2000, version)
  await theirs.createIndex('v', { config: lancedb.Index.ivfPq({ numPartitions: 2, numSubVectors: 2 }) })
  await theirs.createIndex('id', { config: lancedb.Index.btree() })
  ours(root, 'append', 't.lance', 5000, 100)
  ours(root, 'delete', 't.lance', 1, 2)
  await theirs.checkoutLatest()
  const names = (await theirs.listIndices()).map(index => index.name).sort()
  equal(names, ['id_idx', 'v_idx'], 'indexes')
  equal(info(root, 't.lance').indexes, 2, 'indexes that we see')
  equal((await theirs.indexStats('id_idx')).numUnindexedRows, 100, 'rows not indexed')
  for (const id of ['row 40', `row 5002${'.'.repeat(5002 % 40)}`])
    equal((await theirs.query().where(`id = '${id}'`).toArray()).length, 1, `rows named ${id}`)
  ours(root, 'compact', 't.lance')
  await theirs.checkoutLatest()
  await agree(root, 't.lance', theirs)
  equal((await theirs.query().where("id = 'row 40'").toArray()).length, 1, 'rows after compaction')
  equal((await theirs.vectorSearch([-90, -90, -90, -90]).limit(5).toArray()).length, 5, 'hits after compaction')
  await theirs.optimize()
  await agree(root, 't.lance', theirs)
  equal((await theirs.indexStats('id_idx')).numUnindexedRows, 0, 'rows not indexed')
})

await check('after our clean-up LanceDB still reads, appends and lists the versions that are left', async () => {
  const { root, theirs } = await shared(50)
  ours(root, 'append', 't.lance', 100, 10, 10)
  await theirs.checkoutLatest()
  await theirs.tags().then(tags => tags.create('keep', 3))
  ours(root, 'compact', 't.lance')
  ours(root, 'cleanup', 't.lance')
  await theirs.checkoutLatest()
  equal((await theirs.listVersions()).map(v => v.version), [3, info(root, 't.lance').version], 'versions')
  await agree(root, 't.lance', theirs)
  await theirs.checkout(3)
  equal(await theirs.countRows(), 60, 'rows of the tagged version')
  await theirs.checkoutLatest()
  await theirs.add(batch(1, 2))
  await agree(root, 't.lance', theirs)
})

await check('what we do not read or write is refused by name, and left as it was', async () => {
  const root = freshDir(), db = await lancedb.connect(root)
  const refused = (pattern, ...words) => {
    let said = ''
    try { ours(root, ...words) } catch (error) { said = error.message }
    if (!pattern.test(said)) throw new Error(`${words[0]}: ${said}`)
  }
  const nested = await db.createTable('nested', [{ id: 1, tags: ['a', 'b'] }])
  refused(/lance_unsupported: column 'tags'/, 'dump', 'nested.lance')
  refused(/lance_unsupported: column 'tags'/, 'append', 'nested.lance', 0, 5)
  equal(await nested.countRows(), 1, 'rows')
  const later = await db.createTable('later', batch(0, 10), inVersion('2.3'))
  for (const words of [['dump', 'later.lance'], ['append', 'later.lance', 0, 5], ['create', 'other.lance', '2.3', ...small]])
    refused(/lance_unsupported: .*data files of version '2.3' are not known here, 2.0 to 2.2 are/, ...words)
  equal(await later.countRows(), 10, 'rows')
})

await check('lakehouse lance inspect shows versions, encodings and indexes of a table of LanceDB\'s, and leaves nothing behind', async () => {
  const root = freshDir()
  const theirs = await (await lancedb.connect(root)).createTable('t', batch(0, 1000))
  await theirs.createIndex('id', { config: lancedb.Index.btree() })
  await theirs.delete("id = 'their 5'")
  const text = execFileSync(binary, ['lance', 'inspect', join(root, 't.lance')], { encoding: 'utf8' })
  for (const part of ['version 3, 999 rows, data files 2.2', 'CreateIndex', '1000 rows, 1 deleted', 'MiniBlock', 'id_idx', 'BTreeIndexDetails'])
    if (!text.includes(part)) throw new Error(`no '${part}' in ${text}`)
  equal(readdirSync(root), ['t.lance'], 'what is there')
})

finish()
