// An index whose rows change all the time finds as much as one that is built of them anew.
import { call, check, freshDir, same, startServer, truth } from '../kit/server.mjs'

const server = await startServer(freshDir())
const rows = 5000, dimensions = 64, latent = 16, centres = 30, queries = 100, k = 10
const generations = Number(process.env.GENERATIONS ?? 100)
let state = 7
const random = () => { // mulberry32
  state = (state + 0x6d2b79f5) >>> 0
  let t = Math.imul(state ^ (state >>> 15), state | 1)
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296
}
const normal = () => (random() + random() + random() + random() - 2) * 1.7
const projection = Array.from({ length: dimensions * latent }, normal)
const centre = Array.from({ length: centres }, () => Array.from({ length: latent }, normal))
function vector() { // about a centre in few dimensions, as embeddings are; of length 1
  const near = centre[Math.floor(random() * centres)].map(x => x + normal() / 2)
  const x = Float32Array.from({ length: dimensions }, (_, d) => near.reduce((sum, v, j) => sum + v * projection[d * latent + j], normal() / 10))
  const length = Math.hypot(...x)
  return x.map(v => v / length)
}
const dot = (a, b) => { let sum = 0; for (let i = 0; i < dimensions; i++) sum += a[i] * b[i]; return sum }

const asked = Array.from({ length: queries }, vector)
const scored = v => ({ v, scores: asked.map(query => dot(query, v)) })
const alive = new Map(Array.from({ length: rows }, (_, i) => [`d${i}`, scored(vector())]))
const asBody = Buffer.concat(asked.map(x => Buffer.from(x.buffer)))
async function build(name) {
  const lines = [...alive].map(([id, { v }]) => JSON.stringify({ id, v: [...v] })).join('\n')
  same((await call(server, 'POST', `/ingest/file?dataset=${name}&format=ndjson&mode=replace`, lines)).status, 201)
  await call(server, 'DELETE', `/vectors/indexes/${name}`)
  const made = await call(server, 'POST', '/vectors/indexes?wait=true', { index: name, dataset: name, vector_column: 'v' })
  same([made.status, made.json?.rows], [201, rows], made.text)
}
// The score of the k-th nearest of each query, by comparing with all that should be there.
function truthOf() {
  const all = [...alive.values()]
  return asked.map((_, q) => {
    const best = Array(k).fill(-Infinity) // worst first
    for (const { scores } of all) {
      if (scores[q] <= best[0]) continue
      best[0] = scores[q]
      best.sort((a, b) => a - b)
    }
    return best[0]
  })
}
// Of the k nearest, how many are found; every hit must be there, under its own vector.
async function recall(name, worst) {
  const answer = await call(server, 'POST', `/vectors/search?index=${name}&k=${k}&ef=24`, asBody, { 'content-type': 'application/octet-stream' })
  let found = 0
  answer.json.results.forEach(({ hits }, q) => {
    same([hits.length, new Set(hits.map(hit => hit.doc_id)).size], [k, k])
    for (const hit of hits) {
      truth(alive.has(hit.doc_id), `${hit.doc_id} is not there any more`)
      const expected = alive.get(hit.doc_id).scores[q]
      truth(Math.abs(hit.score - expected) < 1e-4, `${hit.doc_id} has ${hit.score}, not ${expected}`)
      found += expected >= worst[q] - 1e-6
    }
  })
  return found / (queries * k)
}
// Two in a hundred change: half of them in place, half go and others come.
async function churn(generation) {
  const ids = [...alive.keys()], taken = new Set()
  while (taken.size < rows / 50) taken.add(ids[Math.floor(random() * rows)])
  const changed = [...taken], gone = changed.splice(rows / 100)
  const put = [...changed, ...gone.map((_, i) => `g${generation}-${i}`)].map(doc_id => ({ doc_id, vector: vector() }))
  same((await call(server, 'DELETE', '/vectors/indexes/churn/rows', { doc_ids: gone })).json.deleted, gone.length)
  const sent = { rows: put.map(row => ({ doc_id: row.doc_id, vector: [...row.vector] })) }
  same((await call(server, 'PUT', '/vectors/indexes/churn/rows', sent)).json.upserted, put.length)
  for (const id of gone) alive.delete(id)
  for (const row of put) alive.set(row.doc_id, scored(row.vector))
}

await check(`over ${generations} generations that change 2 % the recall is at most 0.01 below a fresh build's`, async () => {
  await build('churn')
  let fresh = 0, least = 1, folds = 0, before = 0, margin = 1
  for (let generation = 0; generation < generations; generation++) {
    await churn(generation)
    const worst = truthOf(), now = await recall('churn', worst)
    if (generation % 20 === 0) {
      await build('fresh')
      fresh = await recall('fresh', worst)
    }
    truth(now >= fresh - 0.01, `generation ${generation}: ${now}, a fresh build has ${fresh}`)
    const { rows_put, rows: count } = (await call(server, 'GET', '/vectors/indexes/churn')).json
    same(count, rows)
    folds += rows_put < before
    before = rows_put
    least = Math.min(least, now)
    margin = Math.min(margin, now - fresh)
  }
  console.log(`     recall ${least} at least, ${fresh} of the last fresh build, ${margin.toFixed(4)} above it at least, ${folds} folds`)
  truth(folds >= Math.floor(generations / 30), `${folds} folds`)
})
await server.stop()
