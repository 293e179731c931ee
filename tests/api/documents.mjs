// Runs every command that the README and the pages of docs/ show in a console block: "$ " begins one.
import { execFile, execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, symlinkSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { binary, check, freshDir, startServer, truth } from '../kit/server.mjs'

const pages = ['README.md', ...readdirSync('docs').filter(n => n.endsWith('.md')).map(n => join('docs', n))]
const dir = freshDir(), bin = freshDir()
symlinkSync(resolve(binary), join(bin, 'lakehouse'))
const server = await startServer(join(dir, 'data'))
const env = { ...process.env, PATH: `${bin}:${process.env.PATH}`, LAKEHOUSE_URL: server.url }

function commandsOf(page) {
  const blocks = readFileSync(page, 'utf8').matchAll(/```console\n(.*?)```/gs)
  return [...blocks].flatMap(([, block]) => block.split('\n').filter(line => line.startsWith('$ ')).map(line => line.slice(2)))
}

const shell = command => new Promise((done, fail) => execFile('bash', ['-c', command], { cwd: dir, env },
  (error, stdout, stderr) => error ? fail(new Error(`${command}: ${stderr}`)) : done(stdout)))

await check('every command of the documentation runs and every answer is no problem', async () => {
  let ran = 0
  for (const page of pages)
    for (const command of commandsOf(page)) {
      const [program, target] = command.split(/\s+/)
      if (program === 'make') execFileSync('make', ['-n', target], { stdio: 'ignore' }) // too long to run here
      else if (!command.startsWith('lakehouse serve')) { // that one runs already, on another port
        const out = await shell(command.replaceAll('http://127.0.0.1:3100', server.url))
        truth(!out.includes('"type":"about:blank"'), `${command}: ${out}`)
      }
      ran++
    }
  truth(ran >= 15, `only ${ran} commands were found`)
})

await check('the documents name only files that are there', () => {
  for (const page of [...pages, 'CONTRIBUTING.md'])
    for (const [, target] of readFileSync(page, 'utf8').matchAll(/\]\(([^)#:]+)\)/g))
      execFileSync('test', ['-e', join(page, '..', target)])
})

await server.stop()
