// The commands that a page shows in its console blocks ("$ " begins one), run against a server.
import { execFile, execFileSync } from 'node:child_process'
import { readFileSync, symlinkSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { binary, freshDir, truth } from './server.mjs'

export function commandsOf(page) {
  const blocks = readFileSync(page, 'utf8').matchAll(/```console\n(.*?)```/gs)
  return [...blocks].flatMap(([, block]) => block.split('\n').filter(line => line.startsWith('$ ')).map(line => line.slice(2)))
}

// Runs those of the pages in one folder, in order; `written` maps what they show to what is here.
// Returns how many there were.
export async function runCommands(pages, server, written = {}, dir = freshDir()) {
  const bin = freshDir()
  symlinkSync(resolve(binary), join(bin, 'lakehouse'))
  const env = { ...process.env, PATH: `${bin}:${process.env.PATH}`, LAKEHOUSE_URL: server.url }
  const shell = command => new Promise((done, fail) => execFile('bash', ['-c', command], { cwd: dir, env },
    (error, stdout, stderr) => error ? fail(new Error(`${command}: ${stderr}`)) : done(stdout)))
  const commands = pages.flatMap(commandsOf)
  for (const shown of commands) {
    const [program, target] = shown.split(/\s+/)
    if (program === 'make') execFileSync('make', ['-n', target], { stdio: 'ignore' }) // too long to run here
    else if (!shown.startsWith('lakehouse serve')) { // that one runs already, on another port
      let command = shown.replaceAll('http://127.0.0.1:3100', server.url)
      for (const [from, to] of Object.entries(written)) command = command.replaceAll(from, to)
      const out = await shell(command)
      truth(!out.includes('"type":"about:blank"'), `${command}: ${out}`)
    }
  }
  return commands.length
}
