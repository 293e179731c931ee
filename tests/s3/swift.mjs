// OpenStack Swift as a second S3 service: it has no conditional PUT, which is said and not worked round.
import { randomBytes } from 'node:crypto'
import { call, check, freshDir, problem, same, startServer, truth } from '../kit/server.mjs'
import { makeBucket, s3Bucket, s3Secret, startPostgres, startSwift, writeConfig } from '../kit/services.mjs'

const swift = startSwift()
const bucket = makeBucket(swift)
const sections = {
  'buckets.second': s3Bucket(swift, bucket), 'secrets.ceph': s3Secret(swift), storage: { rescue_bucket: '' },
}
let server = await startServer(freshDir(), { args: ['--config', writeConfig(sections)] })
const path = key => `/storage/buckets/second/objects/${key}`
const ingest = () => call(server, 'POST', '/ingest/file?dataset=d&bucket=second&format=csv', 'id,text\n1,one\n2,two\n')

await check('objects live in Swift, small ones and those in parts', async () => {
  const body = randomBytes(20 << 20)
  same((await call(server, 'PUT', path('a/b'), 'hello')).status, 201)
  same((await call(server, 'GET', path('a/b'))).text, 'hello')
  same((await call(server, 'PUT', path('big'), body)).status, 201)
  const got = await fetch(server.url + path('big'))
  truth(Buffer.from(await got.arrayBuffer()).equals(body), 'other bytes')
  same((await call(server, 'GET', '/storage/buckets/second/objects?prefix=a/')).json.objects.length, 1)
})

await check('its probe finds that it ignores conditions, and each use of them is refused with a word', async () => {
  const listed = (await call(server, 'GET', '/storage/buckets')).json.find(one => one.name === 'second')
  same([listed.reachable, listed.conditional_writes], [true, false])
  problem(await call(server, 'PUT', path('c'), 'x', { 'if-none-match': '*' }), 422, 'no_conditional_writes')
  problem(await ingest(), 422, 'no_conditional_writes')
  same((await call(server, 'GET', '/storage/buckets/second/objects?prefix=warehouse/')).json.objects, [])
  same((await call(server, 'POST', '/ingest/file?dataset=t&format=csv', 'id,text\n1,one\n')).status, 201)
  const index = await call(server, 'POST', '/vectors/indexes?wait=true', { index: 'i', dataset: 't', text_column: 'text', bucket: 'second' })
  problem(index, 422, 'no_conditional_writes')
})
await server.stop()

await check('with its commits in PostgreSQL a dataset lives in Swift', async () => {
  const config = writeConfig({ ...sections, catalog: { pointer: 'postgres', dsn: startPostgres() } })
  const data = freshDir()
  server = await startServer(data, { args: ['--config', config] })
  same((await ingest()).status, 201)
  same((await call(server, 'POST', '/ingest/file?dataset=d&mode=append&format=csv', 'id,text\n3,three\n')).status, 201)
  await server.stop()
  server = await startServer(data, { args: ['--config', config] })
  same((await call(server, 'POST', '/query', { sql: 'SELECT text FROM d ORDER BY id' })).json.rows, [['one'], ['two'], ['three']])
  same((await call(server, 'DELETE', '/catalog/datasets/d?purge=true')).status, 200)
})
await server.stop()
swift.stop()
