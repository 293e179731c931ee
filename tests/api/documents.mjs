// Runs every command that the README and the pages of docs/ show, but those of docs/storage.md and
// docs/ingest.md, which need S3 and databases (tests/s3 and tests/db run them), of docs/models.md (models.mjs) and docs/tls.md (tls.mjs).
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { runCommands } from '../kit/documents.mjs'
import { check, freshDir, startServer, truth } from '../kit/server.mjs'

const pages = ['README.md', ...readdirSync('docs').filter(n => n.endsWith('.md')).map(n => join('docs', n))]
const server = await startServer(freshDir())

await check('every command of the documentation runs and every answer is no problem', async () => {
  const ran = await runCommands(pages.filter(page => !['docs/storage.md', 'docs/ingest.md', 'docs/models.md', 'docs/tls.md'].includes(page)), server)
  truth(ran >= 15, `only ${ran} commands were found`)
})

await check('the documents name only files that are there', () => {
  for (const page of [...pages, 'CONTRIBUTING.md'])
    for (const [, target] of readFileSync(page, 'utf8').matchAll(/\]\(([^)#:]+)\)/g))
      execFileSync('test', ['-e', join(page, '..', target)])
})

await server.stop()
