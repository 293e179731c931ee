// Two servers share two S3 buckets: what is put through one while the other moves the index is there afterwards.
import { check, freshDir, same, startServer } from '../kit/server.mjs'
import { makeNotes, move, writeWhile } from '../kit/moves.mjs'
import { makeBucket, s3Bucket, s3Secret, startCeph, writeConfig } from '../kit/services.mjs'

const ceph = startCeph({ OSDS: '1', GATEWAYS: '2' })
const buckets = [makeBucket(ceph), makeBucket(ceph)]
const start = i => startServer(freshDir(), {
  args: ['--config', writeConfig({
    storage: { rescue_bucket: '', shared: true, sweep_age_s: 0 }, 'secrets.ceph': s3Secret(ceph),
    'buckets.primary': s3Bucket({ endpoint: ceph.endpoints[i] }, buckets[0]),
    'buckets.other': s3Bucket({ endpoint: ceph.endpoints[i] }, buckets[1]),
  })],
})
const first = await start(0)
await makeNotes(first)
const servers = [first, await start(1)]

await check('rows put through one server while the other moves the index to and fro are found through both', () =>
  writeWhile(servers, 12, i => move(servers[0], i % 2 ? 'primary' : 'other')))
for (const server of servers) same((await server.stop()).code, 0)
