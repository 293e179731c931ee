// Two servers put rows into one index on the same bucket: each sees the other's within a second or
// two, both may fold and refresh it, and nothing that was acknowledged is lost.
import { setTimeout as sleep } from 'node:timers/promises'
import { call, check, freshDir, same, startServer, truth } from '../kit/server.mjs'
import { makeBucket, s3Bucket, s3Secret, startCeph, writeConfig } from '../kit/services.mjs'

const ceph = startCeph({ OSDS: '1', GATEWAYS: '2' })
const bucket = makeBucket(ceph)
const documents = 300
const start = i => startServer(freshDir(), {
  args: ['--config', writeConfig({
    storage: { rescue_bucket: '', shared: true, sweep_age_s: 0 }, 'secrets.ceph': s3Secret(ceph),
    'buckets.primary': s3Bucket({ endpoint: ceph.endpoints[i] }, bucket),
  })],
})
const first = await start(0)
const ingest = version => call(first, 'POST', '/ingest/file?dataset=notes&format=ndjson&mode=replace',
  Array.from({ length: documents }, (_, i) => JSON.stringify({ id: i, text: `note number${i} in version${version}` })).join('\n'))
await ingest(0)
const at = '/vectors/indexes/notes'
const made = await call(first, 'POST', '/vectors/indexes?wait=true', { index: 'notes', dataset: 'notes', text_column: 'text' })
same(made.status, 201, made.text)
const servers = [first, await start(1)]
const put = (server, rows) => call(server, 'PUT', `${at}/rows`, { rows })
const find = async (server, query) => (await call(server, 'POST', '/vectors/search', { index: 'notes', query, mode: 'text', k: 5, rows: false })).json.hits

async function within(ms, ask) {
  for (const until = Date.now() + ms; ; await sleep(100)) {
    const answer = await ask()
    if (answer) return answer
    if (Date.now() > until) throw new Error(`${ask}: not within ${ms} ms`)
  }
}

await check('what one server put or deleted the other finds or misses soon after', async () => {
  same((await put(servers[0], [{ doc_id: 'a', text: 'a pelican' }])).status, 200)
  await within(5000, async () => (await find(servers[1], 'pelican'))[0]?.doc_id === 'a')
  same((await put(servers[1], [{ doc_id: 'a', text: 'a cormorant' }, { doc_id: '7', text: 'seven cormorants' }])).status, 200)
  await within(5000, async () => (await find(servers[0], 'cormorant')).length === 2)
  same(await find(servers[0], 'number7'), [])
  same((await call(servers[0], 'DELETE', `${at}/rows`, { doc_ids: ['a', '7', '8'] })).json.deleted, 3)
  await within(5000, async () => (await find(servers[1], 'cormorant number8')).length === 0)
})

await check('a build that one server published is opened by the other, with the rows over it', async () => {
  await put(servers[1], [{ doc_id: 'over', text: 'an owl over a build' }])
  await ingest(1000)
  const done = await call(servers[0], 'POST', `${at}/refresh?wait=true`)
  same(done.status, 200, done.text)
  await within(20000, async () => (await find(servers[1], 'version1000')).length === 5)
  for (const server of servers) {
    same((await find(server, 'owl'))[0].doc_id, 'over')
    same(await find(server, 'number7'), [])
  }
  same((await call(servers[1], 'GET', at)).json.build, (await call(servers[0], 'GET', at)).json.build)
})

// Of one server: document -> its text, or null.
async function work(server, name, goes) {
  const now = new Map()
  for (let i = 0; goes(); i++) {
    const doc_id = i % 4 === 0 ? `${(name === 'x' ? 100 : 200) + i % 50}` : `${name}${i % 30}`
    const text = i % 5 === 4 ? null : `${name}word${i}`
    const answer = text ? await put(server, [{ doc_id, text }]) : await call(server, 'DELETE', `${at}/rows`, { doc_ids: [doc_id] })
    same(answer.status, 200, answer.text)
    now.set(doc_id, text)
  }
  return now
}
// What another server changed at the same time is answered so, and may be asked again.
async function builds(server, path, until) {
  let done = 0
  while (Date.now() < until || done === 0 && Date.now() < until + 60000) {
    if (path === 'refresh') await ingest(done + 1)
    const answer = await call(server, 'POST', `${at}/${path}?wait=true`)
    truth(answer.status === 200 || answer.status === 409, answer.text)
    done += answer.status === 200
    await sleep(300)
  }
  return done
}

await check('both put, delete, fold and refresh at once, and lose nothing', async () => {
  const until = Date.now() + Number(process.env.SECONDS ?? 5) * 1000
  let building = true
  const working = ['x', 'y'].map((name, i) => work(servers[i], name, () => building))
  const [folds, refreshes] = await Promise.all([builds(servers[0], 'compact', until), builds(servers[1], 'refresh', until)])
  building = false
  const [x, y] = await Promise.all(working)
  console.log(`     ${x.size} and ${y.size} documents, ${folds} folds, ${refreshes} refreshes`)
  truth(folds > 0 && refreshes > 0, `${folds} folds, ${refreshes} refreshes`)
  const expected = new Map([...x, ...y])
  servers.push(await start(1)) // one that reads all of it anew
  for (const [i, server] of servers.entries()) {
    await sleep(1100) // then a search looks for what the others wrote
    const answer = await call(server, 'POST', '/vectors/search', { index: 'notes', query: 'note', k: 2000, exact: true, rows: false })
    const found = new Map(answer.json.hits.map(hit => [hit.doc_id, hit.text]))
    for (const [id, text] of expected) same(found.get(id) ?? null, text, `server ${i}: ${id}`)
    for (let d = 0; d < documents; d++)
      truth(expected.has(`${d}`) || d === 7 || d === 8 || found.has(`${d}`), `server ${i}: ${d} of the dataset is lost`)
    same(found.get('over'), 'an owl over a build')
    for (const id of ['7', '8', 'a']) truth(!found.has(id), `server ${i}: ${id} is there again`)
  }
})
for (const server of servers) same((await server.stop()).code, 0)
