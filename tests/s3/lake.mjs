// Datasets and indexes whose home is an S3 bucket.
import { call, check, freshDir, problem, same, startServer, truth } from '../kit/server.mjs'
import { makeBucket, s3Bucket, s3Secret, startCeph, writeConfig } from '../kit/services.mjs'

const ceph = startCeph()
const cloud = makeBucket(ceph)
const config = writeConfig({
  'buckets.cloud': s3Bucket(ceph, cloud, { prefix: 'team/a' }), 'secrets.ceph': s3Secret(ceph),
  storage: { sweep_age_s: 0 },
})
const data = freshDir()
let server = await startServer(data, { args: ['--config', config] })
const sql = async (text, more = {}) => {
  const answer = await call(server, 'POST', '/query', { sql: text, ...more })
  if (answer.status !== 200) throw new Error(`${answer.status} ${answer.text}`)
  return answer.json
}

// Rows with one wide column, so that what a query must not read weighs more than what it must.
const wide = n => 'x'.repeat(10) + (n * 2654435761 % 4294967296).toString(36).repeat(20)
const rows = (from, to) => Array.from({ length: to - from }, (_, i) =>
  `${from + i},${(from + i) % 7},${wide(from + i)}`).join('\n')
const csv = (from, to) => `id,kind,note\n${rows(from, to)}\n`

await check('a dataset is made, grown, queried, rolled back and compacted in an S3 bucket', async () => {
  const made = await call(server, 'POST', '/ingest/file?dataset=d&format=csv&bucket=cloud', csv(0, 20000))
  same(made.status, 201, made.text)
  same((await call(server, 'POST', '/ingest/file?dataset=d&format=csv&mode=append', csv(20000, 30000))).status, 201)
  same((await sql('SELECT count(*), sum(id), count(DISTINCT kind) FROM d')).rows, [[30000, 449985000, 7]])
  same((await sql('SELECT note FROM d WHERE id = 12345')).rows, [[wide(12345)]])
  const gone = await call(server, 'POST', '/catalog/datasets/d/delete', { where: 'kind = 3' })
  same([gone.status, gone.json.rows_removed], [200, 4286])
  same((await call(server, 'POST', '/catalog/datasets/d/rollback', { version: 2 })).status, 200)
  same((await call(server, 'POST', '/catalog/datasets/d/compact?wait=true')).status, 200)
  const dataset = (await call(server, 'GET', '/catalog/datasets/d')).json
  same([dataset.bucket, dataset.version, dataset.rows, dataset.files], ['cloud', 5, 30000, 1])
  same((await sql('SELECT count(*) FROM d', { as_of: { d: 1 } })).rows, [[20000]])
})

await check('its files are below the prefix, and nothing of it is on the primary', async () => {
  const list = await call(server, 'GET', '/storage/buckets/cloud/objects?prefix=warehouse/main/d/data/')
  truth(list.json.objects.length >= 3, list.text)
  same((await call(server, 'GET', '/storage/buckets/primary/objects?prefix=warehouse/')).json.objects, [])
})

await check('an index in the S3 bucket is built, searched, and found again after a restart', async () => {
  const docs = ['a red fox runs over the hill', 'the price of wheat has risen', 'a fox sleeps in its den']
  const body = 'id,text\n' + docs.map((text, i) => `${i},${text}`).join('\n')
  same((await call(server, 'POST', '/ingest/file?dataset=docs&format=csv&bucket=cloud', body)).status, 201)
  const built = await call(server, 'POST', '/vectors/indexes?wait=true',
    { index: 'foxes', dataset: 'docs', text_column: 'text', id_column: 'id', bucket: 'cloud' })
  same([built.status, built.json.bucket], [201, 'cloud'], built.text)
  const search = async () => {
    const answer = await call(server, 'POST', '/vectors/search', { index: 'foxes', query: 'sleeping foxes', k: 2 })
    return answer.json.hits.map(hit => [hit.doc_id, hit.row.text])
  }
  const before = await search()
  same(before[0][0], '2')
  await server.stop()
  server = await startServer(data, { args: ['--config', config] })
  same(await search(), before)
  same((await sql('SELECT count(*) FROM d')).rows, [[30000]])
})

await check('an index that is a Lance table in the S3 bucket is built, searched, appended to, and found again after a restart', async () => {
  const text = i => `document number${i} about topic${i % 17}`, body = 'id,text\n' + Array.from({ length: 1500 }, (_, i) => `${i},${text(i)}`).join('\n')
  same((await call(server, 'POST', '/ingest/file?dataset=papers&format=csv&bucket=cloud', body)).status, 201)
  const built = await call(server, 'POST', '/vectors/indexes?wait=true',
    { index: 'papers', dataset: 'papers', text_column: 'text', id_column: 'id', bucket: 'cloud', vector_backend: 'lance' })
  same([built.status, built.json?.rows], [201, 1500], built.text)
  const found = async query => {
    const answer = await call(server, 'POST', '/vectors/search', { index: 'papers', query, k: 1, rows: false })
    return answer.json.hits[0]?.doc_id ?? answer.text
  }
  same([await found('number77'), await found('number1499')], ['77', '1499'])
  const added = await call(server, 'POST', '/vectors/lance/append/papers', { rows: [{ doc_id: 'late', text: 'a submarine' }] })
  same([added.status, await found('submarine')], [200, 'late'], added.text)
  await server.stop()
  server = await startServer(data, { args: ['--config', config] })
  same([await found('number77'), await found('submarine')], ['77', 'late'])
  same((await call(server, 'GET', '/vectors/lance/doc/papers/late')).json.chunks[0].text, 'a submarine')
})

await check('a stored S3 object is ingested, and an answer too large for memory streams', async () => {
  same((await call(server, 'PUT', '/storage/buckets/cloud/objects/raw/x.csv', csv(0, 100))).status, 201)
  const made = await call(server, 'POST', '/ingest/file?dataset=o&object=cloud/raw/x.csv&bucket=cloud')
  same([made.status, made.json?.rows], [201, 100], made.text)
  const answer = await call(server, 'POST', '/query', { sql: 'SELECT * FROM d', format: 'ndjson', limit: 1000000 })
  same(answer.text.trim().split('\n').length, 30000)
})

await check('the bucket says what it is, and never its keys', async () => {
  const list = await call(server, 'GET', '/storage/buckets')
  const bucket = list.json.find(one => one.name === 'cloud')
  same([bucket.backend, bucket.location, bucket.reachable, bucket.conditional_writes, bucket.breaker],
    ['s3', `s3://${cloud}/team/a`, true, true, 'closed'])
  truth(!list.text.includes(ceph.secret), 'the list tells the secret')
  problem(await call(server, 'DELETE', '/storage/buckets/cloud'), 409, 'bucket_in_use')
})

await check('an S3 bucket is added by hand with a secret_ref alone, and a wrong one is refused', async () => {
  const body = { name: 'more', backend: 's3', bucket: cloud, prefix: 'team/b', endpoint: ceph.endpoint }
  problem(await call(server, 'POST', '/storage/buckets', { ...body, secret_ref: 'nobody' }), 400, 'unknown_secret')
  problem(await call(server, 'POST', '/storage/buckets', { ...body, prefix: 'team', secret_ref: 'ceph' }), 409, 'root_overlaps')
  problem(await call(server, 'POST', '/storage/buckets', { ...body, secret_access_key: 'x' }), 400, 'unknown_field')
  same((await call(server, 'POST', '/storage/buckets', { ...body, secret_ref: 'ceph' })).status, 201)
  same((await call(server, 'PUT', '/storage/buckets/more/objects/k', 'v')).status, 201)
  await server.stop()
  server = await startServer(data, { args: ['--config', config] })
  same((await call(server, 'GET', '/storage/buckets/more/objects/k')).text, 'v')
  same((await call(server, 'DELETE', '/storage/buckets/more')).status, 200)
})

await check('a dropped dataset leaves no data file in the S3 bucket', async () => {
  same((await call(server, 'DELETE', '/catalog/datasets/d?purge=true')).status, 200)
  same((await call(server, 'GET', '/storage/buckets/cloud/objects?prefix=warehouse/main/d/data/')).json.objects, [])
})
await server.stop()
ceph.stop()
