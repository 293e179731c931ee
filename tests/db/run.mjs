// The server reading real databases (PostgreSQL, MariaDB), file by file.
// usage: node tests/db/run.mjs [FILE.mjs ...]     BUILD=build says where the binary is
import { readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { finish } from '../kit/server.mjs'

const here = dirname(fileURLToPath(import.meta.url))
const files = process.argv.slice(2).length ? process.argv.slice(2)
  : readdirSync(here).filter(name => name.endsWith('.mjs') && name !== 'run.mjs').sort()
for (const file of files) await import(join(here, file))
finish()
