// Objects in an S3 bucket over HTTP: conditions, ranges, nasty keys, large bodies; and what s3cmd and
// rclone read and write in the same bucket, byte for byte.
import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { call, check, freshDir, problem, same, startServer, truth } from '../kit/server.mjs'
import { makeBucket, rclone, s3Bucket, s3Secret, s3cmd, startCeph, writeConfig } from '../kit/services.mjs'

const ceph = startCeph()
const bucket = makeBucket(ceph)
const config = writeConfig({
  'buckets.cloud': s3Bucket(ceph, bucket), 'secrets.ceph': s3Secret(ceph),
  storage: { rescue_bucket: '' },
})
const server = await startServer(freshDir(), { args: ['--config', config] })
const path = key => `/storage/buckets/cloud/objects/${key.split('/').map(encodeURIComponent).join('/')}`
const digest = bytes => createHash('sha256').update(bytes).digest('hex')

await check('what is put is read back, with its etag, ranges and conditions', async () => {
  const put = await call(server, 'PUT', path('a/b.txt'), 'hello world')
  same([put.status, put.json.size], [201, 11], put.text)
  const etag = put.headers.get('etag')
  const get = await call(server, 'GET', path('a/b.txt'))
  same([get.text, get.headers.get('etag'), get.headers.get('content-length')], ['hello world', etag, '11'])
  for (const [range, status, text] of [['bytes=6-', 206, 'world'], ['bytes=0-4', 206, 'hello'], ['bytes=-5', 206, 'world']]) {
    const part = await call(server, 'GET', path('a/b.txt'), undefined, { range })
    same([part.status, part.text], [status, text], range)
  }
  same((await call(server, 'GET', path('a/b.txt'), undefined, { range: 'bytes=11-' })).status, 416)
  same((await call(server, 'GET', path('a/b.txt'), undefined, { 'if-none-match': etag })).status, 304)
  same((await call(server, 'HEAD', path('a/b.txt'))).headers.get('content-length'), '11')
  same((await call(server, 'PUT', path('a/b.txt'), 'x', { 'if-none-match': '*' })).status, 412)
  same((await call(server, 'PUT', path('a/b.txt'), 'x', { 'if-match': '"0123"' })).status, 412)
  same((await call(server, 'PUT', path('a/b.txt'), 'new', { 'if-match': etag })).status, 201)
  same((await call(server, 'PUT', path('empty'), '')).status, 201)
  same((await call(server, 'GET', path('empty'))).text, '')
  same((await call(server, 'DELETE', path('empty'))).status, 204)
  same((await call(server, 'DELETE', path('empty'))).status, 204)
  problem(await call(server, 'GET', path('empty')), 404, 'object_not_found')
})

await check('40 MiB go up in parts and come down in ranges, whole and in the middle', async () => {
  const bytes = randomBytes(40 * 1048576 + 1)
  same((await call(server, 'PUT', path('big'), bytes)).status, 201)
  const all = await fetch(server.url + path('big'))
  same([all.status, all.headers.get('content-length')], [200, String(bytes.length)])
  same(digest(Buffer.from(await all.arrayBuffer())), digest(bytes))
  const middle = await fetch(server.url + path('big'), { headers: { range: 'bytes=8388000-25165823' } })
  same(digest(Buffer.from(await middle.arrayBuffer())), digest(bytes.subarray(8388000, 25165824)))
  same((await call(server, 'PUT', path('big'), bytes, { 'if-none-match': '*' })).status, 412)
})

// 200 keys that break careless clients. What `..` or an empty segment would make is refused by both
// ends' contract, so that no such key is among them.
function nastyKeys() {
  const pieces = [' ', '+', '%', '%41', '%2F', '%%', '=', '&', '?', '#', ':', '@', '(', ')', '!', '*', "'", '$', ',',
    ';', '~', '[', ']', '{', '}', '|', '^', '`', '"', '<', '>', '\\', 'ä', 'ß', '日本', '😀', 'é', '\u00a0', '\u200b',
    'Ω', '.a', '..a', 'a.', '...', '-', '_', '--', 'A', 'a', '0']
  const keys = new Set()
  for (const piece of pieces) {
    keys.add(`n/${piece}x`)
    keys.add(`n/x${piece}`)
    keys.add(`n/${piece}/y${piece}z`)
    keys.add(`n/m ${piece} m`)
  }
  keys.delete('n/.../y...z')
  return [...keys].filter(key => !key.split('/').some(part => part === '.' || part === '..'))
}

await check('200 nasty keys put through us are read by s3cmd and rclone, byte for byte', async () => {
  const keys = nastyKeys()
  truth(keys.length >= 190, `${keys.length} keys`)
  for (const key of keys) same((await call(server, 'PUT', path(key), `body of ${key}`)).status, 201, key)
  const listed = []
  let after = ''
  do {
    const page = (await call(server, 'GET', `/storage/buckets/cloud/objects?prefix=n/&limit=77&after=${encodeURIComponent(after)}`)).json
    listed.push(...page.objects.map(object => object.key))
    after = page.next
  } while (after)
  same([...listed].sort(), [...keys].sort())
  for (const key of keys) same((await call(server, 'GET', path(key))).text, `body of ${key}`, key)
  const dir = freshDir()
  rclone(ceph, 'copy', '--s3-encoding', 'None', '--local-encoding', 'Slash,InvalidUtf8', { key: `${bucket}/n` }, join(dir, 'n'))
  for (const key of keys) same(readFileSync(join(dir, key), 'utf8'), `body of ${key}`, key)
  mkdirSync(join(dir, 's'))
  s3cmd(ceph, 'get', '--recursive', `s3://${bucket}/n/`, join(dir, 's/'))
  for (const key of keys) same(readFileSync(join(dir, key.replace(/^n/, 's')), 'utf8'), `body of ${key}`, key)
})

await check('nasty keys put by rclone and s3cmd are listed and read by us, byte for byte', async () => {
  const dir = freshDir()
  const keys = nastyKeys().map(key => key.replace(/^n/, 'r'))
  for (const key of keys) {
    mkdirSync(join(dir, key, '..'), { recursive: true })
    writeFileSync(join(dir, key), `body of ${key}`)
  }
  rclone(ceph, 'copy', '--s3-encoding', 'None', '--local-encoding', 'Slash,InvalidUtf8', join(dir, 'r'), { key: `${bucket}/r` })
  for (const key of keys) same((await call(server, 'GET', path(key))).text, `body of ${key}`, key)
  const list = (await call(server, 'GET', '/storage/buckets/cloud/objects?prefix=r/')).json
  same(list.objects.map(object => object.key).sort(), [...keys].sort())
  s3cmd(ceph, 'put', '--recursive', join(dir, 'r/'), `s3://${bucket}/s/`)
  for (const key of keys) same((await call(server, 'GET', path(key.replace(/^r/, 's')))).text, `body of ${key}`, key)
})
await server.stop()
ceph.stop()
