// Two servers on the same buckets commit side by side; nothing that was acknowledged is lost.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { call, check, freshDir, same, startServer } from '../kit/server.mjs'
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

// `sectionsOf(i)` is the configuration of the i-th server; `meanwhile` runs beside the commits.
async function commitsSideBySide(sectionsOf, meanwhile = () => {}) {
  const servers = []
  for (let i = 0; i < 2; i++) {
    const sections = sectionsOf(i)
    const config = writeConfig({ ...sections, storage: { shared: true, sweep_age_s: 0, ...sections.storage } })
    servers.push(await startServer(freshDir(), { args: ['--config', config] }))
  }
  const made = await call(servers[0], 'POST', '/ingest/file?dataset=shared&format=csv', 'id\n0\n')
  same(made.status, 201, made.text)
  await Promise.all([commitAll(servers[0], 1), commitAll(servers[1], COMMITS + 1), meanwhile()])
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
  await commitsSideBySide(() => ({
    'buckets.primary': { root: `${root}/primary` }, 'buckets.rescue': { root: `${root}/rescue` },
  }))
})

// Three object stores with every object three times, and two gateways, each the endpoint of one server.
const ceph = startCeph({ OSDS: '3', GATEWAYS: '2' })
const onCeph = bucket => i => ({
  storage: { rescue_bucket: '' }, 'secrets.ceph': s3Secret(ceph),
  'buckets.primary': s3Bucket({ endpoint: ceph.endpoints[i] }, bucket),
})

await check(`2 servers on 2 gateways make ${COMMITS} commits each on an S3 bucket, one of whose 3 disks dies`, async () => {
  await commitsSideBySide(onCeph(makeBucket(ceph)), async () => {
    await sleep(1500)
    const [pid] = /^\d+(?= osd2$)/m.exec(readFileSync(join(ceph.dir, 'pids'), 'utf8'))
    process.kill(Number(pid), 'SIGKILL')
  })
})

await check(`2 servers make ${COMMITS} commits each on an S3 bucket with its pointers in PostgreSQL`, async () => {
  const bucket = makeBucket(ceph), catalog = { pointer: 'postgres', dsn: startPostgres() }
  await commitsSideBySide(i => ({ ...onCeph(bucket)(i), catalog }))
})
ceph.stop()
