// A receiver of webhooks with the npm libraries standardwebhooks and svix.
import http from 'node:http'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { Webhook as Standard } from 'standardwebhooks'
import { Webhook as Svix } from 'svix'

const { ADMIN, OPERATOR } = process.env
const seen = new Map()
const bad = []
const both = (secret) => [new Standard(secret), new Svix(secret)]
const strangers = both('whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw')
let verifiers = []

const server = http.createServer(async (req, res) => {
  const chunks = []
  for await (const c of req) chunks.push(c)
  const body = Buffer.concat(chunks).toString()
  while (verifiers.length === 0) await sleep(10) // until the answer to the creation is here
  for (const v of verifiers) {
    try {
      await v.verify(body, req.headers) // throws unless a signature fits
      const notice = JSON.parse(body)
      if (notice.id !== req.headers['webhook-id']) throw new Error('another id in the body')
      seen.set(notice.id, notice.type)
    } catch (err) {
      bad.push(`${err}: ${body}`)
    }
  }
  for (const v of strangers) { // the control: another secret verifies nothing
    const accepted = await Promise.resolve().then(() => v.verify(body, req.headers)).then(() => true, () => false)
    if (accepted) bad.push(`a foreign secret verifies ${body}`)
  }
  res.writeHead(204).end()
}).listen(0, '127.0.0.1')
await once(server, 'listening')

async function call(method, path, body) {
  const r = await fetch(ADMIN + path, {
    method, headers: { Authorization: `Bearer ${OPERATOR}`, 'Content-Type': 'application/json' }, body: body && JSON.stringify(body),
  })
  if (!r.ok) throw new Error(`${method} ${path}: ${r.status} ${await r.text()}`)
  return r.json()
}

const hook = await call('POST', '/v1/webhooks', { url: `http://127.0.0.1:${server.address().port}/hook` })
verifiers = both(hook.secret)
const test = await call('POST', `/v1/webhooks/${hook.id}/test`)
if (test.state !== 'delivered') throw new Error(JSON.stringify(test))
// For the overlap, both secrets verify.
const rotated = await call('POST', `/v1/webhooks/${hook.id}/rotate-secret`, { overlap: '1h' })
verifiers = [...verifiers, ...both(rotated.secret)]
for (let i = 0; i < 20; i++) {
  const key = await call('POST', '/v1/keys', { name: `ключ ${i}`, type: 'test' })
  await call('POST', `/v1/keys/${key.id}/revoke`, { reason: '✓' })
}
for (const end = Date.now() + 60_000; seen.size < 41 && bad.length === 0 && Date.now() < end;) await sleep(100)
await call('DELETE', `/v1/webhooks/${hook.id}`)
console.log(`${seen.size} notices verified by standardwebhooks and svix, ${bad.length} not`)
if (seen.size !== 41 || bad.length > 0) throw new Error(bad[0] ?? 'some are missing')
process.exit(0)
