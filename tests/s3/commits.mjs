// Two servers on the same buckets commit side by side; nothing that was acknowledged is lost.
import { call, check, freshDir, same, startServer, truth } from '../kit/server.mjs'
import { makeBucket, s3Bucket, s3Secret, startCeph, startPostgres, writeConfig } from '../kit/services.mjs'

const COMMITS = Number(process.env.COMMITS ?? 200)

const append = (server, id) =>
  call(server, 'POST', '/ingest/file?dataset=shared&mode=append&format=csv', `id\n${id}\n`)

// A commit that lost too often is said so (429) and may be made again; whatever else failed is not.
async function commitAll(server, first) {
  let retries = 0
  for (let id = first; id < first + COMMITS;) {
    const answer = await append(server, id)
    if (answer.status === 201) { id++; continue }
    same(answer.status, 429, answer.text)
    retries++
  }
  return retries
}

async function commitsSideBySide(sections) {
  const servers = []
  for (let i = 0; i < 2; i++) {
    const config = writeConfig({ ...sections, storage: { shared: true, sweep_age_s: 0, ...sections.storage } })
    servers.push(await startServer(freshDir(), { args: ['--config', config] }))
  }
  const made = await call(servers[0], 'POST', '/ingest/file?dataset=shared&format=csv', 'id\n0\n')
  same(made.status, 201, made.text)
  await Promise.all([commitAll(servers[0], 1), commitAll(servers[1], COMMITS + 1)])
  for (const server of servers) {
    const answer = await call(server, 'POST', '/query',
      { sql: 'SELECT count(*), count(DISTINCT id), min(id), max(id) FROM shared' })
    const total = 2 * COMMITS + 1
    same(answer.json?.rows, [[total, total, 0, 2 * COMMITS]], answer.text)
    const dataset = await call(server, 'GET', '/catalog/datasets/shared')
    same([dataset.json.version, dataset.json.rows], [total, total])
  }
  for (const server of servers) same((await server.stop()).code, 0)
}

await check(`2 servers make ${COMMITS} commits each on a local bucket`, async () => {
  const root = freshDir()
  await commitsSideBySide({
    'buckets.primary': { root: `${root}/primary` }, 'buckets.rescue': { root: `${root}/rescue` },
  })
})

const ceph = startCeph()
await check(`2 servers make ${COMMITS} commits each on an S3 bucket`, async () => {
  await commitsSideBySide({
    storage: { rescue_bucket: '' },
    'buckets.primary': s3Bucket(ceph, makeBucket(ceph)), 'secrets.ceph': s3Secret(ceph),
  })
})

await check(`2 servers make ${COMMITS} commits each on an S3 bucket with its pointers in PostgreSQL`, async () => {
  await commitsSideBySide({
    storage: { rescue_bucket: '' }, catalog: { pointer: 'postgres', dsn: startPostgres() },
    'buckets.primary': s3Bucket(ceph, makeBucket(ceph)), 'secrets.ceph': s3Secret(ceph),
  })
})
ceph.stop()
