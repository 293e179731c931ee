// A disk that is full: a tmpfs of 16 MiB that only the server sees, in a mount namespace of its own.
import { call, check, freshDir, problem, same, startServer, truth } from '../kit/server.mjs'

const data = freshDir()
const server = await startServer(data, {
  under: ['unshare', process.getuid?.() === 0 ? '-m' : '-rm', 'sh', '-c',
    'mount -t tmpfs -o size=16m tmpfs "$1" && shift && exec "$@"', 'sh', data],
})
const path = key => `/storage/buckets/primary/objects/${key}`
const csv = n => `id,text\n${Array.from({ length: n }, (_, i) => `${i},row ${i} ${(i * 2654435761 % 4294967296).toString(36)}`).join('\n')}\n`
const ingest = (mode, n) => call(server, 'POST', `/ingest/file?dataset=d&mode=${mode}&format=csv`, csv(n))
const rows = async () => (await call(server, 'POST', '/query', { sql: 'SELECT count(*) FROM d' })).json.rows[0][0]

same((await ingest('create', 1000)).status, 201)
same((await call(server, 'PUT', path('kept'), 'kept')).status, 201)

async function fill() {
  for (let size = 1 << 20; size >= 4096; size /= 2)
    for (let n = 0; n < 64; n++) {
      const answer = await call(server, 'PUT', path(`filler/${size}/${n}`), Buffer.alloc(size))
      if (answer.status === 201) continue
      problem(answer, 507, 'no_space')
      break
    }
}

await check('a write to a full disk is 507, and leaves no part of itself', async () => {
  await fill()
  problem(await call(server, 'PUT', path('big'), Buffer.alloc(3 << 20)), 507, 'no_space')
  problem(await call(server, 'PUT', path('kept'), Buffer.alloc(3 << 20)), 507, 'no_space')
  same((await call(server, 'GET', path('big'))).status, 404)
  same((await call(server, 'GET', path('kept'))).text, 'kept')
})

await check('an ingest into a full disk is 507, and the dataset stays as it was', async () => {
  const answer = await ingest('append', 20000)
  same(answer.status, 507, answer.text)
  same(await rows(), 1000)
  same((await call(server, 'GET', '/catalog/datasets/d')).json.version, 1)
})

await check('a full disk still answers reads and queries, and says what went wrong', async () => {
  same((await call(server, 'GET', '/health')).status, 200)
  const events = (await call(server, 'GET', '/storage/errors?bucket=primary&limit=100')).json
  truth(events.some(event => event.op === 'put' && event.key === 'big'), JSON.stringify(events))
})

await check('objects can be deleted from a full disk, and then it takes writes again', async () => {
  for (let size = 1 << 20; size >= 4096; size /= 2)
    for (let n = 0; n < 64; n++) same((await call(server, 'DELETE', path(`filler/${size}/${n}`))).status, 204)
  same((await call(server, 'PUT', path('big'), Buffer.alloc(3 << 20))).status, 201)
  same((await ingest('append', 20000)).status, 201)
  same(await rows(), 21000)
  same((await call(server, 'POST', '/storage/errors/flush')).status, 200)
})
same((await server.stop()).code, 0)
