// Two servers append to one index that is a Lance table on their bucket, at once: what either of them
// acknowledged both find, and it ends in the table.
import { setTimeout as sleep } from 'node:timers/promises'
import { call, check, freshDir, same, startServer, truth } from '../kit/server.mjs'
import { makeBucket, s3Bucket, s3Secret, startCeph, writeConfig } from '../kit/services.mjs'

const ceph = startCeph({ OSDS: '1', GATEWAYS: '2' })
const bucket = makeBucket(ceph)
const documents = 1200, appends = 25
const start = i => startServer(freshDir(), {
  args: ['--config', writeConfig({
    storage: { rescue_bucket: '', shared: true, sweep_age_s: 0 }, 'secrets.ceph': s3Secret(ceph),
    'buckets.primary': s3Bucket({ endpoint: ceph.endpoints[i] }, bucket),
  })],
})
const servers = [await start(0)]
await call(servers[0], 'POST', '/ingest/file?dataset=notes&format=ndjson',
  Array.from({ length: documents }, (_, i) => JSON.stringify({ id: i, text: `note number${i}` })).join('\n'))
const made = await call(servers[0], 'POST', '/vectors/indexes?wait=true', { index: 'notes', dataset: 'notes', text_column: 'text', vector_backend: 'lance' })
same([made.status, made.json?.rows], [201, documents], made.text)
servers.push(await start(1))

const doc = (server, id) => call(server, 'GET', `/vectors/lance/doc/notes/${id}`)
const work = async (server, name) => {
  for (let i = 0; i < appends; i++) {
    const answer = await call(server, 'POST', '/vectors/lance/append/notes', { rows: [{ doc_id: `${name}${i}`, text: `${name} appended number${i}` }] })
    same(answer.status, 200, answer.text)
  }
}

await check('what two servers append at once both find, each row once, and a third that opens the index anew', async () => {
  await Promise.all([work(servers[0], 'x'), work(servers[1], 'y')])
  servers.push(await start(0))
  for (const server of servers) {
    await sleep(1100) // then a search looks for what the others wrote
    const search = await call(server, 'POST', '/vectors/search', { index: 'notes', query: 'appended', k: 2000, exact: true, rows: false })
    const found = search.json.hits.map(hit => hit.doc_id)
    same([found.length, new Set(found).size], [documents + 2 * appends, documents + 2 * appends])
    for (const name of ['x', 'y'])
      for (let i = 0; i < appends; i++) {
        const answer = await doc(server, `${name}${i}`)
        same([answer.status, answer.json?.chunks?.map(chunk => chunk.text)], [200, [`${name} appended number${i}`]], answer.text)
      }
  }
})

await check('a fold on either takes all of it into the table', async () => {
  const folded = await call(servers[1], 'POST', '/vectors/indexes/notes/compact?wait=true')
  same(folded.status, 200, folded.text)
  const stats = (await call(servers[1], 'GET', '/vectors/lance/stats/notes')).json
  same(stats.rows, documents + 2 * appends)
  truth((await doc(servers[0], 'y3')).status === 200, 'y3 is gone')
})
for (const server of servers) same((await server.stop()).code, 0)
ceph.stop()
