// Runs the commands of docs/storage.md over real S3, and `lakehouse check` on what its bucket lacks.
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { runCommands } from '../kit/documents.mjs'
import { binary, check, freshDir, same, startServer, truth } from '../kit/server.mjs'
import { makeBucket, s3Bucket, s3Secret, startCeph, writeConfig } from '../kit/services.mjs'

const ceph = startCeph()
const bucket = makeBucket(ceph)

await check('the commands of the page on storage run', async () => {
  const dir = freshDir()
  const config = writeConfig({ 'secrets.cloud': s3Secret(ceph) })
  const server = await startServer(freshDir(), { args: ['--config', config] })
  writeFileSync(join(dir, 'people.csv'), 'id,name\n1,Ada\n2,Grace\n')
  const ran = await runCommands(['docs/storage.md'], server,
    { 'https://s3.example.org': ceph.endpoint, 'team-lake': bucket, './archive': join(dir, 'archive') }, dir)
  truth(ran >= 10, `only ${ran} commands were found`)
  await server.stop()
})

await check('lakehouse check names what is wrong with a bucket, beside a running server too', async () => {
  const config = writeConfig({
    'secrets.good': s3Secret(ceph), 'secrets.bad': { ...s3Secret(ceph), secret_access_key: 'wrong' },
    storage: { s3_retry_ms: 100 },
    'buckets.good': s3Bucket(ceph, bucket, { secret_ref: 'good', prefix: 'checked' }),
    'buckets.wrong': s3Bucket(ceph, bucket, { secret_ref: 'bad', prefix: 'w' }),
    'buckets.missing': s3Bucket(ceph, 'not-there', { secret_ref: 'good' }),
    'buckets.dead': s3Bucket({ endpoint: 'http://127.0.0.1:9' }, 'x-y-z', { secret_ref: 'good' }),
  })
  const data = freshDir()
  const server = await startServer(data, { args: ['--config', config] })
  const found = spawnSync(binary, ['check', '--config', config], { env: { ...process.env, LAKEHOUSE_STORAGE_DATA_DIR: data }, encoding: 'utf8' })
  same(found.status, 1, found.stdout + found.stderr)
  const line = name => found.stdout.split('\n').find(one => one.includes(` ${name}: `)) ?? ''
  truth(/ok, s3:/.test(line('good')), found.stdout)
  truth(/SignatureDoesNotMatch|secret/.test(line('wrong')), line('wrong'))
  truth(/NoSuchBucket|does not exist/.test(line('missing')), line('missing'))
  truth(/connect/.test(line('dead')), line('dead'))
  truth(!found.stdout.includes(ceph.secret), 'the check tells the secret')
  same((await fetch(`${server.url}/health`)).status, 200)
  await server.stop()
})
ceph.stop()
